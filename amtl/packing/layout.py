"""How a table is cut and coded: buckets of rows, the bits of each of their dimensions, and the exact bytes of the file.

A bucket is the rows of one field that keep the same number of dimensions. In the file, rows lie bucket after bucket, so a bucket's
rows need no more than their count: nothing is stored a row but its numbers. The tensors of the file:

codes   the rows' numbers, one after the other: float32, float16, or bits (uint8; a bucket begins at a byte)
rows    rows of each bucket, [K]              sizes   dimensions of each bucket, [K]
scales  of bits only: one byte for each dimension of each bucket, [S] (`codes.scale_of`)
bits    of mixed widths only: half a byte for each dimension of each bucket, [ceil(S / 2)]
basis   where the model does not absorb it: int8 codes of the first rows of each field's D x D matrix (`amtl.sizing.reflectors`),
        as many as its widest bucket has dimensions
widest  how many rows that is, [F]

Shapes: V rows of the table, K buckets, F fields, D dimensions, S kept dimensions of all buckets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
from torch import Tensor

from amtl.sizing.reflectors import stored_numbers

WIDTHS = {"fp32": 32, "fp16": 16, "int8": 8}
PRECISIONS = (*WIDTHS, "mixed")
LEAST_BITS, MOST_BITS = 2, 8  # of a code
_ITEM_BYTES = {"I64": 8, "F32": 4, "I32": 4, "F16": 2, "I16": 2, "I8": 1, "U8": 1}  # in the order of a safetensors file
_SMALL = {torch.uint8: ("U8", 2**8), torch.int16: ("I16", 2**15), torch.int32: ("I32", 2**31), torch.int64: ("I64", 2**63)}


@dataclass(frozen=True)
class Layout:
    """How a table is stored.

    Attributes:
        bits_KD: bits of each dimension of a bucket's rows, uint8 [K, D]; 0 = not kept, and what is kept comes first. All that is
            kept has 32 bits (fp32), 16 (fp16), or 2 to 8 (codes).
        field_K: field of each bucket, int64 [K], rising.
        bucket_V: bucket of each table row, int64 [V].
    """

    bits_KD: Tensor
    field_K: Tensor
    bucket_V: Tensor

    def __post_init__(self) -> None:
        kept_KD = self.bits_KD > 0
        widths = set(self.bits_KD[kept_KD].unique().tolist())
        if not (widths <= {32} or widths <= {16} or all(LEAST_BITS <= bits <= MOST_BITS for bits in widths)):
            raise ValueError(f"a layout holds numbers of {sorted(widths)} bits; all are of 32, all of 16, or all of 2 to 8")
        if bool((kept_KD[:, 1:] & ~kept_KD[:, :-1]).any()):
            raise ValueError("a layout keeps a dimension behind one that it does not keep")

    @classmethod
    def of_sizes(cls, sizes_V: Tensor, field_V: Tensor, dim: int, precision: str) -> Layout:
        """The layout of given sizes at one width (precision fp32, fp16 or int8)."""
        place_V = field_V.cpu() * (dim + 1) + sizes_V.cpu()
        place_K, bucket_V = torch.unique(place_V, return_inverse=True)
        kept_KD = torch.arange(dim) < (place_K % (dim + 1)).unsqueeze(1)
        return cls((kept_KD * WIDTHS[precision]).to(torch.uint8), place_K // (dim + 1), bucket_V)

    @property
    def dim(self) -> int:
        """D."""
        return self.bits_KD.shape[1]

    @property
    def sizes_K(self) -> Tensor:
        """Dimensions that each bucket keeps, int64 [K]."""
        return (self.bits_KD > 0).sum(1)

    @property
    def sizes_V(self) -> Tensor:
        """Dimensions that each table row keeps, int64 [V]."""
        return self.sizes_K[self.bucket_V]

    @property
    def rows_K(self) -> Tensor:
        """Rows of each bucket, int64 [K]."""
        return torch.bincount(self.bucket_V, minlength=len(self.bits_KD))

    @property
    def widest_F(self) -> Tensor:
        """Dimensions of each field's widest row, int64 [F]."""
        sizes_K = torch.where(self.rows_K > 0, self.sizes_K, 0)
        return torch.zeros(int(self.field_K[-1]) + 1, dtype=torch.int64).scatter_reduce_(0, self.field_K, sizes_K, "amax")

    @property
    def kind(self) -> str:
        """How numbers are stored: fp32, fp16, int8 or mixed."""
        widths = self.bits_KD[self.bits_KD > 0].unique().tolist()
        return next((name for name, width in WIDTHS.items() if widths == [width]), "mixed" if widths else "fp32")

    @property
    def codes(self) -> int:
        """Elements of the tensor `codes`."""
        return int(code_counts(self.rows_K, self.bits_KD.long().sum(1), WIDTHS.get(self.kind, 8)).sum())

    def order(self) -> tuple[Tensor, Tensor]:
        """Rows by bucket, ties in table order.

        Returns:
            order_V: table row at each packed row. packed_V: packed row of each table row (its inverse).
        """
        order_V = torch.sort(self.bucket_V, stable=True).indices
        packed_V = torch.empty_like(order_V)
        packed_V[order_V] = torch.arange(len(order_V))
        return order_V, packed_V

    def bytes(self, stored_basis: bool = False) -> int:
        """Bytes of the table file, its header included."""
        row_bits_K = self.bits_KD.long().sum(1)
        return file_bytes(self.kind, self.rows_K, self.sizes_K, row_bits_K, self.widest_F if stored_basis else None, self.dim)

    @property
    def bytes_K(self) -> Tensor:
        """Bytes of each bucket's numbers, scales and widths, float64 [K]; what is left of the file is header, counts and basis."""
        return code_counts(self.rows_K, self.bits_KD.long().sum(1), 8) + self.sizes_K * dimension_bytes(self.kind)


def file_bytes(kind: str, rows_K: Tensor, sizes_K: Tensor, row_bits_K: Tensor, widest_F: Tensor | None, dim: int) -> int:
    """Bytes of the table file that `packed_embedding.pack` and `pack_basis` make, without making it.

    Args:
        kind: fp32, fp16, int8 or mixed.
        rows_K: rows of each bucket. sizes_K: dimensions of a row. row_bits_K: bits of a row.
        widest_F: rows of each field's stored basis; None: no basis is stored. dim: D.
    """
    scales = int(sizes_K.sum())
    kind = kind if scales else "fp32"
    number_bits = WIDTHS.get(kind, 8)
    parts = {
        "codes": ({32: "F32", 16: "F16", 8: "U8"}[number_bits], (int(code_counts(rows_K, row_bits_K, number_bits).sum()),)),
        "rows": (_small_name(rows_K), tuple(rows_K.shape)),
        "sizes": (_small_name(sizes_K), tuple(sizes_K.shape)),
    }
    if number_bits == 8:
        parts["scales"] = ("U8", (scales,))
    if kind == "mixed":
        parts["bits"] = ("U8", ((scales + 1) // 2,))
    if widest_F is not None:
        parts |= {"basis": ("I8", (int(stored_numbers(widest_F, dim).sum()),)), "widest": (_small_name(widest_F), tuple(widest_F.shape))}
    return _safetensors_bytes(parts)


def code_counts(rows_K: Tensor, row_bits_K: Tensor, number_bits: int) -> Tensor:
    """Elements of `codes` that each bucket takes: numbers of 32 or 16 bits, or bytes."""
    return (rows_K * row_bits_K + number_bits - 1) // number_bits


def dimension_bytes(kind: str) -> float:
    """Bytes that a kept dimension of a bucket costs beside its rows' numbers: its scale and its width."""
    return {"int8": 1.0, "mixed": 1.5}.get(kind, 0.0)


def dense_bytes(rows: int, dim: int) -> int:
    """Bytes of the same rows in fp32 at full width."""
    return rows * dim * 4


def smallest(values: Tensor) -> Tensor:
    """Counts in the smallest type that holds them exactly."""
    return values.to(_small_type(values))


def _small_type(values: Tensor) -> torch.dtype:
    most = int(values.max()) if len(values) else 0
    return next(kind for kind, (_, end) in _SMALL.items() if most < end)


def _small_name(values: Tensor) -> str:
    return _SMALL[_small_type(values)][0]


def _safetensors_bytes(parts: dict[str, tuple[str, tuple[int, ...]]]) -> int:
    """Bytes of a safetensors file: 8 for the header's length, the header as JSON padded to a multiple of 8, and the numbers.

    Tensors lie in the file by type, then by name; a test holds this against real files.
    """
    order = list(_ITEM_BYTES)
    header, end = {}, 0
    for name, (kind, shape) in sorted(parts.items(), key=lambda part: (order.index(part[1][0]), part[0])):
        start, end = end, end + _ITEM_BYTES[kind] * torch.Size(shape).numel()
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": (start, end)}
    text = len(json.dumps(header, separators=(",", ":")))
    return 8 + (text + 7) // 8 * 8 + end
