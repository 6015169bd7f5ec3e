"""From a front and a byte budget to a size for every value.

A front is read as a path: full sizes, then the wanted sizes at each rung, then nothing. The point of the path whose table
just fits is found by bisection; what is left is given, one dimension at a time, to the groups nearest to their next size.

Shapes: R rungs, G groups, V rows, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amtl.errors import BudgetError
from amtl.training.search import Front

NUMBER_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
SCALE_BYTES = 2
HEADER_BYTES = 640  # an upper bound of the safetensors header of a packed table; a test holds it


@dataclass(frozen=True)
class Costs:
    """What a table file costs.

    Attributes:
        precision: fp32, fp16 or int8.
        dim: D. fields: F.
        stores_basis: the rotation is not absorbed by the model: F * D * D fp32 numbers more.
    """

    precision: str
    dim: int
    fields: int
    stores_basis: bool

    @property
    def fixed_bytes(self) -> int:
        """Bytes that do not depend on sizes: header, boundaries, rotation."""
        return HEADER_BYTES + 8 * (self.dim + 2) + (4 * self.fields * self.dim**2 if self.stores_basis else 0)

    def bytes(self, sizes_G: Tensor, values_G: Tensor) -> int:
        """Upper bound (by less than the header's) of the table file's bytes for sizes by group."""
        scales = int(values_G[sizes_G > 0].sum()) * SCALE_BYTES if self.precision == "int8" else 0
        return self.fixed_bytes + scales + int((sizes_G * values_G).sum()) * NUMBER_BYTES[self.precision]


def dense_bytes(rows: int, dim: int) -> int:
    """Bytes of the same rows in fp32 at full width."""
    return rows * dim * 4


def sizes_within(front: Front, budget_bytes: int, costs: Costs) -> Tensor:
    """The size of every value, int64 [V], such that the table file has at most `budget_bytes` bytes.

    Raises:
        BudgetError: even a table without a single number is larger.
    """
    values_G = front.values_G
    if costs.fixed_bytes > budget_bytes:
        raise BudgetError(
            f"compress.budget of {budget_bytes:,} bytes cannot be met: header, boundaries and rotation alone need "
            f"{costs.fixed_bytes:,} bytes; raise the budget or lower train.dim"
        )
    low, high = 0.0, float(len(front.share_R) + 1)
    for _ in range(60):
        middle = (low + high) / 2
        fits = costs.bytes(_rounded(front, middle), values_G) <= budget_bytes
        low, high = (low, middle) if fits else (middle, high)
    sizes_G = _rounded(front, high)
    if costs.bytes(_rounded(front, 0.0), values_G) <= budget_bytes:
        sizes_G = _rounded(front, 0.0)
    return _filled(sizes_G, _path(front, high), values_G, budget_bytes, costs)[front.group_V]


def _path(front: Front, position: float) -> Tensor:
    """Wanted sizes [G] at a position: 0 = full, r = rung r, R + 1 = nothing; linear between."""
    full_1G = torch.full((1, len(front.values_G)), float(front.dim))
    stations = torch.cat([full_1G, front.wanted_RG, torch.zeros_like(full_1G)])
    before = min(int(position), len(stations) - 2)
    return torch.lerp(stations[before], stations[before + 1], position - before)


def _rounded(front: Front, position: float) -> Tensor:
    return _path(front, position).round().long().clamp(0, front.dim)


def _filled(sizes_G: Tensor, wanted_G: Tensor, values_G: Tensor, budget_bytes: int, costs: Costs) -> Tensor:
    """Grow groups by one dimension while the budget allows, those nearest to their next size first."""
    sizes_G = sizes_G.clone()
    spent = costs.bytes(sizes_G, values_G)
    grown = True
    while grown:
        grown = False
        for group in torch.argsort(sizes_G - wanted_G, stable=True).tolist():
            rows = int(values_G[group])
            if rows == 0 or sizes_G[group] >= costs.dim:
                continue
            scales = rows * SCALE_BYTES if costs.precision == "int8" and sizes_G[group] == 0 else 0
            price = rows * NUMBER_BYTES[costs.precision] + scales
            if spent + price <= budget_bytes:
                sizes_G[group] += 1
                spent += price
                grown = True
    return sizes_G
