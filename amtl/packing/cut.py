"""A table cut and coded, and how good the model is that would be served from it.

Shapes: V table rows, D dimensions, N validation events.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amtl.model.ctr_model import CTRModel
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing.allocation import allocate
from amtl.packing.coded_embedding import as_served
from amtl.packing.layout import Layout
from amtl.packing.packed_embedding import decoded
from amtl.sizing.front import Front
from amtl.training.control import BORN_AGAIN
from amtl.training.tuning import Fresh, Tuning


@dataclass(frozen=True)
class Cut:
    """A way to cut a model.

    Attributes:
        selector: by whose worth the sizes were taken. steps: in how many cuts, each in a basis of its own.
        model: before it was fine-tuned, the whole rotated model, which other cuts may share; afterwards masked and calibrated.
        born_again: whether the model was trained anew at these sizes, not cut from the whole one.
        layout: what is kept of every row, at how many bits.
        measured: validation AUC, log loss and score of the model as it would be served: numbers coded and read back, calibrated.
        losses_N: that log loss by event, float64 [N].
        history: validation of the model, with numbers as they are served, after every epoch of fine-tuning; empty before.
    """

    selector: str
    model: CTRModel
    layout: Layout
    measured: dict[str, float]
    history: list[dict[str, float]] = field(default_factory=list)
    steps: int = 1
    born_again: bool = False
    losses_N: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

    @property
    def name(self) -> str:
        """The selector, and how its sizes were reached: in steps, or by a model of its own."""
        steps = "" if self.steps == 1 else f" in {self.steps} steps"
        return f"{self.selector}{steps}{f' {BORN_AGAIN}' if self.born_again else ''}"

    @property
    def kept(self) -> float:
        """Kept share of the table's numbers."""
        return float(self.layout.sizes_V.double().mean()) / self.layout.dim

    @property
    def bytes(self) -> int:
        """Of the table file."""
        return self.layout.bytes(self.model.embedder.basis_FDD is not None)

    def described(self) -> dict[str, Any]:
        """One line of a report."""
        return {"selector": self.name, "bytes": self.bytes, "tuned": bool(self.history), **self.measured}


def propose(selector: str, model: CTRModel, front: Front, budget_bytes: int, precision: str, tuning: Tuning) -> Cut:
    """Sizes of a budget by a selector, judged without any training; `model` stays as it is.

    Raises:
        BudgetError: no table meets the budget.
    """
    table_VD = model.embedding.weight.detach()
    layout = allocate(front, selector, table_VD, budget_bytes, precision, model.embedder.basis_FDD is not None)
    calibration = tuning.calibration(served(model, layout))
    return Cut(selector, model, layout, calibration.measured, losses_N=calibration.losses_N)


def finetuned(proposed: Cut, teacher: CTRModel, tuning: Tuning, resume: Path | None = None) -> Cut:
    """The same sizes after fine-tuning with numbers as they will be served; the model of the proposal stays as it is."""
    model = copy.deepcopy(proposed.model)
    cut(model, proposed.layout.sizes_V)
    model.embedder.lookup = as_served(model.embedding, proposed.layout)
    progress = tuning.run(model, teacher, resume)
    return settled(replace(proposed, model=model, history=progress.history), tuning)


def born_again(selector: str, layout: Layout, fresh: Fresh, teacher: CTRModel, tuning: Tuning, resume: Path | None = None) -> Cut:
    """A layout's sizes in a model that is trained anew under their mask, the whole model teaching, and then fine-tuned as served.

    What a deep cut leaves of a trained table is a poor place to start from: a table that was never larger uses its few dimensions better.
    Nothing is rotated: a fresh table orders its dimensions itself.
    """
    model = fresh.build()
    cut(model, layout.sizes_V)
    tuning.run(model, teacher, resume and resume / "trained", fresh.fit)
    model.embedder.lookup = as_served(model.embedding, layout)
    history = tuning.run_in_rounds(model, teacher, 1, resume and resume / "tuned")
    return settled(Cut(selector, model, layout, {}, history, born_again=True), tuning)


def tuned_on(trained: Cut, rounds: int, teacher: CTRModel, tuning: Tuning, resume: Path | None = None) -> Cut:
    """A cut that was fine-tuned once after `rounds` in all, each from where the last ended; the one that is given stays as it is."""
    model = copy.deepcopy(trained.model)
    model.embedder.lookup = as_served(model.embedding, trained.layout)
    history = tuning.run_in_rounds(model, teacher, rounds, resume and resume / "tuned", done=1)
    return settled(replace(trained, model=model, history=[*trained.history, *history]), tuning)


def settled(chosen: Cut, tuning: Tuning) -> Cut:
    """The cut as it is served: a masked model of its own, calibrated for the numbers that are read back."""
    model = chosen.model if chosen.history else copy.deepcopy(chosen.model)
    cut(model, chosen.layout.sizes_V)
    calibration = tuning.calibration(served(model, chosen.layout))
    model.backbone.rescale(calibration.scale, calibration.shift)
    return replace(chosen, model=model, measured=calibration.measured, losses_N=calibration.losses_N)


@torch.no_grad()
def cut(model: CTRModel, sizes_V: Tensor) -> None:
    """Mask the model's table: row i keeps its first `sizes_V[i]` dimensions, in the forward pass and in the stored weights."""
    masked = MaskedEmbedding(model.embedding, sizes_V)
    masked.apply_mask()
    model.embedder.lookup = masked


def served(model: CTRModel, layout: Layout) -> CTRModel:
    """A copy of the model that looks up what a server would: numbers coded and read back."""
    table = nn.Embedding.from_pretrained(decoded(model.embedding.weight, layout), freeze=False)
    return copy.deepcopy(model, {id(model.embedder.lookup): table})
