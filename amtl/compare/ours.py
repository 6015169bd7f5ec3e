"""The product's own tables: one front, and what the stage `compress` makes of it by each selector.

All start from the rotated control, and each goes the way of the product: proposals judged as they would be served, cut in steps where
little is kept, fine-tuned with the control as the teacher; and models trained anew at proposed sizes, as those of peers are.
`auto` proposes by several selectors and takes the best on validation.

Shapes: V rows of the table, D dimensions.
"""

from __future__ import annotations

import functools
from typing import Any

from amtl.compare.task import Contender, Method, Task
from amtl.packing.choice import AUTO, Goal, Table, best_cut
from amtl.packing.cut import Cut, served, settled
from amtl.packing.layout import Layout
from amtl.sizing.front import COLD
from amtl.sizing.levels import describe_sizes
from amtl.sizing.sizes import find_sizes

SELECTORS = {
    "uniform": "uniform",
    "magnitude-rows": "magnitude",
    "rule": "rule",
    "curvature": "curvature",
    "twins": "twins",
    COLD: COLD,
    "single-aml": "single",
}
"""Method to the selector of the front that it takes its sizes by."""


def by_selectors(*selectors: str, precision: str | None = None, enough: bool = False) -> Method:
    """The method that takes the best on validation of what these selectors propose.

    Args:
        selectors: none: those that `search.sizes` asks for.
        precision: of its own, whatever that of the other methods.
        enough: train no more once a cut loses nothing.
    """
    return functools.partial(_by_selectors, selectors, precision, enough)


def _by_selectors(names: tuple[str, ...], own: str | None, enough: bool, task: Task, budget: int, precision: str) -> Contender:
    compress = task.settings.compress.model_copy(update={"precision": own or precision})
    settings, found = task.settings.model_copy(update={"compress": compress}), task.found
    assert found.front is not None, "a task's front is never absent"
    goal = Goal(task.judge(found.model), compress.tolerance)
    table = Table.of(settings, found.model, found.front, task.vocabulary, task.tuning, goal)
    selectors = names or table.selectors
    shared = own is None and set(selectors) <= set(AUTO)
    choice = best_cut(table, selectors, budget, task.trainings_at(precision, budget) if shared else None, enough=enough)
    chosen = {"chosen": choice.cut.name} if len(selectors) > 1 or choice.cut.born_again else {}
    return _served(choice.cut, {**chosen, "tuned": bool(choice.cut.history), "steps": choice.cut.steps, "judged": choice.judged})


def paper(task: Task, budget: int, precision: str) -> Contender:
    """The layer exactly as published, trained jointly from the base: its size is whatever comes out, whatever the budget.

    It then gets the fine-tuning that all others get, under its mask, where it is better for it on validation.
    """
    asked = task.settings.model_copy(update={"search": task.settings.search.model_copy(update={"sizes": "paper"})})
    found = find_sizes(asked, task.vocabulary, task.base, task.training_rows, task.validation_rows, None, task.log)
    assert found.sizes_V is not None, "search.sizes: paper gives sizes"
    layout = Layout.of_sizes(found.sizes_V, task.field_V, task.config.dim, precision)
    cut = settled(Cut("paper", found.model, layout, {}), task.tuning)
    task.finetune(cut.model, distilled=True)
    return _served(cut, found.report)


def _served(chosen: Cut, details: dict[str, Any]) -> Contender:
    """A cut model as it would be served: its table packed and read back."""
    sizes = describe_sizes(chosen.layout.sizes_V, chosen.layout.dim)
    return Contender(served(chosen.model, chosen.layout), chosen.bytes, {"sizes": sizes, **details})


auto = by_selectors()
"""What `search.sizes: auto` does."""

auto_enough = by_selectors(enough=True)
"""The same down to its first table that loses nothing, as the walk of `compress.budget: auto` does."""

auto_mixed = by_selectors(precision="mixed")
"""The same with from 2 to 8 bits a field, size and dimension."""
