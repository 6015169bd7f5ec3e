"""What methods are measured against: the full-width table, and a model without embeddings."""

from __future__ import annotations

from amtl.compare.task import Contender, Task
from amtl.packing.layout import dense_bytes


def base(task: Task, budget: int, precision: str) -> Contender:
    """The full-width table as trained, in fp32."""
    return Contender(task.base, _whole(task), {})


def control(task: Task, budget: int, precision: str) -> Contender:
    """The best full-width table on validation, in fp32: what "no loss" is measured against."""
    return Contender(task.control, _whole(task), {})


def _whole(task: Task) -> int:
    return dense_bytes(task.vocabulary.rows, task.config.dim)
