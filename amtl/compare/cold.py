"""Sizes learned before there is a trained table: what the twins give on the first day, without a search on a trained model."""

from __future__ import annotations

from dataclasses import replace

from amtl.compare.task import Contender, Task
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing.allocation import allocate
from amtl.packing.cut import served
from amtl.packing.merging import lost_worth
from amtl.sizing.joint import descend_jointly
from amtl.sizing.levels import describe_sizes
from amtl.sizing.pricing import twins_worth

EPOCHS_A_RUNG = 1


def cold_twins(task: Task, budget: int, precision: str) -> Contender:
    """Sizes from twins that are trained together with a fresh model; then a fresh model under their mask, the control teaching.

    Nothing is rotated: the fresh model orders its dimensions itself. What a trained table would lose by a cut is not known then, so
    where levels compete for a bucket, too, the twins' own word counts.
    """
    front, search = task.found.front, task.settings.search
    assert front is not None, "a task's front is never absent"
    fit = replace(task.full_fit, epochs=min(task.full_fit.epochs, EPOCHS_A_RUNG * len(search.ladder)))
    rows = task.training_rows, task.validation_rows
    descent = descend_jointly(task.fresh(), task.shown_V, task.field_V, *rows, search, fit, task.device, task.log)
    model = task.fresh()
    worth_VL = twins_worth(descent, front)
    unseen = replace(front, costs_VL1=lost_worth(worth_VL), worth={"cold": worth_VL})
    layout = allocate(unseen, "cold", model.embedding.weight.detach(), budget, precision, stored_basis=False)
    model.embedder.lookup = MaskedEmbedding(model.embedding, layout.sizes_V)
    task.train(model, distilled=True)
    return Contender(served(model, layout), layout.bytes(False), {"sizes": describe_sizes(layout.sizes_V, layout.dim)})
