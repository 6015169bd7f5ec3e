"""The ragged table: each row holds its own number of numbers, and nothing else is stored a row (but a scale in int8).

Rows are sorted by size, so D + 2 boundaries say every row's size and place: rows `boundaries[t] ... boundaries[t + 1] - 1`
have size t. A looked-up row is its numbers, then zeros up to D.

Shapes: V rows (sorted), D dimensions, N numbers in all, M looked-up rows, S rows with a scale (int8: all rows of size > 0).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "int8": torch.int8}


def order_by_size(sizes_V: Tensor) -> tuple[Tensor, Tensor]:
    """Rows sorted by size, ties in table order.

    Returns:
        order_V: table row at each packed row. packed_V: packed row of each table row (its inverse).
    """
    order_V = torch.sort(sizes_V, stable=True).indices
    packed_V = torch.empty_like(order_V)
    packed_V[order_V] = torch.arange(len(order_V))
    return order_V, packed_V


def pack(table_VD: Tensor, sizes_V: Tensor, precision: str) -> dict[str, Tensor]:
    """The tensors of the ragged table: `values` [N], `boundaries` int64 [D + 2] and, in int8, `scales` fp16 [S].

    int8 is symmetric by row: value = code * scale, scale = max |value| / 127, rounded to fp16 before coding.
    """
    dim = table_VD.shape[1]
    order_V, _ = order_by_size(sizes_V)
    sorted_V = sizes_V[order_V]
    counts_O = torch.bincount(sorted_V, minlength=dim + 1)
    boundaries = torch.cat([torch.zeros(1, dtype=torch.int64), counts_O.cumsum(0)])
    parts, scales = [], []
    for size in range(1, dim + 1):
        members = order_V[boundaries[size] : boundaries[size + 1]]
        block = table_VD[members, :size].float().cpu()
        if precision == "int8":
            scale_R1 = (
                (block.abs().amax(dim=1, keepdim=True) / 127).half().clamp(min=torch.finfo(torch.float16).tiny)
                if len(block)
                else block[:, :1].half()
            )
            block = (block / scale_R1.float()).round().clamp(-127, 127)
            scales.append(scale_R1.flatten())
        parts.append(block.to(DTYPES[precision]).flatten())
    packed = {"values": torch.cat(parts), "boundaries": boundaries}
    return {**packed, "scales": torch.cat(scales)} if precision == "int8" else packed


class PackedEmbedding(nn.Module):
    """Lookup in a ragged table: packed rows int64 [M] to vectors fp32 [M, D].

    Raises:
        ValueError: the tensors do not belong together.
    """

    def __init__(self, values: Tensor, boundaries: Tensor, scales: Tensor | None = None) -> None:
        super().__init__()
        self.dim = len(boundaries) - 2
        if boundaries.dtype != torch.int64 or boundaries.ndim != 1 or self.dim < 1:
            raise ValueError(f"the table's boundaries have the type {boundaries.dtype} and the shape {tuple(boundaries.shape)}")
        self.register_buffer("values", values)
        self.register_buffer("boundaries", boundaries)
        self.register_buffer("scales", scales)
        size_O = torch.arange(self.dim + 1)
        numbers_O = (boundaries[1:] - boundaries[:-1]) * size_O
        self.register_buffer("first_number_O", numbers_O.cumsum(0) - numbers_O, persistent=False)
        if int(boundaries[0]) != 0 or bool((boundaries.diff() < 0).any()):
            raise ValueError("the table's boundaries do not rise from 0")
        if values.shape != (int(numbers_O.sum()),) or values.dtype not in DTYPES.values():
            raise ValueError(
                f"the table holds {values.dtype} {tuple(values.shape)} where its boundaries ask for {int(numbers_O.sum())} numbers"
            )
        if (values.dtype == torch.int8) != (scales is not None) or (scales is not None and len(scales) != self.rows - int(boundaries[1])):
            raise ValueError("the table does not hold one scale for each of its int8 rows")

    values: Tensor
    boundaries: Tensor
    scales: Tensor | None
    first_number_O: Tensor

    @property
    def rows(self) -> int:
        """V."""
        return int(self.boundaries[-1])

    def forward(self, rows_M: Tensor) -> Tensor:
        """Vectors [M, D]: the row's numbers, then zeros."""
        size_M = torch.searchsorted(self.boundaries, rows_M, right=True) - 1
        start_M = self.first_number_O[size_M] + (rows_M - self.boundaries[size_M]) * size_M
        column_D = torch.arange(self.dim, device=rows_M.device)
        kept_MD = column_D < size_M.unsqueeze(1)
        place_MD = torch.where(kept_MD, start_M.unsqueeze(1) + column_D, 0)
        if len(self.values) == 0:
            return torch.zeros(len(rows_M), self.dim, device=rows_M.device)
        numbers_MD = torch.where(kept_MD, self.values[place_MD].float(), 0.0)
        if self.scales is None:
            return numbers_MD
        scaled_M = (rows_M - self.boundaries[1]).clamp(min=0)
        if len(self.scales) == 0:
            return numbers_MD
        return numbers_MD * self.scales[scaled_M.clamp(max=len(self.scales) - 1)].float().unsqueeze(1)
