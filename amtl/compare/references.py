"""What methods are measured against: the full-width table, and a model without embeddings."""

from __future__ import annotations

from amtl.compare.task import Contender, Task


def base(task: Task, budget: int, precision: str) -> Contender:
    """The full-width table as trained, in fp32."""
    return Contender(task.base, full_bytes(task), {})


def control(task: Task, budget: int, precision: str) -> Contender:
    """The best full-width table on validation, in fp32: what "no loss" is measured against."""
    return Contender(task.control, full_bytes(task), {})


def full_bytes(task: Task) -> int:
    """Bytes of the table in fp32 at full width."""
    return task.vocabulary.rows * task.config.dim * 4
