"""Each value from two small tables: the quotient-remainder trick (Shi et al. 2020, arXiv 1909.02107).

With c collisions, value i of a field has the vector Q[i div c] * R[i mod c] (element-wise, the paper's best composition): unlike
under hashing no two values share theirs. Fields whose two tables would not be smaller stay whole (the paper's threshold). One c
serves all fields, the smallest within the budget; a field takes no more than the root of its values, where its tables are smallest.

Deviations: values that came together are numbered by frequency, so that those which share a quotient are about equally frequent; the
paper's numbers are arbitrary. Initial numbers are normal with the deviation sqrt(init_std), so that products start as all other tables
do; the paper draws both uniformly from +-1 / sqrt(values). What lies between the tables of c and of c - 1 is left over.

Shapes: V values, F fields, D dimensions, M looked-up values.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor, nn

from amtl.compare.peers.hashing import stacked
from amtl.compare.peers.storage import store_by_field, stored_bytes, too_small
from amtl.compare.task import Contender, Task


@dataclass(frozen=True)
class Tables:
    """Sizes of both tables of each field; a field that stays whole has all its rows in `quotients_F` and 0 in `remainders_F`."""

    quotients_F: list[int]
    remainders_F: list[int]

    def bytes(self, dim: int, precision: str) -> int:
        """Of all tables."""
        return sum(stored_bytes(rows, dim, precision) for rows in self.quotients_F + self.remainders_F)


def tables_at(rows_F: list[int], collisions: int) -> Tables:
    """The tables where `collisions` values share a quotient."""
    shared_F = [min(collisions, isqrt(rows)) for rows in rows_F]
    split_F = [-(-rows // shared) + shared < rows for rows, shared in zip(rows_F, shared_F, strict=True)]
    quotients_F = [-(-rows // shared) if split else rows for rows, shared, split in zip(rows_F, shared_F, split_F, strict=True)]
    return Tables(quotients_F, [shared if split else 0 for shared, split in zip(shared_F, split_F, strict=True)])


def tables_within(rows_F: list[int], dim: int, budget: int, precision: str) -> Tables:
    """The tables of the fewest collisions within the budget.

    Raises:
        BudgetError: there are none.
    """
    candidates = (tables_at(rows_F, collisions) for collisions in range(1, isqrt(max(rows_F)) + 1))
    found = next((tables for tables in candidates if tables.bytes(dim, precision) <= budget), None)
    if found is None:
        raise too_small("qr", tables_at(rows_F, isqrt(max(rows_F))).bytes(dim, precision), budget)
    return found


class QuotientRemainderEmbedding(nn.Module):
    """Values to the products of their quotient's and their remainder's vectors; values of whole fields to their own vector."""

    def __init__(self, rows_F: list[int], tables: Tables, dim: int, init_std: float) -> None:
        super().__init__()
        self.quotients = nn.Embedding(sum(tables.quotients_F), dim, sparse=True)
        self.remainders = nn.Embedding(max(sum(tables.remainders_F), 1), dim, sparse=True)
        shared_F = [shared or 1 for shared in tables.remainders_F]
        values = [torch.arange(rows) for rows in rows_F]
        divided = [value // shared for value, shared in zip(values, shared_F, strict=True)]
        rest = [value % shared for value, shared in zip(values, shared_F, strict=True)]
        whole_V = torch.cat([torch.full((rows,), not shared) for rows, shared in zip(rows_F, tables.remainders_F, strict=True)])
        self.register_buffer("quotient_V", stacked(divided, tables.quotients_F))
        self.register_buffer("remainder_V", stacked(rest, tables.remainders_F).masked_fill(whole_V, 0))
        self.register_buffer("whole_V", whole_V)
        self._initialise(init_std)

    quotient_V: Tensor
    remainder_V: Tensor
    whole_V: Tensor

    @torch.no_grad()
    def _initialise(self, init_std: float) -> None:
        nn.init.normal_(self.quotients.weight, 0, init_std**0.5)
        nn.init.normal_(self.remainders.weight, 0, init_std**0.5)
        self.quotients.weight[self.quotient_V[self.whole_V]] *= init_std**0.5

    def forward(self, rows_M: Tensor) -> Tensor:
        """Vectors [M, D]."""
        factors_MD = torch.where(self.whole_V[rows_M].unsqueeze(1), 1.0, self.remainders(self.remainder_V[rows_M]))
        vectors_MD: Tensor = self.quotients(self.quotient_V[rows_M]) * factors_MD
        return vectors_MD


def quotient_remainder(task: Task, budget: int, precision: str) -> Contender:
    """Quotients and remainders, trained like all others.

    Raises:
        BudgetError: the smallest tables are over the budget.
    """
    rows_F, dim = list(task.vocabulary.sizes.values()), task.config.dim
    tables = tables_within(rows_F, dim, budget, precision)
    model = task.fresh()
    lookup = model.embedder.lookup = QuotientRemainderEmbedding(rows_F, tables, dim, task.settings.train.init_std)
    task.train(model, distilled=True)
    store_by_field(lookup.quotients.weight, tables.quotients_F, precision)
    if any(tables.remainders_F):
        store_by_field(lookup.remainders.weight, tables.remainders_F, precision)
    return Contender(model, tables.bytes(dim, precision), {"collisions": max(tables.remainders_F)})
