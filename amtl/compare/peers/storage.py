"""What a peer's weights take in a file and come back as, counted alike for all peers.

Every peer is granted what our own table has: values are sorted so that the vocabulary leads straight to their place, a boundary between two
groups of rows takes 4 bytes, and int8 codes have one scale a column of each matrix (`amtl.packing.codes`). A file's header is not
counted, nor is anybody's vocabulary, which hashing could do without.

Shapes: X rows, D columns, F fields.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import torch
from torch import Tensor, nn

from amtl.errors import BudgetError
from amtl.packing.codes import quantised, quantised_bytes

BOUNDARY = 4
"""Bytes of a boundary between groups of rows."""

NUMBER = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes of a stored number."""


def stored_bytes(rows: int, columns: int, precision: str) -> int:
    """Bytes of a dense matrix at a precision, the scales of its codes included."""
    if precision == "int8":
        return quantised_bytes(rows, columns) if rows else 0
    return rows * columns * NUMBER[precision]


def stored(weight_XD: Tensor, precision: str) -> Tensor:
    """The matrix as it is read back from a file, float32 [X, D]."""
    weight_XD = weight_XD.detach()
    if precision == "int8":
        return quantised(weight_XD)
    return weight_XD.clone() if precision == "fp32" else weight_XD.half().float()


@torch.no_grad()
def store_linear(layer: nn.Linear, precision: str) -> None:
    """Replace a projection by what is read back from a file, where it is a matrix [inputs, outputs]; its bias is a row in fp16."""
    layer.weight.copy_(stored(layer.weight.T, precision).T)
    if layer.bias is not None:
        layer.bias.copy_(stored(layer.bias, "fp32" if precision == "fp32" else "fp16"))


@torch.no_grad()
def store_by_field(table_VD: Tensor, rows_F: list[int], precision: str) -> None:
    """Replace a table of stacked fields by what is read back from a file; each field is a matrix of its own."""
    for part in table_VD.split(rows_F):
        part.copy_(stored(part, precision))


def linear_bytes(inputs: int, outputs: int, bias: bool, precision: str) -> int:
    """Bytes of a projection."""
    return stored_bytes(inputs, outputs, precision) + (stored_bytes(1, outputs, "fp32" if precision == "fp32" else "fp16") if bias else 0)


def largest_within(budget: int, most: int, bytes_of: Callable[[int], int], method: str) -> int:
    """The largest of 1 ... `most` whose table is within the budget; `bytes_of` must not fall.

    Raises:
        BudgetError: there is none.
    """
    largest = bisect_right(range(1, most + 1), budget, key=bytes_of)
    if not largest:
        raise too_small(method, bytes_of(1), budget)
    return largest


def too_small(method: str, least: int, budget: int) -> BudgetError:
    """The error of a method that has no table within the budget."""
    return BudgetError(f"{method}: its smallest table takes {least:,} bytes, over the budget of {budget:,}; allow more bytes")
