"""The threshold of a budget: on a histogram of prices first, then step by step.

Shapes: V rows, R rows of a chunk, F fields, L levels above 0, B bins of prices, N steps (one row, one level up).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amtl.packing.costing import Costing, Steps
from amtl.packing.prices import field_chunks

BIN_SHIFT, BINS = 18, 8192  # bins of positive float32 numbers by their leading bits: 3% wide
WINDOW = 65_536  # steps beyond the threshold's bin that are looked at one by one


@dataclass(frozen=True)
class Histogram:
    """How many rows hold what at every threshold.

    Attributes:
        price_VL: price of every level of every row, not rising in the level; negative: never bought.
        ends_F: one past each field's last row.
        above_FLB: rows of each field whose price of a level lies in a bin or above it, int64 [F, L, B + 1].
    """

    price_VL: Tensor
    ends_F: list[int]
    above_FLB: Tensor

    @classmethod
    def of(cls, price_VL: Tensor, ends_F: list[int]) -> Histogram:
        """Count the prices."""
        count_FLB = torch.zeros(len(ends_F), price_VL.shape[1], BINS + 1, dtype=torch.int64)
        for field, rows in field_chunks(ends_F):
            for level, bins_R in enumerate(_bins(price_VL[rows]).unbind(1)):
                count_FLB[field, level] += torch.bincount(bins_R[bins_R >= 0], minlength=BINS + 1)
        up_to_FLB = count_FLB.cumsum(2)
        return cls(price_VL, ends_F, count_FLB.add_(up_to_FLB[:, :, -1:]).sub_(up_to_FLB))

    def rows_at(self, threshold: int) -> Tensor:
        """Rows of each field at each level if prices from that bin on are paid, int64 [F, L + 1]."""
        all_rows_F1 = torch.tensor(self.ends_F).diff(prepend=torch.tensor([0])).unsqueeze(1)
        above_FL = self.above_FLB[:, :, threshold]
        return torch.cat([all_rows_F1, above_FL], dim=1) - torch.cat([above_FL, torch.zeros_like(all_rows_F1)], dim=1)

    def threshold(self, budget_bytes: int, costing: Costing) -> int:
        """The lowest bin whose rows fit the budget."""
        low, high = -1, BINS
        while high - low > 1:
            middle = (low + high) // 2
            fits = costing.bytes(self.rows_at(middle)) <= budget_bytes
            low, high = (low, middle) if fits else (middle, high)
        return high

    def levels(self, threshold: int, open_FL: Tensor, budget_bytes: int, costing: Costing, skips: int) -> Tensor:
        """The level of every row, int64 [V]: what the threshold gives, and then the next steps as far as the budget goes."""
        level_V = torch.cat([(_bins(self.price_VL[rows]) >= threshold).sum(1) for _, rows in field_chunks(self.ends_F)])
        steps = self._steps(self._window_start(threshold), threshold, open_FL)
        return steps.taken(level_V, self.rows_at(threshold), budget_bytes, costing, skips)

    def _window_start(self, threshold: int) -> int:
        """The lowest bin from which there are at most `WINDOW` steps up to the threshold; at least one bin below it."""
        above_B = self.above_FLB.sum((0, 1))
        few = torch.nonzero(above_B[:threshold] - above_B[threshold] <= WINDOW).flatten()
        return min(int(few[0]), threshold - 1) if len(few) else max(threshold - 1, 0)

    def _steps(self, low: int, high: int, open_FL: Tensor) -> Steps:
        """The steps with prices in the bins `low` ... `high` - 1, in order."""
        found = []
        for field, rows in field_chunks(self.ends_F):
            bins_RL = _bins(self.price_VL[rows])
            row_N, level_N = torch.nonzero((bins_RL >= low) & (bins_RL < high), as_tuple=True)
            found.append((row_N + rows.start, level_N, torch.full_like(row_N, field)))
        row_N, level_N, field_N = (torch.cat(parts) for parts in zip(*found, strict=True))
        order_N = torch.sort(self.price_VL[row_N, level_N], descending=True, stable=True).indices
        row_N, level_N, field_N = row_N[order_N], level_N[order_N], field_N[order_N]
        return Steps(row_N, level_N + 1, field_N, open_FL[field_N, level_N])


def price_at(threshold: int) -> float:
    """The lower edge of a bin."""
    return float(torch.tensor([threshold << BIN_SHIFT], dtype=torch.int32).view(torch.float32))


def _bins(price_RL: Tensor) -> Tensor:
    """The bin of each price, int32; below 0 for what is never bought."""
    return price_RL.contiguous().view(torch.int32) >> BIN_SHIFT
