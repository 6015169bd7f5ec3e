"""One budget for tables of different widths: each gets what it takes at one common price of a bit.

A row has level l at a threshold x iff its price, worth over bits, is at least x (`amtl.sizing.front`); the same x for all tables makes the
total cost least. Prices are counted in bins of their logarithm: one pass over the rows finds x, however many there are.

With mixed widths, a dimension's codes get another bit as long as that is worth x: codes of b bits leave about c 4^-b of the variance, which
costs w c 4^-b (w: lookups times curvature times squared numbers), so n rows are best off at b = log2(2 ln 2 c w / (n x)) / 2.

Shapes: V rows of a table, D dimensions, L levels above 0, K buckets, X bins of falling price.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from amtl.anymodel.measure import Measured
from amtl.anymodel.row_index import index_bytes
from amtl.packing.layout import LEAST_BITS, MOST_BITS, WIDTHS, dimension_bytes, smallest
from amtl.packing.prices import field_chunks, prices

BINS, A_OCTAVE, HIGHEST = 4096, 32, 8
"""Bins of prices: 32 to an octave, down from 2^8; the last one holds all that is lower."""
TYPICAL_BITS = 5
"""Bits of a number that mixed precision comes to on average, about: what turns a price of dimensions into one of bits."""
CODE_ERROR = 3.0
"""C: the error of a uniform code of b bits is about this, times 4^-b, of a Gaussian column's variance."""


Size = Callable[[Tensor, int], "Share"]


@dataclass(frozen=True)
class Share:
    """Bytes of a table, and how many of them the index of its rows takes, about."""

    bytes: int
    index: int


def budget_shares(tables: list[Measured], budget_bytes: int, precision: str) -> list[Share]:
    """What each table gets; the shares add up to the budget, which is at least what tables without a single number take."""
    counts = [_rows_at_least(table) for table in tables]
    sizes = [_bytes_at(table, precision) for table in tables]
    place = _place(counts, sizes, budget_bytes)
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
    return [size(count_LX[:, place], place) for size, count_LX in zip(sizes, counts, strict=True)]


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


def _bytes_at(table: Measured, precision: str) -> Size:
    """A function from the rows that have each level or more, [L], and the bin of the price, to the bytes of the table and its index."""
    rows, dim = table.stored_VD.shape
    size_L1 = table.front.size_L1
    stake_D = _stake(table) if precision == "mixed" else None

    def size(count_L: Tensor, place: int) -> Share:
        rows_L1 = -torch.cat([torch.tensor([rows]), count_L, torch.tensor([0])]).diff()
        used_K = rows_L1 > 0
        rows_K, sizes_K = rows_L1[used_K], size_L1[used_K]
        rows_D = count_L.repeat_interleave(size_L1.diff())  # that keep each dimension
        bits_D = torch.tensor(WIDTHS[precision]) if stake_D is None else _bits(stake_D, rows_D, place)
        numbers = int((rows_D * bits_D).sum()) // 8
        described = int(sizes_K.sum() * dimension_bytes(precision)) + smallest(rows_K).nbytes + smallest(sizes_K).nbytes
        basis = 0 if table.basis_DD is None else int(sizes_K.max()) * dim
        index = index_bytes(rows_K)
        return Share(numbers + described + basis + index, index)

    return size


def _stake(table: Measured) -> Tensor:
    """W: what losing each dimension altogether would cost by its own square, nats an event, [D]."""
    energy_D = torch.zeros(table.stored_VD.shape[1])
    for _, chunk in field_chunks([len(table.stored_VD)]):
        energy_D += table.front.lookups_V[chunk] @ table.stored_VD[chunk].square()
    return energy_D * table.front.noise_FD[0]


def _bits(stake_D: Tensor, rows_D: Tensor, place: int) -> Tensor:
    """Bits that each dimension's codes deserve at a bin's price, [D]."""
    price = 2.0 ** (HIGHEST - place / A_OCTAVE) / TYPICAL_BITS
    worth_D = 2 * math.log(2) * CODE_ERROR * stake_D.double() / (rows_D.clamp(min=1) * price)
    return (0.5 * torch.log2(worth_D.clamp(min=1e-30))).clamp(LEAST_BITS, MOST_BITS)
