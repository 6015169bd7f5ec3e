"""Several values on one row: the hashing trick (Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning").

Field f has m_f rows, value i takes row i mod m_f. Every field has at most m rows, so that small fields stay whole; m is the
largest within the budget.

Deviations: no sign hash, as is usual for embeddings. The hash is the value's row modulo m_f. The vocabulary numbers the values that came
together by frequency, so the most frequent ones never meet each other, which is better than a random hash.

Shapes: V values, F fields, H stored rows, D dimensions, M looked-up values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amtl.compare.peers.storage import largest_within, store_by_field, stored_bytes
from amtl.compare.task import Contender, Task


class HashedEmbedding(nn.Module):
    """Values to rows of a smaller table.

    Args:
        rows_F: values of each field. kept_F: stored rows of each field.
    """

    def __init__(self, rows_F: list[int], kept_F: list[int], dim: int, init_std: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sum(kept_F), dim, sparse=True)
        nn.init.normal_(self.embedding.weight, 0, init_std)
        self.register_buffer("row_V", stacked([torch.arange(rows) % kept for rows, kept in zip(rows_F, kept_F, strict=True)], kept_F))

    row_V: Tensor

    def forward(self, rows_M: Tensor) -> Tensor:
        """Vectors [M, D]."""
        vectors_MD: Tensor = self.embedding(self.row_V[rows_M])
        return vectors_MD


def stacked(places: list[Tensor], kept_F: list[int]) -> Tensor:
    """Places within each field's stored rows to places in the table of all fields, int64 [V]."""
    starts = torch.tensor([0, *kept_F]).cumsum(0).tolist()
    return torch.cat([place + start for place, start in zip(places, starts, strict=False)])


def hashed_rows(rows_F: list[int], dim: int, budget: int, precision: str) -> list[int]:
    """Stored rows of each field, at most m each, for the largest m within the budget.

    Raises:
        BudgetError: one row a field is over the budget.
    """

    def total(most: int) -> int:
        return sum(stored_bytes(min(rows, most), dim, precision) for rows in rows_F)

    most = largest_within(budget, max(rows_F), total, "hashing")
    return [min(rows, most) for rows in rows_F]


def hashing(task: Task, budget: int, precision: str) -> Contender:
    """A hashed table, trained like all others.

    Raises:
        BudgetError: one row a field is over the budget.
    """
    rows_F, dim = list(task.vocabulary.sizes.values()), task.config.dim
    kept_F = hashed_rows(rows_F, dim, budget, precision)
    model = task.fresh()
    lookup = model.embedder.lookup = HashedEmbedding(rows_F, kept_F, dim, task.settings.train.init_std)
    task.train(model, distilled=True)
    store_by_field(lookup.embedding.weight, kept_F, precision)
    return Contender(model, sum(stored_bytes(rows, dim, precision) for rows in kept_F), {"rows": sum(kept_F)})
