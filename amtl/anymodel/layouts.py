"""A layout for each table, such that all of them stay within one budget.

What a packed table takes is what it is read from: numbers, scales, counts, basis, and the index of its rows. (The layouts of
`amtl.packing` also count the header of a file of their own, which a table inside a model does not have.)
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from amtl.anymodel.measure import Measured
from amtl.anymodel.row_index import index_bytes
from amtl.anymodel.shares import budget_shares
from amtl.errors import BudgetError
from amtl.packing.allocation import allocate
from amtl.packing.layout import Layout, smallest

SELECTOR = "curvature"
TRIES = 6


def layouts_within(tables: list[Measured], budget_bytes: int, precision: str) -> list[Layout]:
    """A layout for each table; what one does not need goes to the next larger one."""
    shares = budget_shares(tables, budget_bytes, precision)
    layouts: dict[int, Layout] = {}
    spare = 0
    for place in sorted(range(len(tables)), key=lambda place: shares[place].bytes):
        allowed = shares[place].bytes + spare
        layouts[place] = _layout(tables[place], allowed, precision, shares[place].index)
        spare = allowed - packed_bytes(tables[place], layouts[place])
    return [layouts[place] for place in range(len(tables))]


def least_bytes(tables: list[Measured]) -> int:
    """Bytes of tables that keep nothing."""
    return sum(packed_bytes(table, _of_one_size(table, 0, "fp32")) for table in tables)


def packed_bytes(table: Measured, layout: Layout) -> int:
    """Bytes of all that the packed table is read from."""
    basis = 0 if table.basis_DD is None else int(layout.sizes_K.max()) * layout.dim
    counts = smallest(layout.rows_K).nbytes + smallest(layout.sizes_K).nbytes
    numbers = int(layout.bytes_K.sum().ceil())
    return numbers + counts + basis + index_bytes(layout.rows_K)


def _layout(table: Measured, budget_bytes: int, precision: str, index: int) -> Layout:
    """The layout of one table: whole if that fits; else what fits beside the index of its rows, and nothing where that alone does not.

    How large the index is depends on the layout: `index` is a first guess, and a few are tried, each with the room beside it that the
    one before turned out to need, or half way between what was too much and too little.
    """
    stored_basis, dim = table.basis_DD is not None, table.stored_VD.shape[1]
    whole = _of_one_size(table, dim, "int8" if precision == "mixed" else precision)
    if packed_bytes(table, whole) <= budget_bytes:
        return whole
    best, beside = _of_one_size(table, 0, "fp32"), index + _beside(table, whole)
    too_little, enough = -math.inf, math.inf
    for _ in range(TRIES):
        try:
            tried = allocate(table.front, SELECTOR, table.stored_VD, budget_bytes - beside, precision, stored_basis)
        except BudgetError:
            break
        spare = budget_bytes - packed_bytes(table, tried)
        if spare >= 0:
            best, enough = max(best, tried, key=partial(packed_bytes, table)), beside
            if spare <= 16 + budget_bytes // 2000:  # not worth another try
                break
        else:
            too_little = beside
        beside -= spare
        if not too_little < beside < enough:
            beside = int(too_little + enough) // 2
    return best


def _beside(table: Measured, layout: Layout) -> int:
    """What a table needs beyond the bytes that its layout's file counts: its index, less the file's header."""
    return packed_bytes(table, layout) - layout.bytes(table.basis_DD is not None)


def _of_one_size(table: Measured, size: int, precision: str) -> Layout:
    sizes_V: Tensor = torch.full((len(table.stored_VD),), size)
    return Layout.of_sizes(sizes_V, table.front.field_V, table.stored_VD.shape[1], precision)
