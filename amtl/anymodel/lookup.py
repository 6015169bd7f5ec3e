"""Modules that stand in for nn.Embedding and nn.EmbeddingBag: the same call, rows from a masked or packed table.

Shapes: V table rows, D dimensions, T stored dimensions of a row (at most D), M looked-up ids, U different ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amtl.anymodel.tables import Lookup

CODES = 127
"""A basis is stored as int8: its numbers are codes over this."""


class RotatedTable(nn.Module):
    """Ids to vectors of full width: rows as they are stored, taken out of their basis.

    Args:
        rows: stored rows int64 [U] to vectors [U, T or more]; what is beyond T is zero.
        basis_TD: int8 codes / 127 of the orthonormal basis, or None where rows are stored as they are read.
        dim: D. dtype: of the vectors that come out.
    """

    def __init__(self, rows: nn.Module, basis_TD: Tensor | None, dim: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.rows = rows
        self.register_buffer("basis_TD", basis_TD)
        self.register_buffer("read_as", torch.empty(0, dtype=dtype), persistent=False)  # goes with the model, to a device or a precision
        self.dim = dim

    basis_TD: Tensor | None
    read_as: Tensor

    @property
    def device(self) -> torch.device:
        """Where the table lies."""
        return self.read_as.device

    def forward(self, rows_U: Tensor) -> Tensor:
        """Vectors [U, D]."""
        stored = self.rows(rows_U)
        if self.basis_TD is None:
            return nn.functional.pad(stored, (0, self.dim - stored.shape[1])).to(self.read_as.dtype)
        read = stored[:, : len(self.basis_TD)] @ (self.basis_TD.to(stored.dtype) / CODES)
        return read.to(self.read_as.dtype)


class TableLookup(nn.Module):
    """Stands in for an nn.Embedding: ids of any shape to vectors [..., D]."""

    def __init__(self, table: RotatedTable, like: nn.Embedding) -> None:
        super().__init__()
        self.table = table
        self.num_embeddings, self.embedding_dim, self.padding_idx = like.num_embeddings, like.embedding_dim, like.padding_idx

    def forward(self, input: Tensor) -> Tensor:
        """Vectors, one an id."""
        different_U, place = _different(input, self.num_embeddings)
        return nn.functional.embedding(place, self.table(different_U))


class TableBag(nn.Module):
    """Stands in for an nn.EmbeddingBag: rows are cut and read before they are pooled."""

    def __init__(self, table: RotatedTable, like: nn.EmbeddingBag) -> None:
        super().__init__()
        self.table = table
        self.num_embeddings, self.embedding_dim, self.padding_idx = like.num_embeddings, like.embedding_dim, like.padding_idx
        self.mode, self.include_last_offset = like.mode, like.include_last_offset

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        """One vector a bag, as nn.EmbeddingBag."""
        different_U, place = _different(input, self.num_embeddings)
        padding = None
        if self.padding_idx is not None:
            padding = len(different_U)
            place = torch.where(input == self.padding_idx, padding, place)
        vectors_UD = self.table(different_U)
        vectors_UD = torch.cat([vectors_UD, vectors_UD.new_zeros(1, self.embedding_dim)])
        return pooled(self, vectors_UD, place, offsets, per_sample_weights, padding)


def pooled(
    bag: nn.EmbeddingBag | TableBag,
    weight_VD: Tensor,
    input: Tensor,
    offsets: Tensor | None,
    per_sample_weights: Tensor | None,
    padding_idx: int | None,
) -> Tensor:
    """What a bag of that configuration makes of these rows."""
    return nn.functional.embedding_bag(
        input,
        weight_VD,
        offsets,
        mode=bag.mode,
        per_sample_weights=per_sample_weights,
        include_last_offset=bag.include_last_offset,
        padding_idx=padding_idx,
    )


def stand_in(table: RotatedTable, like: Lookup) -> TableLookup | TableBag:
    """The module that takes the place of `like` and reads `table`, in the same mode (training or not)."""
    module = TableBag(table, like) if isinstance(like, nn.EmbeddingBag) else TableLookup(table, like)
    return module.train(like.training)


def _different(ids: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Each different id once, int64 [U], and where each of the ids is among them.

    Raises:
        IndexError: an id is no row of the table, as from nn.Embedding.
    """
    different_U, place = torch.unique(ids, return_inverse=True)
    different_U = different_U.long()
    if len(different_U) and (int(different_U[0]) < 0 or int(different_U[-1]) >= rows):
        raise IndexError(f"index out of range: ids {int(different_U[0])} to {int(different_U[-1])} in a table of {rows} rows")
    return different_U, place
