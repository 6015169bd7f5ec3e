"""Tables as they are trained under the mask, and as they are packed.

Shapes: V table rows, D dimensions, T the widest kept size, K buckets.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from amtl.anymodel.lookup import RotatedTable
from amtl.anymodel.measure import Measured
from amtl.anymodel.row_index import RowIndex
from amtl.anymodel.tables import Table
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing.layout import Layout
from amtl.packing.packed_embedding import CHUNK_ROWS, PackedEmbedding, pack


class PackedRows(nn.Module):
    """Table rows to stored vectors, out of the packed table: the index says where a row lies."""

    def __init__(self, index: RowIndex, packed: PackedEmbedding) -> None:
        super().__init__()
        self.index = index
        self.packed = packed

    def forward(self, rows_U: Tensor) -> Tensor:
        """Stored vectors [U, D]."""
        vectors: Tensor = self.packed(self.index(rows_U))
        return vectors


def masked_table(measured: Measured, layout: Layout) -> RotatedTable:
    """The table cut to the layout's sizes, not coded: trainable wherever the original is; the basis stays as it is."""
    reader = measured.table.readers[measured.table.name]
    weight_VD = measured.table.weight_VD
    embedding = nn.Embedding.from_pretrained(
        measured.stored_VD.clone(),
        freeze=not weight_VD.requires_grad,
        padding_idx=_padding(measured.table),
        sparse=reader.sparse,
    )
    table = RotatedTable(MaskedEmbedding(embedding, layout.sizes_V), _kept_basis(measured, layout), layout.dim, weight_VD.dtype)
    return table.to(weight_VD.device)


def packed_table(measured: Measured, stored_VD: Tensor, layout: Layout, device: torch.device) -> RotatedTable:
    """The table packed, on a device; `stored_VD` are the measured rows, or what training under the mask made of them."""
    index = RowIndex.of(layout.bucket_V, len(layout.bits_KD))
    rows = PackedRows(index, PackedEmbedding(pack(stored_VD, layout), layout.dim))
    return RotatedTable(rows, _kept_basis(measured, layout), layout.dim, measured.table.weight_VD.dtype).to(device)


@torch.no_grad()
def read_rows(packed: RotatedTable, rows: int) -> Iterator[Tensor]:
    """The stored rows of a packed table as they are read back, `CHUNK_ROWS` at a time."""
    for rows_N in torch.arange(rows, device=packed.device).split(CHUNK_ROWS):
        yield packed.rows(rows_N)


def stored_rows(table: RotatedTable) -> Tensor:
    """The trained rows of a masked table."""
    masked = table.rows
    assert isinstance(masked, MaskedEmbedding)
    return masked.embedding.weight


def state_bytes(table: RotatedTable) -> int:
    """Bytes of all that a packed table is read from."""
    return sum(tensor.nbytes for tensor in table.state_dict().values())


def _kept_basis(measured: Measured, layout: Layout) -> Tensor | None:
    """The basis as far as the widest row reads it, int8 [T, D]."""
    return None if measured.basis_DD is None else measured.basis_DD[: int(layout.sizes_K.max())].clone()


def _padding(table: Table) -> int | None:
    """The padding row, which is not trained; several readers may disagree, then there is none."""
    rows = {reader.padding_idx for reader in table.readers.values()}
    return rows.pop() if len(rows) == 1 else None
