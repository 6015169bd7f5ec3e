"""The seam that every method of a comparison stands on: what it is given (`Task`) and what it hands back (`Contender`).

All methods see the same rows, the same trained table and control, and train by the same two recipes: `Task.train` for a model
that starts fresh, `Task.finetune` for one that starts from trained weights. None of them sees a test row.

Shapes: V table rows, F fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amtl.data.dataset import Rows
from amtl.data.vocabulary import Vocabulary
from amtl.model.ctr_model import CTRModel, ModelConfig, build, restore
from amtl.params import Params
from amtl.sizing.front import Front
from amtl.sizing.sizes import Found
from amtl.training.loop import FitSettings, Trainer
from amtl.training.train import fit_settings
from amtl.training.tuning import Tuning, fresh_of, in_rounds, tuning_settings

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Contender:
    """What a method made within a budget.

    Attributes:
        model: as it would be served: weights quantised and read back.
        bytes: of everything that stands in for the table: numbers, codes, scales, masks, indices, boundaries, projections.
        details: of the method itself, JSON-able: sizes, chosen settings, epochs.
    """

    model: CTRModel
    bytes: int
    details: dict[str, Any]


@dataclass(frozen=True)
class Starts:
    """What is trained once a seed and shared by all methods; weights as `weights_of` gives them.

    Attributes:
        base: the full-width model as trained.
        control: the best full-width model on validation; see `amtl.training.control`.
        rotated: the control in the basis that the front belongs to; equal predictions.
        front: what every size of every row costs and is worth.
    """

    base: Weights
    control: Weights
    rotated: Weights
    front: Front


@dataclass(frozen=True)
class Task:
    """One seed's problem.

    Attributes:
        settings: of everything; `settings.train.seed` is the seed.
        starts: what was trained before the methods begin.
        log: takes one line of progress.
        trainings: folder for checkpoints of trainings that several methods make, so that they are made once; None: each makes its own.
            Two runs at once must not make the same.
    """

    settings: Params
    vocabulary: Vocabulary
    training_rows: Rows
    validation_rows: Rows
    starts: Starts
    device: torch.device
    log: Callable[[str], None]
    trainings: Path | None = None

    @property
    def seed(self) -> int:
        """Of initial weights and of the order of batches."""
        return self.settings.train.seed

    @property
    def config(self) -> ModelConfig:
        """Of the full-width model."""
        return ModelConfig.of(self.settings.events, self.settings.train)

    @property
    def base(self) -> CTRModel:
        """The full-width model as trained; a copy."""
        return self._restored(self.starts.base)

    @property
    def control(self) -> CTRModel:
        """The best full-width model: the teacher, and what "no loss" is measured against; a copy."""
        return self._restored(self.starts.control)

    @property
    def found(self) -> Found:
        """The control, rotated, a copy, with the front of its sizes."""
        return Found(self._restored(self.starts.rotated), self.starts.front, None, {})

    @cached_property
    def unknown_rows_F(self) -> Tensor:
        """Each field's unknown row, which is also its first, int64 [F]."""
        return torch.tensor(list(self.vocabulary.offsets.values()))

    @cached_property
    def field_V(self) -> Tensor:
        """Field of each table row, int64 [V]; rows of a field are contiguous."""
        return torch.from_numpy(self.vocabulary.fields_V)

    @cached_property
    def shown_V(self) -> Tensor:
        """How often training shows each table row, float64 [V]."""
        return torch.from_numpy(self.vocabulary.exposures_V(self.settings.train.unknown_rate, len(self.training_rows)))

    @property
    def full_fit(self) -> FitSettings:
        """The `train` section: how the base was trained."""
        return fit_settings(self.settings, warm=False)

    @property
    def fine_fit(self) -> FitSettings:
        """The `compress.finetune` section: the start competes, the logit is calibrated."""
        return tuning_settings(self.settings)

    @property
    def tuning(self) -> Tuning:
        """What the product's own functions fine-tune and judge with: `fine_fit` on these rows."""
        parts = self.training_rows, self.validation_rows, self.unknown_rows_F, self.device, self.log
        return Tuning(self.fine_fit, *parts, fresh_of(self.settings, self.vocabulary.rows))

    def trainings_at(self, precision: str, budget: int) -> Path | None:
        """The folder in `trainings` of one budget in bytes."""
        return self.trainings and self.trainings / f"{precision}-{budget}"

    def fresh(self, dim: int | None = None) -> CTRModel:
        """An untrained model of a width (None: full), its initial weights decided by the seed."""
        torch.manual_seed(self.seed)
        config = self.config if dim is None else replace(self.config, dim=dim)
        return build(config, self.vocabulary.rows, self.settings.train.init_std)

    def train(self, model: CTRModel, distilled: bool) -> CTRModel:
        """The full training of a model that starts fresh, then the fine-tuning of all others; in place, onto the CPU.

        The control was trained so as well: narrow tables get no step less.
        """
        self.fit(model, self.full_fit, distilled)
        for fit in in_rounds(self.fine_fit, self.settings.compress.finetune.rounds):
            self.fit(model, fit, distilled)
        return model

    def finetune(self, model: CTRModel, distilled: bool) -> CTRModel:
        """The fine-tuning of a model that starts from trained weights; in place, onto the CPU. It never ends worse on validation."""
        return self.fit(model, self.fine_fit, distilled)

    def fit(self, model: CTRModel, fit: FitSettings, distilled: bool, rates: Mapping[str, float] | None = None) -> CTRModel:
        """Train by settings of one's own (a search phase, say); in place, onto the CPU.

        Args:
            distilled: the control teaches, with the weight `compress.finetune.distillation`.
            rates: learning rates by the prefix of a weight's name, where not the settings' one.
        """
        self.trainer(model, fit, distilled, rates).fit(self.training_rows, self.validation_rows)
        return model.to("cpu")

    def trainer(self, model: CTRModel, fit: FitSettings, distilled: bool, rates: Mapping[str, float] | None = None) -> Trainer:
        """The trainer behind `fit`, for a method that must act between steps (`Trainer.step`)."""
        teacher = self.control if distilled else None
        weight = self.settings.compress.finetune.distillation if distilled else 0.0
        settings = replace(fit, distillation=weight)
        return Trainer(model, settings, self.device, self.unknown_rows_F, teacher=teacher, rates=rates, log=self.log)

    def judge(self, model: CTRModel) -> dict[str, float]:
        """AUC, log loss and score (AUC - log loss / 2) on validation: what methods choose by."""
        return self.tuning.judge(model)

    def _restored(self, weights: Weights) -> CTRModel:
        return restore(self.config, {name: tensor.clone() for name, tensor in weights.items()})


Method = Callable[[Task, int, str], Contender]
"""(task, budget in bytes, precision fp32 | fp16 | int8) to a contender of at most that many bytes.

Raises:
    BudgetError: the method has no table that small.
"""
