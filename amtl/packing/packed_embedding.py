"""The packed table: each row holds its own numbers at their own widths, and nothing else is stored a row.

A looked-up row is its numbers, then zeros up to D. Tensors and their order in the file: `amtl.packing.layout`.

Shapes: V rows, K buckets, D dimensions, W the widest kept size, S kept
dimensions of all buckets, M looked-up rows, R rows of a bucket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from amtl.packing.codes import bit_stream, encode, every, fit_scales, scale_of
from amtl.packing.layout import LEAST_BITS, MOST_BITS, Layout, code_counts, smallest

CHUNK_ROWS = 65_536  # a multiple of 8: chunks of a bucket's bits end at bytes
FLOATS = {"fp32": torch.float32, "fp16": torch.float16}
UNITS = {torch.float32: 32, torch.float16: 16}
COUNTS = (torch.uint8, torch.int16, torch.int32, torch.int64)


def pack(table_VD: Tensor, layout: Layout) -> dict[str, Tensor]:
    """The tensors of the packed table.

    Raises:
        ValueError: a number is not finite in the precision that it is stored in.
    """
    table_VD, kind, sizes_K = table_VD.detach().cpu(), layout.kind, layout.sizes_K
    codes, scales, place = torch.empty(layout.codes, dtype=FLOATS.get(kind, torch.uint8)), [], 0
    for bucket, members_R in enumerate(layout.order()[0].split(layout.rows_K.tolist())):
        bits_S = layout.bits_KD[bucket, : int(sizes_K[bucket])].long()
        if kind not in FLOATS:
            scales.append(fit_scales(table_VD[members_R[every(len(members_R))], : len(bits_S)].float(), bits_S))
        for chunk in members_R.split(CHUNK_ROWS):
            numbers_RS = table_VD[chunk, : len(bits_S)]
            part = _rounded(numbers_RS, FLOATS[kind]) if kind in FLOATS else _coded(numbers_RS, scales[-1], bits_S)
            codes[place : place + len(part)] = part
            place += len(part)
    packed = {"codes": codes, "rows": smallest(layout.rows_K), "sizes": smallest(sizes_K)}
    if kind not in FLOATS:
        packed["scales"] = torch.cat(scales)
    if kind == "mixed":
        packed["bits"] = _nibbles(layout.bits_KD[layout.bits_KD > 0])
    return packed


def _rounded(numbers_RS: Tensor, dtype: torch.dtype) -> Tensor:
    rounded = numbers_RS.to(dtype).flatten()
    if not bool(torch.isfinite(rounded).all()):
        raise ValueError(f"the table holds numbers that are not finite in {dtype}")
    return rounded


def _coded(numbers_RS: Tensor, step_S: Tensor, bits_S: Tensor) -> Tensor:
    return bit_stream(encode(numbers_RS.float(), scale_of(step_S), bits_S), bits_S)


def _nibbles(values_S: Tensor) -> Tensor:
    """Numbers below 16, two in a byte, the first in the lower half."""
    even = torch.cat([values_S, values_S.new_zeros(len(values_S) % 2)])
    return even[0::2] | even[1::2] << 4


def _of_nibbles(packed: Tensor, count: int) -> Tensor:
    """The inverse of `_nibbles`, int64 [count]."""
    return torch.stack([packed & 15, packed >> 4], dim=1).flatten()[:count].long()


def decoded(table_VD: Tensor, layout: Layout) -> Tensor:
    """A table after packing and unpacking, float32 [V, D] on the CPU: what a server would look up."""
    result_VD = torch.empty(table_VD.shape)
    for chunk_ND, coded_ND in zip(result_VD.split(CHUNK_ROWS), read_back(table_VD, layout), strict=True):
        chunk_ND.copy_(coded_ND)
    return result_VD


def read_back(table_VD: Tensor, layout: Layout) -> Iterator[Tensor]:
    """The rows of `decoded`, `CHUNK_ROWS` at a time."""
    packed = PackedEmbedding(pack(table_VD, layout), layout.dim)
    yield from map(packed, layout.order()[1].split(CHUNK_ROWS))


class PackedEmbedding(nn.Module):
    """Lookup in a packed table: packed rows int64 [M] to vectors fp32 [M, D].

    Args:
        tensors: what `pack` made; further tensors (a basis) are left aside.
        dim: D.

    Raises:
        ValueError: the tensors do not belong together.
    """

    def __init__(self, tensors: Mapping[str, Tensor], dim: int) -> None:
        super().__init__()
        self.dim = dim
        for name in ("codes", "rows", "sizes", "scales", "bits"):
            self.register_buffer(name, tensors.get(name))
        bits_KW = self._widths()
        self.widest = bits_KW.shape[1]
        self.unit = next((bits for dtype, bits in UNITS.items() if self.codes.dtype == dtype), 1 if self.bits is not None else 8)
        self._derive_places(bits_KW, self.rows.long())
        self._derive_values(bits_KW)

    codes: Tensor
    rows: Tensor
    sizes: Tensor
    scales: Tensor | None
    bits: Tensor | None
    end_row_K: Tensor
    start_K: Tensor
    width_K: Tensor
    offset_KW: Tensor
    kept_KW: Tensor
    mask_KW: Tensor
    centre_KW: Tensor
    scale_KW: Tensor

    @property
    def table_rows(self) -> int:
        """V."""
        return int(self.rows.long().sum())

    def forward(self, rows_M: Tensor) -> Tensor:
        """Vectors [M, D]: the row's numbers, then zeros."""
        if len(self.codes) == 0:
            return torch.zeros(len(rows_M), self.dim, device=rows_M.device)
        bucket_M = torch.searchsorted(self.end_row_K, rows_M, right=True)
        start_M = self.start_K[bucket_M] + rows_M * self.width_K[bucket_M]
        kept_MW = self.kept_KW[bucket_M]
        place_MW = torch.where(kept_MW, start_M.unsqueeze(1) + self.offset_KW[bucket_M], 0)
        if self.scales is None:
            numbers_MW = torch.where(kept_MW, self.codes[place_MW].float(), 0.0)
        else:
            codes_MW = self.codes[place_MW] if self.unit == 8 else self._bits_at(place_MW) & self.mask_KW[bucket_M]
            numbers_MW = (codes_MW + self.centre_KW[bucket_M]) * self.scale_KW[bucket_M]
        return nn.functional.pad(numbers_MW, (0, self.dim - self.widest))

    def _bits_at(self, place_MW: Tensor) -> Tensor:
        """The (at least eight) bits from a place on; numbers of up to eight bits lie in two bytes."""
        byte_MW = place_MW >> 3
        next_MW = (byte_MW + 1).clamp(max=len(self.codes) - 1)
        return (self.codes[byte_MW].int() | self.codes[next_MW].int() << 8) >> (place_MW & 7).int()

    def _widths(self) -> Tensor:
        """Bits of each bucket's dimensions, int64 [K, W], from tensors that are found to belong together."""
        counts = [self.rows, self.sizes]
        if any(tensor is None or tensor.ndim != 1 or tensor.dtype not in COUNTS for tensor in counts) or len(self.rows) != len(self.sizes):
            raise ValueError("the table does not say how many rows and dimensions each of its buckets has")
        sizes_K = self.sizes.long()
        if len(sizes_K) == 0 or bool((self.rows < 0).any()) or not 0 <= int(sizes_K.min()) <= int(sizes_K.max()) <= self.dim:
            raise ValueError(f"the table's buckets do not have 0 to {self.dim} dimensions")
        kept_KW, scales = torch.arange(int(sizes_K.max())) < sizes_K.unsqueeze(1), int(sizes_K.sum())
        if self.codes is None or self.codes.ndim != 1 or self.codes.dtype not in (*UNITS, torch.uint8):
            raise ValueError("the table holds no codes of a known type")
        coded = self.codes.dtype == torch.uint8
        expected = {"scales": (scales,) if coded else None, "bits": ((scales + 1) // 2,) if coded and self.bits is not None else None}
        for name, shape in expected.items():
            tensor = getattr(self, name)
            if (tensor is None) != (shape is None) or (tensor is not None and (tensor.shape != shape or tensor.dtype != torch.uint8)):
                raise ValueError(f"the table's {name} are not those of its buckets")
        widths = torch.full((scales,), UNITS.get(self.codes.dtype, 8)) if self.bits is None else _of_nibbles(self.bits, scales)
        if coded and scales and not LEAST_BITS <= int(widths.min()) <= int(widths.max()) <= MOST_BITS:
            raise ValueError(f"the table's codes do not have {LEAST_BITS} to {MOST_BITS} bits")
        return torch.zeros(kept_KW.shape, dtype=torch.int64).masked_scatter_(kept_KW, widths)

    def _derive_places(self, bits_KW: Tensor, rows_K: Tensor) -> None:
        """Where numbers lie, counted in numbers (in bits, where widths are mixed), as if a bucket's rows began at row 0."""
        row_bits_K = bits_KW.sum(1)
        number_bits = 8 * self.codes.element_size()
        count_K = code_counts(rows_K, row_bits_K, number_bits)
        if len(self.codes) != int(count_K.sum()):
            raise ValueError(f"the table holds {len(self.codes):,} codes, which is not what its buckets ask for")
        self._derive("end_row_K", rows_K.cumsum(0))
        self._derive("width_K", row_bits_K // self.unit)
        first_K = (count_K.cumsum(0) - count_K) * (number_bits // self.unit)
        self._derive("start_K", first_K - (rows_K.cumsum(0) - rows_K) * self.width_K)
        self._derive("offset_KW", (bits_KW.cumsum(1) - bits_KW) // self.unit)

    def _derive_values(self, bits_KW: Tensor) -> None:
        """What numbers mean: codes have a mask, a centre and a scale; all are 0 where nothing is kept."""
        self._derive("kept_KW", bits_KW > 0)
        if self.scales is not None:
            self._derive("mask_KW", (1 << bits_KW.int()) - 1)
            self._derive("centre_KW", torch.where(bits_KW > 0, 0.5 - torch.exp2(bits_KW.float() - 1), 0.0))
            self._derive("scale_KW", torch.zeros(bits_KW.shape).masked_scatter_(bits_KW > 0, scale_of(self.scales)))

    def _derive(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(name, tensor.contiguous(), persistent=False)
