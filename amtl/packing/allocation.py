"""From a front and a byte budget to a layout: which rows keep how many dimensions, at how many bits.

One threshold moves along the front: a row holds a level whose price (worth a bit, `amtl.packing.prices`) is not below it. The
threshold of a budget is found on a histogram of prices; what is left is given to the next steps in order of price, as long as the
file (`layout.file_bytes`, all metadata counted) stays within the budget.

Shapes: V rows, F fields, D dimensions, L levels above 0, B bins of prices, N steps (one row, one level up).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amtl.errors import BudgetError
from amtl.packing.layout import WIDTHS, Layout, file_bytes
from amtl.packing.prices import field_chunks, prices_of_open
from amtl.sizing.front import Front

BIN_SHIFT, BINS = 18, 8192  # bins of positive float32 numbers by their leading bits: 3% wide
WINDOW = 65_536  # steps that are looked at one by one beyond the threshold's bin
SKIPS = 64  # steps too large for what is left that are passed over


@dataclass(frozen=True)
class Costing:
    """What counts of rows cost in bytes, given the bits of every field's dimensions at every level.

    Attributes:
        kind: fp32, fp16, int8 or mixed. size_L1: sizes of levels. bits_FLD: bits of each dimension at each level, int64
            [F, L + 1, D]. stored_basis: whether the file holds the basis.
    """

    kind: str
    size_L1: Tensor
    bits_FLD: Tensor
    stored_basis: bool

    @classmethod
    def uniform(cls, precision: str, front: Front, stored_basis: bool) -> Costing:
        """One width for all numbers."""
        size_L1, dim = front.size_L1, int(front.size_L1[-1])
        kept_LD = torch.arange(dim) < size_L1.unsqueeze(1)
        return cls(precision, size_L1, (kept_LD * WIDTHS[precision]).expand(len(front.noise_FD), -1, -1), stored_basis)

    @property
    def row_bits_FL1(self) -> Tensor:
        """Bits of a row of each field at each level."""
        return self.bits_FLD.sum(2)

    def bytes(self, rows_FL1: Tensor) -> int:
        """Bytes of the file that holds so many rows of each field at each level."""
        field_K, level_K = torch.nonzero(rows_FL1, as_tuple=True)
        sizes_K = self.size_L1[level_K]
        widest_F = None
        if self.stored_basis:
            widest_F = torch.zeros(len(rows_FL1), dtype=torch.int64).scatter_reduce_(0, field_K, sizes_K, "amax")
        row_bits_K = self.row_bits_FL1[field_K, level_K]
        return file_bytes(self.kind, rows_FL1[field_K, level_K], sizes_K, row_bits_K, widest_F, self.bits_FLD.shape[2])

    def layout(self, level_V: Tensor, field_V: Tensor) -> Layout:
        """The layout in which every row holds its level."""
        levels = len(self.size_L1)
        place_V = field_V * levels + level_V
        count = torch.bincount(place_V, minlength=len(self.bits_FLD) * levels)
        place_K = torch.nonzero(count).flatten()
        bucket_of = torch.zeros(len(count), dtype=torch.int64).index_put_((place_K,), torch.arange(len(place_K)))
        bits_KD = self.bits_FLD[place_K // levels, place_K % levels].to(torch.uint8)
        return Layout(bits_KD, place_K // levels, bucket_of[place_V])


def allocate(front: Front, selector: str, table_VD: Tensor, budget_bytes: int, precision: str, stored_basis: bool) -> Layout:
    """The layout of a budget.

    Args:
        front: what every row is worth at every size. selector: by whose worth rows are served.
        table_VD: the rows that will be packed (rotated).
        budget_bytes: most bytes of the table file, metadata included.
        precision: fp32, fp16, int8 or mixed (codes of 2 to 8 bits, as many as a bucket's dimension deserves).
        stored_basis: whether the basis is stored with the table.

    Raises:
        BudgetError: even a table without a single number is larger.
    """
    costing = Costing.uniform("int8" if precision == "mixed" else precision, front, stored_basis)
    ends_F = _ends(front.field_V, len(front.noise_FD))
    least = costing.bytes(_all_at_nothing(ends_F, len(front.size_L1)))
    if least > budget_bytes:
        raise BudgetError(
            f"compress.budget of {budget_bytes:,} bytes cannot be met: a table without a single number needs {least:,} bytes; "
            "raise the budget"
        )
    open_FL = _useful(table_VD, front.size_L1, ends_F)
    price_VL = prices_of_open(front.worth_of(selector), costing.row_bits_FL1, open_FL, ends_F)
    level_V = _levels_within(price_VL, open_FL, ends_F, budget_bytes, costing)
    return costing.layout(level_V, front.field_V)


def _ends(field_V: Tensor, fields: int) -> list[int]:
    """One past each field's last row."""
    ends: list[int] = torch.searchsorted(field_V.contiguous(), torch.arange(fields), right=True).tolist()
    return ends


def _all_at_nothing(ends_F: list[int], levels: int) -> Tensor:
    rows_FL1 = torch.zeros(len(ends_F), levels, dtype=torch.int64)
    rows_FL1[:, 0] = torch.tensor(ends_F).diff(prepend=torch.tensor([0]))
    return rows_FL1


def _useful(table_VD: Tensor, size_L1: Tensor, ends_F: list[int]) -> Tensor:
    """Which levels can hold anything in which field, bool [F, L]: not those behind a field's last dimension that is not zero."""
    largest_FD = torch.zeros(len(ends_F), table_VD.shape[1])
    for field, rows in field_chunks(ends_F):
        largest_FD[field] = torch.maximum(largest_FD[field], table_VD[rows].detach().abs().amax(0).cpu().float())
    reach_F = ((largest_FD > 0) * torch.arange(1, table_VD.shape[1] + 1)).amax(1)
    return reach_F.unsqueeze(1) > size_L1[:-1]


def _levels_within(price_VL: Tensor, open_FL: Tensor, ends_F: list[int], budget_bytes: int, costing: Costing) -> Tensor:
    """The level of every row, int64 [V], whose file has at most `budget_bytes` bytes."""
    above_FLB = _rows_above(price_VL, ends_F)
    all_rows_F = torch.tensor(ends_F).diff(prepend=torch.tensor([0]))

    def rows_at(threshold: int) -> Tensor:
        """Rows of each field at each level if levels with prices from that bin on are held."""
        held_FL1 = torch.cat([all_rows_F.unsqueeze(1), above_FLB[:, :, threshold]], dim=1)
        return held_FL1 - torch.cat([above_FLB[:, :, threshold], torch.zeros_like(held_FL1[:, :1])], dim=1)

    low, high = -1, BINS
    while high - low > 1:
        middle = (low + high) // 2
        fits = costing.bytes(rows_at(middle)) <= budget_bytes
        low, high = (low, middle) if fits else (middle, high)
    level_V = torch.cat([(_bins(price_VL[rows]) >= high).sum(1) for _, rows in field_chunks(ends_F)])
    steps = _Steps.between(price_VL, _window_start(above_FLB, high), high, open_FL, ends_F)
    return steps.taken(level_V, rows_at(high), budget_bytes, costing)


def _bins(price_RL: Tensor) -> Tensor:
    """The bin of each price, int32; below 0 for what is never bought."""
    return price_RL.contiguous().view(torch.int32) >> BIN_SHIFT


def _rows_above(price_VL: Tensor, ends_F: list[int]) -> Tensor:
    """Rows of each field whose price of each level lies in a bin or above it, int64 [F, L, B + 1]."""
    count_FLB = torch.zeros(len(ends_F), price_VL.shape[1], BINS + 1, dtype=torch.int64)
    for field, rows in field_chunks(ends_F):
        bins_RL = _bins(price_VL[rows])
        for level, bins_R in enumerate(bins_RL.unbind(1)):
            count_FLB[field, level] += torch.bincount(bins_R[bins_R >= 0], minlength=BINS + 1)
    return count_FLB.flip(2).cumsum(2).flip(2)


def _window_start(above_FLB: Tensor, high: int) -> int:
    """The lowest bin such that there are at most `WINDOW` steps from it up to `high`; at least one bin."""
    above_B = above_FLB.sum((0, 1))
    few = torch.nonzero(above_B[:high] - above_B[high] <= WINDOW).flatten()
    return min(int(few[0]), high - 1) if len(few) else max(high - 1, 0)


@dataclass(frozen=True)
class _Steps:
    """Steps in the order in which they are bought: by falling price, then by row, then by level.

    Attributes:
        row_N, level_N: the row and the level that it reaches. field_N: its field.
        lands_N: whether the order may be cut behind the step: its level is open.
    """

    row_N: Tensor
    level_N: Tensor
    field_N: Tensor
    lands_N: Tensor

    @classmethod
    def between(cls, price_VL: Tensor, low: int, high: int, open_FL: Tensor, ends_F: list[int]) -> _Steps:
        """The steps with prices in the bins `low` ... `high` - 1."""
        found = []
        for field, rows in field_chunks(ends_F):
            bins_RL = _bins(price_VL[rows])
            row_N, level_N = torch.nonzero((bins_RL >= low) & (bins_RL < high), as_tuple=True)
            found.append((row_N + rows.start, level_N, torch.full_like(row_N, field)))
        row_N, level_N, field_N = (torch.cat(parts) for parts in zip(*found, strict=True))
        order_N = torch.sort(price_VL[row_N, level_N], descending=True, stable=True).indices
        row_N, level_N, field_N = row_N[order_N], level_N[order_N], field_N[order_N]
        return cls(row_N, level_N + 1, field_N, open_FL[field_N, level_N])

    def taken(self, level_V: Tensor, rows_FL1: Tensor, budget_bytes: int, costing: Costing) -> Tensor:
        """Levels after as many steps, in order, as the budget allows; rows whose next step is too large stay where they are."""
        steps = self
        for _ in range(SKIPS):
            count = steps._most(rows_FL1, budget_bytes, costing)
            rows_FL1 = rows_FL1 + steps._moved(count, rows_FL1.shape)
            level_V = level_V.scatter_reduce(0, steps.row_N[:count], steps.level_N[:count], "amax")
            if count == len(steps.row_N):
                break
            steps = steps._from(count, without=int(steps.row_N[count]))
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

    def _from(self, count: int, without: int) -> _Steps:
        """The steps behind the first ones, without those of a row."""
        kept_N = (self.row_N != without) & (torch.arange(len(self.row_N)) >= count)
        return _Steps(self.row_N[kept_N], self.level_N[kept_N], self.field_N[kept_N], self.lands_N[kept_N])
