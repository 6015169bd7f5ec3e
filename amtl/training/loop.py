"""The training loop: shuffled batches, early stopping on validation, resumable at any checkpoint.

A run is a function of (weights at the start, data, settings): the order of batches depends on (seed, epoch) alone and the
random state travels with the checkpoint, so a resumed run ends bit-equal to an uninterrupted one on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from amtl.data.batches import Batch
from amtl.data.dataset import Rows
from amtl.errors import DataError, ParamsError
from amtl.model.ctr_model import CTRModel, weights_of
from amtl.release.evaluate import score
from amtl.training import checkpoint
from amtl.training.augment import hide_values, recombine
from amtl.training.optimizers import Optimizers


@dataclass(frozen=True)
class FitSettings:
    """How to fit.

    Attributes:
        patience: epochs without a better validation score before stopping.
        l2: weight of the mean squared norm of an event's vectors.
        unknown_rate: share of looked-up values that training replaces by their field's unknown row, so that the row
            learns what a value without history is worth.
        bf16: multiply matrices in bf16, on a device that `computes_bf16`.
        keep_start: the weights before the first step also compete (fine-tuning must not make a model worse).
        keep_last: end with the last weights, not with the best on validation.
        distillation: weight of the cross-entropy with a teacher's probabilities, beside the labels' (Hinton et al. 2015, arXiv
            1503.02531, at temperature 1); without a teacher it has no effect.
        recombined: with a teacher: share of each event's fields that are taken from another event (`augment.recombine`). The teacher
            alone then says what is right. 0: events stay as they are.
        decay: let the learning rate fall linearly to 0 over all epochs.
        calibrate: fit scale and shift of the logit on validation (Platt 1999), judge with them, and fold those of the best
            weights into the last layer: fine-tuning raises AUC while it makes a model overconfident.
        checkpoint_steps: steps between checkpoints, where a folder for them is given.
    """

    epochs: int
    patience: int
    batch_size: int
    learning_rate: float
    seed: int
    l2: float = 0.0
    unknown_rate: float = 0.0
    bf16: bool = False
    keep_start: bool = False
    keep_last: bool = False
    distillation: float = 0.0
    recombined: float = 0.0
    decay: bool = False
    calibrate: bool = False
    checkpoint_steps: int = 2000


@dataclass
class Progress:
    """Where a fit stands, but for the weights; goes into JSON.

    Attributes:
        epoch: finished epochs. step: finished steps of the epoch under way, with the sum of their losses.
        stale: epochs since the best one.
        best_scale, best_shift: calibration of the best weights' logit (1 and 0: none).
        history: validation after every epoch: epoch, loss (training), auc, logloss, score.
        beside: what a term beside the cross-entropy remembers (`Beside.state`), as of the last checkpoint.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    stale: int = 0
    best_score: float | None = None
    best_scale: float = 1.0
    best_shift: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    beside: dict[str, Any] = field(default_factory=dict)


class Beside(Protocol):
    """A term of the loss beside the cross-entropy, which may remember something from step to step."""

    def term(self) -> Tensor:
        """The next step's term."""

    def state(self) -> dict[str, Any]:
        """What it remembers, JSON-able."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""


def pick_device(wanted: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU.

    Raises:
        ParamsError: there is no such device.
    """
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ParamsError(f"train.device: this machine has no {wanted}; use auto or cpu")
    return device


def computes_bf16(device: torch.device) -> bool:
    """Whether bf16 has a useful speed there: on a GPU, or a CPU on which oneDNN has it (with AVX2 it takes 20 times as long as fp32)."""
    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def predict(model: CTRModel, data: Rows, device: torch.device, batch_size: int = 8192) -> np.ndarray:
    """Probabilities of all events, float64 [N], in evaluation mode."""
    return torch.sigmoid(logits(model, data, device, batch_size)).numpy()


def logits(model: CTRModel, data: Rows, device: torch.device, batch_size: int = 8192) -> Tensor:
    """Logits of all events, float64 [N] on the CPU, in evaluation mode."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        parts = [model(batch.to(device)).double().cpu() for batch in data.in_order(batch_size)]
    model.train(was_training)
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def platt(logits_N: Tensor, labels_N: Tensor) -> tuple[float, float]:
    """Scale and shift of a logit that minimise the cross-entropy; (1, 0) where labels or logits leave no choice.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines" (1999).
    """
    from sklearn.linear_model import LogisticRegression

    labels = labels_N.numpy()
    if len(np.unique(labels)) < 2 or not bool(torch.isfinite(logits_N).all()):
        return 1.0, 0.0
    fitted = LogisticRegression(C=1e6).fit(logits_N.unsqueeze(1).numpy(), labels)
    scale, shift = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return (scale, shift) if scale > 0 else (1.0, 0.0)


def judge(logits_N: Tensor, labels_N: Tensor) -> dict[str, float]:
    """AUC, log loss, and the score that chooses checkpoints: AUC - 0.5 * log loss (AUC alone lets log loss drift)."""
    measured = score(labels_N.numpy(), torch.sigmoid(logits_N).numpy())
    auc = measured.get("auc", 0.5)
    return {"auc": auc, "logloss": measured["logloss"], "score": auc - 0.5 * measured["logloss"]}


def judged(model: CTRModel, data: Rows, device: torch.device) -> dict[str, float]:
    """AUC, log loss and score of a model on rows."""
    return judge(logits(model, data, device), data.labels)


class Trainer:
    """Fits one model in place.

    Args:
        unknown_rows_F: each field's unknown row, int64 [F], in table order.
        teacher: a trained model whose predictions are learned beside the labels; it is moved to the device and frozen.
        optimizers: to carry their state in and out (warm start); None: fresh ones.
        beside: a term of the loss beside the cross-entropy; its state goes into the checkpoints.
        rates: learning rates of fresh optimizers for weights by the prefix of their name, where not the settings' one.
        resume: folder for checkpoints; a complete one there is continued. None: no checkpoints.
        log: takes one line an epoch.
    """

    def __init__(
        self,
        model: CTRModel,
        settings: FitSettings,
        device: torch.device,
        unknown_rows_F: Tensor,
        *,
        teacher: CTRModel | None = None,
        beside: Beside | None = None,
        optimizers: Optimizers | None = None,
        rates: Mapping[str, float] | None = None,
        resume: Path | None = None,
        log: Callable[[str], None] = print,
    ) -> None:
        self.model = model.to(device).train()
        self.settings, self.device, self.log, self.resume = settings, device, log, resume
        self.unknown_rows_F = unknown_rows_F.to(device)
        self.teacher = teacher.to(device).eval() if teacher is not None and settings.distillation else None
        self.beside, self.bf16 = beside, settings.bf16 and computes_bf16(device)
        self.optimizers = optimizers or Optimizers(model, settings.learning_rate, rates)
        self.optimizers.load(self.optimizers.tensors())  # state that came with the weights follows them to the device
        self.progress = Progress()
        self.best = snapshot(model)

    def fit(self, train: Rows, validation: Rows) -> Progress:
        """Train until `epochs` or until patience ends; the model then holds the best weights on validation."""
        torch.manual_seed(self.settings.seed)
        if self.settings.bf16 and not self.bf16:
            self.log("train.bf16: this CPU is slower in bf16 than in fp32; training in fp32")
        if not self._continued() and self.settings.keep_start:
            self._judge(validation, {"epoch": 0})
        while self.progress.epoch < self.settings.epochs and self.progress.stale < self.settings.patience:
            loss = self._run_epoch(train)
            measured = self._judge(validation, {"epoch": self.progress.epoch, "loss": loss})
            self.log(
                f"epoch {self.progress.epoch}: loss {loss:.4f}, validation AUC {measured['auc']:.4f}, log loss {measured['logloss']:.4f}"
            )
            self._save(len(train))
        if not self.settings.keep_last:
            self.model.load_state_dict(self.best)
            self.model.backbone.rescale(self.progress.best_scale, self.progress.best_shift)
        return self.progress

    def _judge(self, validation: Rows, entry: dict[str, float]) -> dict[str, float]:
        logits_N, labels_N = logits(self.model, validation, self.device), validation.labels
        scale, shift = platt(logits_N, labels_N) if self.settings.calibrate else (1.0, 0.0)
        measured, progress = judge(logits_N * scale + shift, labels_N), self.progress
        progress.history.append({**entry, **measured})
        if progress.best_score is None or measured["score"] > progress.best_score:
            progress.best_score, progress.best_scale, progress.best_shift = measured["score"], scale, shift
            progress.stale, self.best = 0, snapshot(self.model)
        else:
            progress.stale += 1
        return measured

    @property
    def _recombines(self) -> bool:
        """Whether a teacher alone says what is right.

        The backbone then answers as it will be served: without dropout, and with the batch statistics of real events.
        """
        return self.teacher is not None and self.settings.recombined > 0

    def _run_epoch(self, train: Rows) -> float:
        """The rest of the epoch under way; returns the mean loss over the whole epoch."""
        progress, settings = self.progress, self.settings
        self.model.train()
        self.model.backbone.train(not self._recombines)
        steps = settings.epochs * -(-len(train) // settings.batch_size)
        done = steps // settings.epochs * progress.epoch
        for batch in train.shuffled(settings.batch_size, settings.seed, progress.epoch, skip=progress.step):
            if settings.decay:
                self.optimizers.slow_down(1 - (done + progress.step) / steps)
            progress.loss_sum += self.step(batch.to(self.device))
            progress.step += 1
            if progress.step % settings.checkpoint_steps == 0:
                self._save(len(train))
        loss = progress.loss_sum / max(progress.step, 1)
        progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
        return loss

    def step(self, batch: Batch) -> float:
        """One step of gradient descent; returns the batch's mean cross-entropy with its targets."""
        if self._recombines:
            batch = recombine(batch, self.settings.recombined)
        targets_B = self._targets(batch)
        if self.settings.unknown_rate:
            batch = hide_values(batch, self.unknown_rows_F, self.settings.unknown_rate)
        self.optimizers.zero_grad()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            pooled_BFD = self.model.embedder.pooled(batch)
            logits_B = self.model.backbone(self.model.embedder.unrotated(pooled_BFD), batch.numbers_BK)
        loss = nn.functional.binary_cross_entropy_with_logits(logits_B.float(), targets_B)
        penalty = self.settings.l2 * pooled_BFD.float().square().sum() / len(batch) if self.settings.l2 else 0.0
        (loss + penalty + (self.beside.term() if self.beside else 0.0)).backward()
        self.optimizers.step()
        return float(loss.detach())

    @torch.no_grad()
    def _targets(self, batch: Batch) -> Tensor:
        """What the logits are held to, [B]: the labels, mixed with what the teacher says of the whole event.

        The cross-entropy is linear in its target, so one with the mixture is the mixture of both.
        """
        if self.teacher is None:
            return batch.labels_B
        share = 1.0 if self._recombines else self.settings.distillation
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            logits_B = self.teacher(batch)
        return (1 - share) * batch.labels_B + share * torch.sigmoid(logits_B.float())

    def _save(self, rows: int) -> None:
        if self.resume is None:
            return
        if not math.isfinite(self.progress.loss_sum):
            raise DataError("the loss is no number any more; training diverged, lower train.learning_rate")
        steps_an_epoch = -(-rows // self.settings.batch_size)
        tensors = {
            **{f"model.{name}": tensor for name, tensor in weights_of(self.model).items()},
            **{f"best.{name}": tensor.cpu() for name, tensor in self.best.items()},
            **{f"optimizer.{name}": tensor for name, tensor in self.optimizers.tensors().items()},
            "random": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            tensors["random_cuda"] = torch.cuda.get_rng_state(self.device)
        if self.beside:
            self.progress.beside = self.beside.state()
        checkpoint.save(self.resume, self.progress.epoch * steps_an_epoch + self.progress.step, tensors, asdict(self.progress))

    def _continued(self) -> bool:
        """Take over the newest checkpoint, if there is one."""
        found = checkpoint.latest(self.resume) if self.resume else None
        if found is None:
            return False
        tensors, progress = found
        self.model.load_state_dict(_with_prefix(tensors, "model."))
        self.best = {name: tensor.to(self.device) for name, tensor in _with_prefix(tensors, "best.").items()}
        self.optimizers.load(_with_prefix(tensors, "optimizer."))
        self.progress = Progress(**progress)
        if self.beside:
            self.beside.restore(self.progress.beside)
        torch.set_rng_state(tensors["random"])
        if "random_cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random_cuda"], self.device)
        self.log(f"resumed after epoch {self.progress.epoch}, step {self.progress.step}")
        return True


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and buffers."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
