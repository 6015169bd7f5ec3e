"""The product's own tables: one front, and the sizes that each selector takes from it.

All start from the rotated control and get the same allocation and the same fine-tuning, taught by the control. What is judged is
what would be served: numbers are coded and read back.

Shapes: V rows of the table, D dimensions.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from amtl.compare.task import Contender, Method, Task
from amtl.model.ctr_model import CTRModel
from amtl.packing.allocation import allocate
from amtl.packing.cut import cut
from amtl.packing.layout import Layout
from amtl.packing.packed_embedding import PackedEmbedding, pack
from amtl.sizing.levels import describe_sizes
from amtl.sizing.sizes import find_sizes

SELECTORS = {
    "uniform": "uniform",
    "magnitude-rows": "magnitude",
    "rule": "rule",
    "curvature": "curvature",
    "twins": "twins",
    "single-aml": "single",
}
"""Method to the selector of the front that it takes its sizes by."""


def by_selector(selector: str) -> Method:
    """The method that takes its sizes by a selector."""
    return functools.partial(_by_selector, selector)


def _by_selector(selector: str, task: Task, budget: int, precision: str) -> Contender:
    found = task.found
    model, front = found.model, found.front
    assert front is not None, "a task's front is never absent"
    layout = allocate(front, selector, model.embedding.weight.detach(), budget, precision, _stores_basis(model))
    cut(model, layout.sizes_V)
    return _served(task.finetune(model, distilled=True), layout)


def paper(task: Task, budget: int, precision: str) -> Contender:
    """The layer exactly as published, trained jointly from the base: its size is whatever comes out, whatever the budget.

    It then gets the fine-tuning that all others get, under its mask, where it is better for it on validation.
    """
    asked = task.settings.model_copy(update={"search": task.settings.search.model_copy(update={"sizes": "paper"})})
    found = find_sizes(asked, task.vocabulary, task.base, task.training_rows, task.validation_rows, None, task.log)
    assert found.sizes_V is not None, "search.sizes: paper gives sizes"
    cut(found.model, found.sizes_V)
    contender = _served(
        task.finetune(found.model, distilled=True), Layout.of_sizes(found.sizes_V, task.field_V, task.config.dim, precision)
    )
    return replace(contender, details={**contender.details, **found.report})


def _served(model: CTRModel, layout: Layout) -> Contender:
    """A masked model as it would be served: its table packed and read back."""
    details: dict[str, Any] = {"sizes": describe_sizes(layout.sizes_V, layout.dim)}
    table_VD = read_back(model.embedding.weight.detach(), layout)
    model.embedder.lookup = nn.Embedding.from_pretrained(table_VD)
    return Contender(model, layout.bytes(_stores_basis(model)), details)


def read_back(table_VD: Tensor, layout: Layout) -> Tensor:
    """The table as a lookup of the packed one gives it, float32 [V, D]."""
    _, packed_V = layout.order()
    with torch.no_grad():
        served_VD: Tensor = PackedEmbedding(pack(table_VD, layout), layout.dim)(packed_V)
    return served_VD


def _stores_basis(model: CTRModel) -> bool:
    return model.embedder.basis_FDD is not None
