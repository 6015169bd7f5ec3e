"""What counts of rows cost in bytes, and what is left of a budget given to the next steps.

Shapes: V rows, K buckets, F fields, D dimensions, L levels above 0, B bins of prices, N steps (one row, one level up).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from amtl.packing.layout import WIDTHS, Layout, dimension_bytes, file_bytes
from amtl.sizing.reflectors import stored_numbers


@dataclass(frozen=True)
class Costing:
    """What counts of rows cost, given the bits of every field's dimensions at every level.

    Attributes:
        kind: fp32, fp16, int8 or mixed. size_L1: sizes of levels, from 0 to D.
        bits_FLD: bits of each dimension at each level, int64 [F, L + 1, D].
        stored_basis: whether the file holds the basis.
    """

    kind: str
    size_L1: Tensor
    bits_FLD: Tensor
    stored_basis: bool

    @classmethod
    def uniform(cls, precision: str, size_L1: Tensor, fields: int, stored_basis: bool) -> Costing:
        """One width for all numbers; for mixed widths, 5 bits to begin with."""
        bits_FLD = (kept_LD(size_L1) * WIDTHS.get(precision, 5)).expand(fields, -1, -1)
        return cls(precision, size_L1, bits_FLD, stored_basis)

    @cached_property
    def row_bits_FL1(self) -> Tensor:
        """Bits of a row of each field at each level."""
        return self.bits_FLD.sum(2)

    @property
    def dim(self) -> int:
        """D."""
        return self.bits_FLD.shape[2]

    @cached_property
    def bucket_bits_L1(self) -> Tensor:
        """Bits that a bucket costs beside its rows' numbers, about, float32 [L + 1]."""
        return 8 * (2 + self.size_L1.float() * dimension_bytes(self.kind))

    def basis_bits(self, widest_F: Tensor) -> Tensor:
        """Bits of the stored basis of fields whose widest row has so many dimensions, int64 [F]."""
        return 8 * stored_numbers(widest_F, self.dim) * self.stored_basis

    def bytes(self, rows_FL1: Tensor) -> int:
        """Bytes of the file that holds so many rows of each field at each level."""
        field_K, level_K = torch.nonzero(rows_FL1, as_tuple=True)
        sizes_K = self.size_L1[level_K]
        widest_F = None
        if self.stored_basis:
            widest_F = torch.zeros(len(rows_FL1), dtype=torch.int64).scatter_reduce_(0, field_K, sizes_K, "amax")
        row_bits_K = self.row_bits_FL1[field_K, level_K]
        return file_bytes(self.kind, rows_FL1[field_K, level_K], sizes_K, row_bits_K, widest_F, self.dim)

    def beside(self, rows_FL1: Tensor) -> float:
        """Bytes of buckets and basis beside the rows' numbers, about."""
        used_FL1 = rows_FL1 > 0
        widest_F = (used_FL1 * self.size_L1).amax(1)
        return float((used_FL1 * self.bucket_bits_L1).sum() + self.basis_bits(widest_F).sum()) / 8

    def layout(self, level_V: Tensor, field_V: Tensor) -> Layout:
        """The layout in which every row holds its level."""
        levels = len(self.size_L1)
        place_V = field_V * levels + level_V
        count = torch.bincount(place_V, minlength=len(self.bits_FLD) * levels)
        place_K = torch.nonzero(count).flatten()
        bucket_of = torch.zeros(len(count), dtype=torch.int64).index_put_((place_K,), torch.arange(len(place_K)))
        bits_KD = self.bits_FLD[place_K // levels, place_K % levels].to(torch.uint8)
        return Layout(bits_KD, place_K // levels, bucket_of[place_V])


def kept_LD(size_L1: Tensor) -> Tensor:
    """Which dimensions each level keeps, bool [L + 1, D]."""
    return torch.arange(int(size_L1[-1])) < size_L1.unsqueeze(1)


@dataclass(frozen=True)
class Steps:
    """Steps in the order in which they are bought: by falling price, then by row, then by level.

    Attributes:
        row_N, level_N: the row and the level that it reaches. field_N: its field.
        lands_N: whether the order may be cut behind the step: its level is open.
    """

    row_N: Tensor
    level_N: Tensor
    field_N: Tensor
    lands_N: Tensor

    def taken(self, level_V: Tensor, rows_FL1: Tensor, budget_bytes: int, costing: Costing, skips: int) -> Tensor:
        """Levels after as many steps, in order, as the budget allows.

        Args:
            level_V: levels before. rows_FL1: rows of each field at each of them.
            skips: how many kinds of steps (of a field to a level) that are too large for what is left are passed over.
        """
        steps = self
        for _ in range(skips + 1):
            count = steps._most(rows_FL1, budget_bytes, costing)
            if count:
                rows_FL1 = rows_FL1 + steps._moved(count, rows_FL1.shape)
                level_V = level_V.scatter_reduce(0, steps.row_N[:count], steps.level_N[:count], "amax")
            if count == len(steps.row_N):
                break
            steps = steps._beyond(count)
        return level_V

    def _most(self, rows_FL1: Tensor, budget_bytes: int, costing: Costing) -> int:
        """How many steps fit."""
        cuts = torch.cat([torch.zeros(1, dtype=torch.int64), torch.nonzero(self.lands_N).flatten() + 1])
        low, high = 0, len(cuts)
        while high - low > 1:
            middle = (low + high) // 2
            fits = costing.bytes(rows_FL1 + self._moved(int(cuts[middle]), rows_FL1.shape)) <= budget_bytes
            low, high = (middle, high) if fits else (low, middle)
        return int(cuts[low])

    def _moved(self, count: int, shape: torch.Size) -> Tensor:
        """Change of the rows of each field at each level by the first steps, int64 [F, L + 1]."""
        place_N = self.field_N[:count] * shape[1] + self.level_N[:count]
        come, gone = (torch.bincount(place, minlength=shape.numel()) for place in (place_N, place_N - 1))
        return (come - gone).view(shape)

    def _beyond(self, count: int) -> Steps:
        """The steps behind the first ones, without the rows of which one is of the same kind as the first of them."""
        rest = Steps(*(column[count:] for column in (self.row_N, self.level_N, self.field_N, self.lands_N)))
        same_N = (rest.field_N == rest.field_N[0]) & (rest.level_N == rest.level_N[0])
        kept_N = ~torch.isin(rest.row_N, rest.row_N[same_N])
        return Steps(*(column[kept_N] for column in (rest.row_N, rest.level_N, rest.field_N, rest.lands_N)))
