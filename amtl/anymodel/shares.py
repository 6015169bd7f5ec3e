"""One budget for tables of different widths: each gets what it takes at one common price of a bit.

A row has level l at a threshold x iff its price, worth over bits, is at least x (`amtl.sizing.front`); the same x for all tables makes the
total cost least. Prices are counted in bins of their logarithm: one pass over the rows finds x, however many there are.

Shapes: V rows of a table, L levels above 0, K buckets, X bins of falling price.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from amtl.anymodel.measure import Measured
from amtl.anymodel.row_index import index_bytes
from amtl.errors import BudgetError
from amtl.packing.layout import WIDTHS, file_bytes
from amtl.packing.prices import field_chunks, prices

BINS, A_OCTAVE = 4096, 32
TYPICAL_BITS = 5
"""Bits of a number that mixed precision comes to on average, about."""


def budget_shares(tables: list[Measured], budget_bytes: int, precision: str) -> list[int]:
    """Bytes for each table, which add up to the budget.

    Raises:
        BudgetError: the tables' descriptions alone take more.
    """
    counts = [_rows_at_least(table, precision) for table in tables]
    sizes = [_bytes_at(table, precision) for table in tables]

    def needs(place: int) -> list[int]:
        return [size(count_LX[:, place]) for size, count_LX in zip(sizes, counts, strict=True)]

    least = sum(needs(0))
    if least > budget_bytes:
        raise BudgetError(f"a budget of {budget_bytes:,} bytes cannot be met: tables without a single number take {least:,} bytes")
    low, high = 0, BINS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sum(needs(middle)) <= budget_bytes else (low, middle)
    shares = needs(low)
    largest = max(range(len(shares)), key=shares.__getitem__)
    shares[largest] += budget_bytes - sum(shares)
    return shares


def _rows_at_least(table: Measured, precision: str) -> Tensor:
    """How many rows have each level (or more) at each bin's price, int64 [L, X]; at the first bin, none."""
    bits_L1 = table.front.size_L1 * WIDTHS.get(precision, TYPICAL_BITS)
    worth_VL = table.front.worth_of("curvature")
    count_LX = torch.zeros(worth_VL.shape[1], BINS, dtype=torch.int64)
    for _, chunk in field_chunks([len(worth_VL)]):
        price_NL = prices(worth_VL[chunk], bits_L1)
        place_NL = ((8 - torch.log2(price_NL.clamp(min=1e-38))) * A_OCTAVE).long().clamp(1, BINS - 1)
        for level, place_N in enumerate(place_NL.T):
            count_LX[level] += torch.bincount(place_N, minlength=BINS)
    return count_LX.cumsum(1)


def _bytes_at(table: Measured, precision: str) -> Callable[[Tensor], int]:
    """A function from the rows that have each level or more, [L], to the bytes of the table and its index."""

    def size(count_L: Tensor) -> int:
        rows_L1 = -torch.cat([torch.tensor([len(table.stored_VD)]), count_L, torch.tensor([0])]).diff()
        used_K = rows_L1 > 0
        rows_K, sizes_K = rows_L1[used_K], table.front.size_L1[used_K]
        widest_F = sizes_K.amax(0, keepdim=True) if table.basis_DD is not None else None
        row_bits_K = sizes_K * WIDTHS.get(precision, TYPICAL_BITS)
        dim = table.stored_VD.shape[1]
        return file_bytes(precision, rows_K, sizes_K, row_bits_K, widest_F, dim) + index_bytes(len(table.stored_VD), len(rows_K))

    return size
