"""From a front and a byte budget to a size for every value.

A front is read as a path: the largest useful sizes, then the wanted sizes at each rung, then nothing. The point of the path whose table
just fits is found by bisection; what is left is given, one dimension at a time, to the groups nearest to their next size.

Shapes: R rungs, G groups, V rows, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amtl.errors import BudgetError
from amtl.sizing.front import Front

NUMBER_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
SCALE_BYTES = 2
HEADER_BYTES = 640  # an upper bound of the safetensors header of a packed table; a test holds it


@dataclass(frozen=True)
class Costs:
    """What a table file costs.

    Attributes:
        precision: fp32, fp16 or int8.
        stores_basis: the model does not absorb the basis: F * D int8 numbers for every dimension that a field keeps.
    """

    precision: str
    stores_basis: bool

    def bytes(self, sizes_G: Tensor, front: Front) -> int:
        """Upper bound (by less than the header's) of the table file's bytes for sizes by group."""
        values_G = front.values_G
        scales = int(values_G[sizes_G > 0].sum()) * SCALE_BYTES if self.precision == "int8" else 0
        numbers = int((sizes_G * values_G).sum()) * NUMBER_BYTES[self.precision]
        return HEADER_BYTES + 8 * (front.dim + 2) + self._basis_bytes(sizes_G, front) + scales + numbers

    def _basis_bytes(self, sizes_G: Tensor, front: Front) -> int:
        if not self.stores_basis:
            return 0
        widest_F = torch.where(front.values_G > 0, sizes_G, 0).view(front.fields, -1).amax(1)
        return int(widest_F.sum()) * front.dim + 8 * front.fields


def dense_bytes(rows: int, dim: int) -> int:
    """Bytes of the same rows in fp32 at full width."""
    return rows * dim * 4


def sizes_within(front: Front, budget_bytes: int, costs: Costs) -> Tensor:
    """The size of every value, int64 [V], such that the table file has at most `budget_bytes` bytes.

    Raises:
        BudgetError: even a table without a single number is larger.
    """
    nothing = costs.bytes(torch.zeros_like(front.values_G), front)
    if nothing > budget_bytes:
        raise BudgetError(
            f"compress.budget of {budget_bytes:,} bytes cannot be met: header and boundaries alone need {nothing:,} bytes; "
            "raise the budget or lower train.dim"
        )
    if costs.bytes(front.limit_G, front) <= budget_bytes:
        return front.limit_G[front.group_V]
    low, high = 0.0, float(len(front.share_R) + 1)
    for _ in range(60):
        middle = (low + high) / 2
        fits = costs.bytes(_rounded(front, middle), front) <= budget_bytes
        low, high = (low, middle) if fits else (middle, high)
    return _filled(front, high, budget_bytes, costs)[front.group_V]


def _path(front: Front, position: float) -> Tensor:
    """Wanted sizes [G] at a position: 0 = full, r = rung r, R + 1 = nothing; linear between."""
    full_1G = front.limit_G.float().unsqueeze(0)
    stations = torch.cat([full_1G, torch.minimum(front.wanted_RG, full_1G), torch.zeros_like(full_1G)])
    before = min(int(position), len(stations) - 2)
    return torch.lerp(stations[before], stations[before + 1], position - before)


def _rounded(front: Front, position: float) -> Tensor:
    return _path(front, position).round().long()


def _filled(front: Front, position: float, budget_bytes: int, costs: Costs) -> Tensor:
    """The sizes at a position, then one dimension more for as many groups as the budget allows, nearest to their next size first."""
    wanted_G, sizes_G = _path(front, position), _rounded(front, position)
    cheapest_G = front.values_G * NUMBER_BYTES[costs.precision]
    spent, grown = costs.bytes(sizes_G, front), True
    while grown:
        grown = False
        for group in torch.argsort(sizes_G - wanted_G, stable=True).tolist():
            if front.values_G[group] == 0 or sizes_G[group] >= front.limit_G[group] or spent + cheapest_G[group] > budget_bytes:
                continue
            sizes_G[group] += 1
            price = costs.bytes(sizes_G, front)
            if price <= budget_bytes:
                spent, grown = price, True
            else:
                sizes_G[group] -= 1
    return sizes_G
