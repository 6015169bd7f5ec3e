"""Single numbers kept anywhere in a table, and an honest file for them: shared by the peers that prune numbers, not dimensions.

In the file a field's rows are sorted by how many numbers they keep; each such group costs a boundary and a byte. A row then holds which of
its D columns are kept, as a bitmap or as a column index a number, whichever is smaller, and the numbers. At int8 a field's
numbers have one scale.

Shapes: V rows, F fields, D dimensions, M looked-up values.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2

import torch
from torch import Tensor, nn

from amtl.compare.peers.storage import BOUNDARY, stored, stored_bytes, too_small


class SparseEmbedding(nn.Module):
    """A table of which only the numbers of a mask count.

    Args:
        kept_VD: bool.
    """

    def __init__(self, embedding: nn.Embedding, kept_VD: Tensor) -> None:
        super().__init__()
        self.embedding = embedding
        self.register_buffer("kept_VD", kept_VD)

    kept_VD: Tensor

    def forward(self, rows_M: Tensor) -> Tensor:
        """Masked vectors [M, D]."""
        vectors_MD: Tensor = self.embedding(rows_M) * self.kept_VD[rows_M]
        return vectors_MD

    @torch.no_grad()
    def store(self, rows_F: Sequence[int], precision: str) -> None:
        """Replace the kept numbers by what is read back from a file."""
        for table_XD, kept_XD in zip(self.embedding.weight.split(list(rows_F)), self.kept_VD.split(list(rows_F)), strict=True):
            if kept_XD.any():
                table_XD[kept_XD] = stored(table_XD[kept_XD].unsqueeze(1), precision).squeeze(1)


def sparse_bytes(kept_VD: Tensor, rows_F: Sequence[int], precision: str) -> int:
    """Bytes of the kept numbers of a table, and of where they are."""
    return sum(_field_bytes(kept_XD, precision) for kept_XD in kept_VD.split(list(rows_F)))


def _field_bytes(kept_XD: Tensor, precision: str) -> int:
    dim = kept_XD.shape[1]
    kept_X = kept_XD.sum(1)
    places = (kept_X * ceil(log2(dim))).clamp(max=dim).sum()
    groups = len(kept_X.unique())
    return stored_bytes(int(kept_X.sum()), 1, precision) + -(-int(places) // 8) + groups * (BOUNDARY + 1)


def kept_within(worth_VD: Tensor, rows_F: Sequence[int], budget: int, precision: str, method: str) -> Tensor:
    """The numbers of the most worth, as many as the budget allows, bool [V, D]; ties by position.

    Raises:
        BudgetError: a table of no number at all is over the budget.
    """
    order = torch.sort(worth_VD.flatten(), descending=True, stable=True).indices
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    rank_VD = rank.view_as(worth_VD)

    def total(count: int) -> int:
        return sparse_bytes(rank_VD < count, rows_F, precision)

    if total(0) > budget:
        raise too_small(method, total(0), budget)
    fits, over = 0, len(order) + 1  # a group of rows may vanish as numbers are added, so bytes rise but for a few
    while over - fits > 1:
        middle = (fits + over) // 2
        fits, over = (middle, over) if total(middle) <= budget else (fits, middle)
    return rank_VD < fits
