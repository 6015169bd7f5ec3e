"""Fine-tuning: the same short training for all who start from trained weights, the cut model and the fixed-width control alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from amtl.data.dataset import Rows
from amtl.data.vocabulary import Vocabulary
from amtl.model.ctr_model import CTRModel, ModelConfig, build
from amtl.params import Params
from amtl.training.loop import FitSettings, Progress, Trainer, judge, logits, pick_device, platt
from amtl.training.train import fit_settings


class Calibration(NamedTuple):
    """Scale and shift of a logit; validation AUC, log loss and score with them, and the cross-entropy of each event, float64 [N]."""

    scale: float
    shift: float
    measured: dict[str, float]
    losses_N: Tensor


@dataclass(frozen=True)
class Fresh:
    """A model's whole training from untrained weights, as the start of a fine-tuning was trained: for a pupil of that start.

    Attributes:
        rows: of the table. fit: with the teacher's weight in it.
        rounds: of a control's fine-tuning afterwards; a cut model has one, and the others only where it is the best.
    """

    config: ModelConfig
    rows: int
    init_std: float
    fit: FitSettings
    rounds: int = 1

    @classmethod
    def of(cls, settings: Params, rows: int) -> Fresh:
        """By the `train` section, a teacher counting as much as `compress.finetune.distillation` says."""
        finetune = settings.compress.finetune
        fit = replace(fit_settings(settings, warm=False), distillation=finetune.distillation)
        return cls(ModelConfig.of(settings.events, settings.train), rows, settings.train.init_std, fit, finetune.rounds)

    def build(self) -> CTRModel:
        """The untrained model; its weights are decided by the seed."""
        torch.manual_seed(self.fit.seed)
        return build(self.config, self.rows, self.init_std)


@dataclass(frozen=True)
class Tuning:
    """What fine-tuning works with.

    Attributes:
        fresh: how a model that is born again, the control or one at chosen sizes, is trained; None: there is no such candidate.
    """

    settings: FitSettings
    train: Rows
    validation: Rows
    unknown_rows_F: Tensor
    device: torch.device
    log: Callable[[str], None]
    fresh: Fresh | None = None

    def run(self, model: CTRModel, teacher: CTRModel | None = None, resume: Path | None = None, fit: FitSettings | None = None) -> Progress:
        """Train on from the model's weights, in place; model and teacher end on the CPU.

        Args:
            fit: None: the fine-tuning.
        """
        trainer = Trainer(model, fit or self.settings, self.device, self.unknown_rows_F, teacher=teacher, resume=resume, log=self.log)
        progress = trainer.fit(self.train, self.validation)
        model.to("cpu")
        if teacher is not None:
            teacher.to("cpu")
        return progress

    def run_in_rounds(
        self, model: CTRModel, teacher: CTRModel, rounds: int, resume: Path | None = None, done: int = 0
    ) -> list[dict[str, float]]:
        """Fine-tune by `in_rounds`, in place, each time from where the last ended.

        Args:
            resume: folder of the rounds' folders.
            done: how many of the rounds the model has behind it.

        Returns:
            Their histories, one behind the other.
        """
        fits = list(enumerate(in_rounds(self.settings, rounds)))[done:]
        parts = ((fit, resume and resume / f"round-{number}") for number, fit in fits)
        return [entry for fit, folder in parts for entry in self.run(model, teacher, folder, fit).history]

    def judge(self, model: CTRModel) -> dict[str, float]:
        """AUC, log loss and score of a model on validation, as it stands; it ends on the CPU."""
        return judge(self._logits_N(model), self.validation.labels)

    def calibration(self, model: CTRModel) -> Calibration:
        """The calibration of a model's logit on validation, and its figures with it; the model stays as it is, on the CPU."""
        logits_N, labels_N = self._logits_N(model), self.validation.labels
        scale, shift = platt(logits_N, labels_N) if self.settings.calibrate else (1.0, 0.0)
        calibrated_N = logits_N * scale + shift
        losses_N = binary_cross_entropy_with_logits(calibrated_N, labels_N.double(), reduction="none")
        return Calibration(scale, shift, judge(calibrated_N, labels_N), losses_N)

    def _logits_N(self, model: CTRModel) -> Tensor:
        logits_N = logits(model.to(self.device), self.validation, self.device)
        model.to("cpu")
        return logits_N


def in_rounds(fit: FitSettings, rounds: int) -> list[FitSettings]:
    """The same fit again and again, in another order of batches, at a learning rate that is high again.

    Source: warm restarts, Loshchilov and Hutter 2017, arXiv 1608.03983.
    """
    return [replace(fit, seed=fit.seed + number) for number in range(rounds)]


def tuning_for(settings: Params, vocabulary: Vocabulary, train: Rows, validation: Rows, log: Callable[[str], None]) -> Tuning:
    """The tuning that params.yaml asks for."""
    unknown = torch.tensor(list(vocabulary.offsets.values()))
    fresh = fresh_of(settings, vocabulary.rows)
    return Tuning(tuning_settings(settings), train, validation, unknown, pick_device(settings.train.device), log, fresh)


def fresh_of(settings: Params, rows: int) -> Fresh | None:
    """The whole training of a model that is born again, where params.yaml asks for it."""
    again = settings.compress.finetune.born_again and settings.search.sizes != "paper"
    return Fresh.of(settings, rows) if again else None


def tuning_settings(settings: Params) -> FitSettings:
    """Fine-tuning starts anew: a fresh optimizer, another order of batches, and the weights at the start compete.

    In paper mode the layer was trained jointly for `search.epochs`, all of which count; so the control gets that.
    """
    paper = settings.search.sizes == "paper"
    finetune, train = settings.compress.finetune, settings.train
    return FitSettings(
        epochs=settings.search.epochs if paper else finetune.epochs,
        patience=settings.search.epochs if paper else finetune.patience,
        batch_size=train.batch_size,
        learning_rate=train.learning_rate if paper else finetune.learning_rate,
        seed=train.seed + (0 if paper else 1),
        l2=train.l2,
        unknown_rate=train.unknown_rate,
        bf16=train.bf16,
        keep_start=not paper,
        keep_last=paper,
        calibrate=not paper,
        distillation=0.0 if paper else finetune.distillation,
        recombined=0.0 if paper else finetune.recombined,
        decay=not paper,
        checkpoint_steps=train.checkpoint_steps,
    )
