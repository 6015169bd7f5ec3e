"""Every value at one width: the narrower table that anybody would train first.

The model is built at the largest width whose table is within the budget, and trained like all others; `fixed_distilled` also learns
from the full-width control (Hinton et al. 2015, arXiv 1503.02531).
"""

from __future__ import annotations

from amtl.compare.peers.storage import largest_within, store_by_field, stored_bytes
from amtl.compare.task import Contender, Task


def fixed(task: Task, budget: int, precision: str) -> Contender:
    """The narrower table, trained on the labels alone.

    Raises:
        BudgetError: not even width 1 is within the budget.
    """
    return _narrow(task, budget, precision, distilled=False)


def fixed_distilled(task: Task, budget: int, precision: str) -> Contender:
    """The narrower table, taught by the control as well; see `fixed`."""
    return _narrow(task, budget, precision, distilled=True)


def width_bytes(rows_F: list[int], width: int, precision: str) -> int:
    """Bytes of a table of one width, each field a matrix of its own."""
    return sum(stored_bytes(rows, width, precision) for rows in rows_F)


def _narrow(task: Task, budget: int, precision: str, distilled: bool) -> Contender:
    rows_F = list(task.vocabulary.sizes.values())
    width = largest_within(budget, task.config.dim, lambda width: width_bytes(rows_F, width, precision), "fixed")
    model = task.train(task.fresh(width), distilled)
    store_by_field(model.embedding.weight, rows_F, precision)
    return Contender(model, width_bytes(rows_F, width, precision), {"width": width})
