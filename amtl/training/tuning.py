"""Fine-tuning: the same short training for all who start from trained weights, the cut model and the fixed-width control alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from amtl.data.dataset import Rows
from amtl.data.vocabulary import Vocabulary
from amtl.model.ctr_model import CTRModel
from amtl.params import Params
from amtl.training.loop import FitSettings, Progress, Trainer, judge, logits, pick_device, platt


class Calibration(NamedTuple):
    """Scale and shift of a logit, and validation AUC, log loss and score with them."""

    scale: float
    shift: float
    measured: dict[str, float]


@dataclass(frozen=True)
class Tuning:
    """What fine-tuning works with."""

    settings: FitSettings
    train: Rows
    validation: Rows
    unknown_rows_F: Tensor
    device: torch.device
    log: Callable[[str], None]

    def run(self, model: CTRModel, teacher: CTRModel | None = None, resume: Path | None = None) -> Progress:
        """Train on from the model's weights, in place; model and teacher end on the CPU."""
        trainer = Trainer(model, self.settings, self.device, self.unknown_rows_F, teacher=teacher, resume=resume, log=self.log)
        progress = trainer.fit(self.train, self.validation)
        model.to("cpu")
        if teacher is not None:
            teacher.to("cpu")
        return progress

    def judge(self, model: CTRModel) -> dict[str, float]:
        """AUC, log loss and score of a model on validation, as it stands; it ends on the CPU."""
        return judge(self._logits_N(model), self.validation.labels)

    def calibration(self, model: CTRModel) -> Calibration:
        """The calibration of a model's logit on validation, and its figures with it; the model stays as it is, on the CPU."""
        logits_N, labels_N = self._logits_N(model), self.validation.labels
        scale, shift = platt(logits_N, labels_N) if self.settings.calibrate else (1.0, 0.0)
        return Calibration(scale, shift, judge(logits_N * scale + shift, labels_N))

    def _logits_N(self, model: CTRModel) -> Tensor:
        logits_N = logits(model.to(self.device), self.validation, self.device)
        model.to("cpu")
        return logits_N


def tuning_for(settings: Params, vocabulary: Vocabulary, train: Rows, validation: Rows, log: Callable[[str], None]) -> Tuning:
    """The tuning that params.yaml asks for."""
    unknown = torch.tensor(list(vocabulary.offsets.values()))
    return Tuning(tuning_settings(settings), train, validation, unknown, pick_device(settings.train.device), log)


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
