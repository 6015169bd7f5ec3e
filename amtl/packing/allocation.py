"""From a front and a byte budget to a layout: which rows keep how many dimensions, at how many bits.

One threshold moves along the front: a row holds a level whose price (worth a bit, `prices`) is not below it. The threshold of a
budget is found on a histogram of prices (`thresholds`); what is left is given to the next steps in order of price, as long as the
file (`layout.file_bytes`, all metadata counted) stays within the budget. Levels that are not worth a bucket in a field are closed
(`merging`) where that lowers the estimated cost. With mixed widths a ladder of mean widths is tried, each with the sizes that then fit;
kept is what is estimated to cost the least cross-entropy by cutting and by coding (`widths`).

Shapes: V rows, F fields, D dimensions, L levels above 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from amtl.errors import BudgetError
from amtl.packing.costing import Costing
from amtl.packing.layout import Layout
from amtl.packing.merging import worthwhile
from amtl.packing.packed_embedding import CHUNK_ROWS, read_back
from amtl.packing.prices import field_chunks, prices_of_open
from amtl.packing.thresholds import Histogram, price_at
from amtl.packing.widths import Stakes, price_bits
from amtl.sizing.front import Front

MEAN_BITS = (3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0)
LADDER_ROWS = 1 << 18  # of a larger table every n-th row says which mean width is best
CODING = 2.0  # weight of what codes cost beside what cutting does: so chosen, mean widths were the best on validation (ml-1m, Frappe)
RISEN = 1.2  # by how much the cost must rise for the ladder to end
SKIPS = 64
ROUNDS, LADDER_ROUNDS = 6, 2
RANGE = 64  # how far the price of a bit may fall when levels are closed
NEGLIGIBLE = 0.005  # share of the budget that metadata may take before closing levels is tried


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
    demand = _Demand.of(front, selector, table_VD)
    costing = Costing.uniform(precision, front.size_L1, len(front.noise_FD), stored_basis)
    least = costing.bytes(demand.nothing())
    if least > budget_bytes:
        raise BudgetError(
            f"compress.budget of {budget_bytes:,} bytes cannot be met: a table without a single number needs {least:,} bytes; "
            "raise the budget"
        )
    if precision == "mixed":
        return _mixed(demand, table_VD, budget_bytes, costing)
    return costing.layout(demand.levels(costing.row_bits_FL1.float(), budget_bytes, costing), front.field_V)


@dataclass(frozen=True)
class _Demand:
    """Who wants what.

    Attributes:
        front: what cutting is estimated to cost. worth_VL: what level l is worth over level l - 1 to the selector.
        lost_VL1: what a row at a level goes without (`Front.lost_by`), by which it is judged whether a level is worth its bucket.
        ends_F: one past each field's last row.
        useful_FL: which levels can hold anything: not those behind a field's last dimension that is not zero.
    """

    front: Front
    worth_VL: Tensor
    lost_VL1: Tensor
    ends_F: list[int]
    useful_FL: Tensor

    @classmethod
    def of(cls, front: Front, selector: str, table_VD: Tensor) -> _Demand:
        """The demand of a selector."""
        ends_F = _ends(front)
        largest_FD = torch.zeros(len(ends_F), table_VD.shape[1])
        for index, rows in field_chunks(ends_F):
            largest_FD[index] = torch.maximum(largest_FD[index], table_VD[rows].detach().abs().amax(0).cpu().float())
        reach_F = ((largest_FD > 0) * torch.arange(1, table_VD.shape[1] + 1)).amax(1)
        useful_FL = reach_F.unsqueeze(1) > front.size_L1[:-1]
        return cls(front, front.worth_of(selector), front.lost_by(selector), ends_F, useful_FL)

    def every(self, step: int) -> _Demand:
        """The demand of every n-th row."""
        front, rows = self.front, slice(None, None, step)
        thin = replace(front, costs_VL1=front.costs_VL1[rows], lookups_V=front.lookups_V[rows], field_V=front.field_V[rows], worth={})
        return _Demand(thin, self.worth_VL[rows], self.lost_VL1[rows], _ends(thin), self.useful_FL)

    def nothing(self) -> Tensor:
        """Rows of each field at each level where none keeps anything."""
        rows_FL1 = torch.zeros(len(self.ends_F), self.worth_VL.shape[1] + 1, dtype=torch.int64)
        rows_FL1[:, 0] = torch.tensor(self.ends_F).diff(prepend=torch.tensor([0]))
        return rows_FL1

    def levels(self, bits_FL1: Tensor, budget_bytes: int, costing: Costing, rounds: int = ROUNDS, skips: int = SKIPS) -> Tensor:
        """The level of every row within the budget, int64 [V].

        First with every useful level open, then with those that are worth their bucket at a price of a bit, which is bisected until
        it is the price that the budget then comes to. Kept is what goes without the least.

        Args:
            bits_FL1: bits of a row at each level, by which rows choose.
            rounds: of bisecting. skips: kinds of steps too large for what is left that are passed over.
        """
        found = self._within(self.useful_FL, bits_FL1, budget_bytes, costing, skips)
        if costing.beside(found.rows_FL1) < NEGLIGIBLE * budget_bytes:
            return found.level_V
        best, low, high, price = found, found.price / RANGE, found.price, found.price / 2
        for _ in range(rounds):
            open_FL = worthwhile(self.worth_VL, bits_FL1, self.useful_FL, best.rows_FL1, self.ends_F, price, costing)
            found = self._within(open_FL, bits_FL1, budget_bytes, costing, skips)
            best = min(best, found, key=lambda one: one.cost)
            low, high = (price, high) if found.price > price else (low, price)
            price = (low * high) ** 0.5
        return best.level_V

    def _within(self, open_FL: Tensor, bits_FL1: Tensor, budget_bytes: int, costing: Costing, skips: int) -> _Found:
        """The levels within the budget where some are closed."""
        histogram = Histogram.of(prices_of_open(self.worth_VL, bits_FL1, open_FL, self.ends_F), self.ends_F)
        threshold = histogram.threshold(budget_bytes, costing)
        level_V = histogram.levels(threshold, open_FL, budget_bytes, costing, skips)
        return _Found(level_V, histogram.rows_at(threshold), price_at(threshold), _at_levels(self.lost_VL1, level_V))


@dataclass(frozen=True)
class _Found:
    """Levels within a budget, the rows of each field at each of them (about), the price of a bit, and what rows go without."""

    level_V: Tensor
    rows_FL1: Tensor
    price: float
    cost: float


@dataclass(frozen=True, order=True)
class _Coded:
    """A mean width, and what comes of it: estimated cost, widths, and the bits of a row by which rows choose."""

    cost: float
    mean_bits: float
    costing: Costing = field(compare=False)
    bits_FL1: Tensor = field(compare=False)


def _mixed(demand: _Demand, table_VD: Tensor, budget_bytes: int, costing: Costing) -> Layout:
    """The layout of the mean width that is estimated to cost the least; of a large table, as every n-th row has it."""
    step = -(-len(table_VD) // LADDER_ROWS)
    nothing = costing.bytes(demand.nothing())
    best = min(_ladder(demand.every(step), table_VD[::step], nothing + (budget_bytes - nothing) // step, costing))
    coded, bits_FL1 = best.costing, best.bits_FL1
    if step > 1:
        level_V = demand.levels(costing.row_bits_FL1.float(), budget_bytes, costing, LADDER_ROUNDS, skips=0)
        coded, bits_FL1 = _of_mean_width(best.mean_bits, demand, table_VD, level_V, costing)
    return coded.layout(demand.levels(bits_FL1, budget_bytes, coded), demand.front.field_V)


def _ladder(demand: _Demand, table_VD: Tensor, budget_bytes: int, costing: Costing) -> list[_Coded]:
    """Mean widths, each with the sizes that then fit, up to where the cost has clearly risen again."""
    tried: list[_Coded] = []
    level_V = demand.levels(costing.row_bits_FL1.float(), budget_bytes, costing, LADDER_ROUNDS, skips=0)
    for mean_bits in MEAN_BITS:
        coded, bits_FL1 = _of_mean_width(mean_bits, demand, table_VD, level_V, costing)
        level_V = demand.levels(bits_FL1, budget_bytes, coded, LADDER_ROUNDS, skips=0)
        layout = coded.layout(level_V, demand.front.field_V)
        coding = coding_cost(demand.front, table_VD, layout, read_back(table_VD, layout))
        tried.append(_Coded(cutting_cost(demand.front, level_V) + CODING * coding, mean_bits, coded, bits_FL1))
        if tried[-1].cost > RISEN * min(tried).cost:
            break
    return tried


def _of_mean_width(mean_bits: float, demand: _Demand, table_VD: Tensor, level_V: Tensor, costing: Costing) -> tuple[Costing, Tensor]:
    """Widths of so many bits on average where rows have these levels, and the bits of a row by which rows then choose."""
    stakes = Stakes.of(demand.front, table_VD, level_V)
    coded = replace(costing, bits_FLD=stakes.bits_FLD(mean_bits))
    return coded, price_bits(coded.bits_FLD, stakes.rows_FL1, coded.size_L1)


def _ends(front: Front) -> list[int]:
    """One past each field's last row."""
    ends_F: list[int] = torch.searchsorted(front.field_V.contiguous(), torch.arange(len(front.noise_FD)), right=True).tolist()
    return ends_F


def coding_cost(front: Front, table_VD: Tensor, layout: Layout, coded: Iterable[Tensor]) -> float:
    """Estimated cross-entropy that coding what a layout keeps costs, nats an event: of the errors that its codes do make.

    What a Gaussian's would make is too little: rows that are looked up often are longer than most of their bucket, and are clipped.

    Args:
        coded: the rows as they are read back, `CHUNK_ROWS` at a time.
    """
    total = 0.0
    rows = (whole.split(CHUNK_ROWS) for whole in (table_VD, front.lookups_V, front.field_V, layout.sizes_V))
    for coded_ND, rows_ND, lookups_N, field_N, sizes_N in zip(coded, *rows, strict=True):
        kept_ND = torch.arange(layout.dim) < sizes_N.unsqueeze(1)
        errors_ND = (coded_ND.cpu() - rows_ND.detach().cpu()).square_().mul_(kept_ND).mul_(front.noise_FD[field_N])
        total += float((errors_ND.sum(1, dtype=torch.float64) * lookups_N).sum())
    return total


def cutting_cost(front: Front, level_V: Tensor) -> float:
    """Estimated cross-entropy that cutting rows to their levels costs, nats an event."""
    return _at_levels(front.costs_VL1, level_V)


def _at_levels(lost_VL1: Tensor, level_V: Tensor) -> float:
    """The sum over rows at their levels."""
    return float(lost_VL1.gather(1, level_V.unsqueeze(1)).sum(dtype=torch.float64))
