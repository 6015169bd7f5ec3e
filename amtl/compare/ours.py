"""The product's own tables: one front, and the sizes that each selector takes from it.

Every selector gets the same rotated table, the same allocation, the same fine-tuning, taught by the control. What is judged is
what would be served: codes are written and read back.
"""

from __future__ import annotations

import functools

from amtl.compare.task import Contender, Method, Task
from amtl.packing.compress import cut

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
    from amtl.packing.allocation import allocate

    found = task.found
    model, front = found.model, found.front
    assert front is not None
    layout = allocate(front, selector, model.embedding.weight.detach(), budget, precision, model.embedder.basis_FDD is not None)
    cut(model, layout.sizes_V)
    task.finetune(model, distilled=True)
    return Contender(model, layout.bytes(), {})


def paper(task: Task, budget: int, precision: str) -> Contender:
    """The layer exactly as published, trained jointly from the base: its size is whatever comes out, whatever the budget."""
    raise NotImplementedError
