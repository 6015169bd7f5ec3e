"""One budget for tables of different widths: each gets what it takes at one common price of a bit.

A row has level l at a threshold x iff its price, worth over bits, is at least x (`amtl.sizing.front`); the same x for all tables makes the
total cost least. Prices are counted in bins of their logarithm: one pass over the rows finds x, however many there are.

Shapes: V rows of a table, L levels above 0, K buckets, X bins of falling price.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from amtl.anymodel.measure import Measured
from amtl.anymodel.row_index import index_bytes
from amtl.packing.layout import MOST_BITS, WIDTHS, dimension_bytes, smallest
from amtl.packing.prices import field_chunks, prices

BINS, A_OCTAVE, HIGHEST = 4096, 32, 8
"""Bins of prices: 32 to an octave, down from 2^8; the last one holds all that is lower."""
TYPICAL_BITS = 5
"""Bits of a number that mixed precision comes to on average, about."""


Size = Callable[[Tensor], "Share"]


@dataclass(frozen=True)
class Share:
    """Bytes of a table, and how many of them the index of its rows takes, about."""

    bytes: int
    index: int


def budget_shares(tables: list[Measured], budget_bytes: int, precision: str) -> list[Share]:
    """What each table gets; the shares add up to the budget, which is at least what tables without a single number take."""
    counts = [_rows_at_least(table) for table in tables]
    for bits in (TYPICAL_BITS, MOST_BITS) if precision == "mixed" else (WIDTHS[precision],):
        sizes = [_bytes_at(table, precision, bits) for table in tables]
        place = _place(counts, sizes, budget_bytes)
        if place < BINS - 1:  # not everything is held
            break
    shares = _needs(counts, sizes, place)
    largest = max(shares, key=lambda share: share.bytes)
    spare = budget_bytes - _total(shares)
    return [replace(share, bytes=share.bytes + spare) if share is largest else share for share in shares]


def _place(counts: list[Tensor], sizes: list[Size], budget_bytes: int) -> int:
    """The last bin such that the tables stay within the budget if they hold all levels down to its price."""
    low, high = 0, BINS
    while high - low > 1:
        middle = (low + high) // 2
        fits = _total(_needs(counts, sizes, middle)) <= budget_bytes
        low, high = (middle, high) if fits else (low, middle)
    return low


def _needs(counts: list[Tensor], sizes: list[Size], place: int) -> list[Share]:
    return [size(count_LX[:, place]) for size, count_LX in zip(sizes, counts, strict=True)]


def _total(shares: list[Share]) -> int:
    return sum(share.bytes for share in shares)


def _rows_at_least(table: Measured) -> Tensor:
    """How many rows have each level (or more) at each bin's price, int64 [L, X]; at the first bin, none."""
    worth_VL = table.front.worth_of("curvature")
    count_LX = torch.zeros(worth_VL.shape[1], BINS, dtype=torch.int64)
    for _, chunk in field_chunks([len(worth_VL)]):
        price_NL = prices(worth_VL[chunk], table.front.size_L1)
        place_NL = ((HIGHEST - torch.log2(price_NL.clamp(min=1e-38))) * A_OCTAVE).long().clamp(1, BINS - 1)
        for level, place_N in enumerate(place_NL.T):
            count_LX[level] += torch.bincount(place_N, minlength=BINS)
    return count_LX.cumsum(1)


def _bytes_at(table: Measured, precision: str, bits: int) -> Size:
    """A function from the rows that have each level or more, [L], to the bytes of the table and its index."""
    rows, dim = table.stored_VD.shape

    def size(count_L: Tensor) -> Share:
        rows_L1 = -torch.cat([torch.tensor([rows]), count_L, torch.tensor([0])]).diff()
        used_K = rows_L1 > 0
        rows_K, sizes_K = rows_L1[used_K], table.front.size_L1[used_K]
        numbers = int((rows_K * sizes_K).sum()) * bits // 8
        described = int(sizes_K.sum() * dimension_bytes(precision)) + smallest(rows_K).nbytes + smallest(sizes_K).nbytes
        basis = 0 if table.basis_DD is None else int(sizes_K.max()) * dim
        index = index_bytes(rows_K)
        return Share(numbers + described + basis + index, index)

    return size
