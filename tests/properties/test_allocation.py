"""Any budget is met by the file on disk, is spent, and is spent on what is worth the most."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from amtl.errors import BudgetError
from amtl.packing import allocation
from amtl.packing.allocation import allocate, coding_cost, cutting_cost
from amtl.packing.bundle import pack_basis
from amtl.packing.costing import Costing
from amtl.packing.layout import PRECISIONS, Layout, dense_bytes
from amtl.packing.merging import worthwhile
from amtl.packing.packed_embedding import decoded, pack, read_back
from amtl.packing.prices import prices_of_open
from amtl.packing.thresholds import Histogram
from amtl.packing.widths import Stakes
from amtl.sizing.front import Front
from amtl.sizing.levels import size_levels


def problem(rows_F, dim, seed, decay=4.0):
    """A table whose dimensions fall off, looked up by Zipf, and what its tails are worth."""
    generator = torch.Generator().manual_seed(seed)
    field_V = torch.arange(len(rows_F)).repeat_interleave(torch.tensor(rows_F))
    table_VD = torch.randn(len(field_V), dim, generator=generator) * torch.exp(-torch.arange(dim) / decay)
    noise_FD = torch.rand(len(rows_F), 1, generator=generator).expand(-1, dim) * 0.1
    lookups_V = 1 / (1 + torch.randperm(len(field_V), generator=generator).float())
    size_L1 = size_levels(dim)
    tail_VD = torch.nn.functional.pad((table_VD.square() * noise_FD[field_V]).flip(1).cumsum(1).flip(1), (0, 1))
    costs_VL1 = (lookups_V.unsqueeze(1) * tail_VD[:, size_L1]).contiguous()
    return table_VD, Front(size_L1, costs_VL1, noise_FD.contiguous(), lookups_V, field_V, 1000)


def level_of(front, layout):
    return torch.searchsorted(front.size_L1, layout.sizes_V)


cases = st.tuples(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 24), st.integers(0, 1000))


@settings(max_examples=25, deadline=None)
@given(cases, st.sampled_from(["curvature", "rule", "uniform"]), st.sampled_from(PRECISIONS), st.floats(0, 1.2), st.booleans())
def test_the_file_meets_the_budget_and_little_is_left(tmp_path_factory, case, selector, precision, share, basis):
    table, front = problem(*case)
    budget = 300 + int(share * dense_bytes(*table.shape))
    try:
        layout = allocate(front, selector, table, budget, precision, basis)
    except BudgetError:
        assert budget < 300 + 10 * len(front.noise_FD) + 200 * basis
        return
    tensors = pack(table, layout)
    if basis:
        tensors |= pack_basis(torch.eye(table.shape[1]).expand(len(front.noise_FD), -1, -1), layout.widest_F)
    path = tmp_path_factory.getbasetemp() / "allocated"
    save_file(tensors, path)
    assert path.stat().st_size == layout.bytes(basis) <= budget
    if (layout.sizes_V == table.shape[1]).all():
        return
    widest = 1 if precision == "mixed" else {"fp32": 4, "fp16": 2, "int8": 1}[precision]
    dim = table.shape[1]
    one_dimension = int(layout.rows_K.max()) * widest
    one_step = dim * (widest + 2) + 100 + (dim * dim if basis else 0)
    assert budget - layout.bytes(basis) < one_dimension + one_step


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("basis", [False, True])
def test_a_budget_is_spent_to_less_than_a_dimension_of_the_largest_bucket(precision, basis):
    table, front = problem([1500, 700, 12], 24, 0)
    for share in (0.1, 0.015):
        budget = int(share * dense_bytes(*table.shape))
        layout = allocate(front, "curvature", table, budget, precision, basis)
        largest = int(layout.rows_K.argmax())
        narrowest = int(layout.bits_KD[layout.bits_KD > 0].min())
        whole = bool((layout.sizes_V == 24).all())
        assert whole or 0 <= budget - layout.bytes(basis) < int(layout.rows_K[largest]) * narrowest / 8


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_larger_budget_never_costs_more(precision):
    table, front = problem([300, 80, 5], 20, 1)
    costs = []
    for share in (0.01, 0.04, 0.16):
        layout = allocate(front, "curvature", table, int(share * dense_bytes(*table.shape)), precision, stored_basis=False)
        read = decoded(table, layout)
        noise_VD = front.noise_FD[front.field_V] * front.lookups_V.unsqueeze(1) * (read - table).square()
        costs.append(float(noise_VD.sum()))
    assert costs == sorted(costs, reverse=True)


def test_sizes_are_nested_over_budgets():
    """A larger budget gives no row fewer dimensions, as long as no level is closed for its metadata's sake."""
    _, front = problem([400, 90], 16, 2)
    costing = Costing.uniform("int8", front.size_L1, 2, stored_basis=False)
    open_FL, ends = torch.ones(2, len(front.size_L1) - 1, dtype=torch.bool), [400, 490]
    histogram = Histogram.of(prices_of_open(front.worth_of("curvature"), costing.row_bits_FL1, open_FL, ends), ends)
    before = torch.zeros(490, dtype=torch.int64)
    for budget in range(400, 8000, 97):
        found = histogram.levels(histogram.threshold(budget, costing), open_FL, budget, costing, skips=0)
        assert (found >= before).all()
        before = found
    assert 0 < before.float().mean() < len(front.size_L1)


def test_sizes_follow_the_prices_one_by_one():
    """Against buying steps one by one, dearest first, where metadata are next to nothing (one field, fp32) and all rows are convex."""
    table, front = problem([400], 6, 3)
    front = replace(front, costs_VL1=front.lookups_V.unsqueeze(1) * torch.tensor([32.0, 16, 8, 4, 2, 1, 0]))
    layout = allocate(front, "curvature", table, 5000, "fp32", stored_basis=False)
    price_VL = front.worth_of("curvature") / 32
    bought = torch.argsort(price_VL.flatten(), descending=True, stable=True)[: int(layout.sizes_V.sum())]
    assert torch.equal(torch.bincount(bought // 6, minlength=400), layout.sizes_V)


@pytest.mark.parametrize("basis", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_whole_table_is_every_useful_dimension_and_no_more(precision, basis):
    table, front = problem([30, 3, 1], 8, 4)
    table[30:33, 3:], table[33:, 1:] = 0, 0
    layout = allocate(front, "curvature", table, 10**9, precision, basis)
    assert layout.sizes_V.tolist() == [8] * 30 + [3] * 3 + [1]
    assert layout.kind == ("int8" if precision == "mixed" else precision)


@pytest.mark.parametrize("basis", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_budget_below_an_empty_table_is_refused_with_the_bytes_it_needs(precision, basis):
    table, front = problem([9, 4], 6, 5)
    with pytest.raises(BudgetError, match=r"compress\.budget of 7 bytes cannot be met: .* needs \d+ bytes") as caught:
        allocate(front, "curvature", table, 7, precision, basis)
    least = int(str(caught.value).split(" bytes;")[0].split()[-1])
    layout = allocate(front, "curvature", table, least, precision, basis)
    assert layout.sizes_V.tolist() == [0] * 13
    assert layout.bytes(basis) == least
    with pytest.raises(BudgetError):
        allocate(front, "curvature", table, least - 1, precision, basis)


def test_rows_that_are_alike_are_served_in_table_order():
    table, front = problem([50], 4, 6)
    alike = replace(front, worth={"alike": torch.ones(50, 4)})
    sizes = allocate(alike, "alike", table, 700, "fp32", stored_basis=False).sizes_V
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)
    assert set(sizes.tolist()) >= {0, 4}


def test_levels_that_no_one_misses_are_closed():
    """A field of few rows needs few buckets: closing saves more than it loses, and never costs more than it saves."""
    _, front = problem([12, 12, 12, 12], 32, 7)
    costing = Costing.uniform("int8", front.size_L1, 4, stored_basis=True)
    worth, ends = front.worth_of("curvature"), [12, 24, 36, 48]
    every = torch.ones(4, len(front.size_L1) - 1, dtype=torch.bool)
    bits, price = costing.row_bits_FL1, float(worth[worth > 0].median()) / 64

    def total(open_FL):
        """Lost worth and price of all bits, each row at its best level."""
        lost_VL1 = torch.nn.functional.pad(worth.flip(1).cumsum(1).flip(1), (0, 1)) + price * bits[front.field_V]
        lost_VL1[:, 1:][~open_FL[front.field_V]] = torch.inf
        level_V = lost_VL1.argmin(1)
        layout = costing.layout(level_V, front.field_V)
        beside = costing.bucket_bits_L1[torch.searchsorted(front.size_L1, layout.sizes_K)][layout.sizes_K > 0].sum()
        return float(lost_VL1.amin(1).sum() + price * (beside + costing.basis_bits(layout.widest_F).sum()))

    fewer = worthwhile(worth, bits, every, torch.ones(4, len(front.size_L1), dtype=torch.int64), ends, price, costing)
    assert fewer.sum() < every.sum()
    assert total(fewer) < total(every)
    for field, level in torch.nonzero(fewer).tolist():
        without = fewer.clone()
        without[field, level] = False
        assert total(without) >= total(fewer) * (1 - 1e-6)


@pytest.mark.parametrize("basis", [False, True])
def test_closing_levels_makes_small_tables_better(basis):
    table, front = problem([40, 30, 20, 10, 10, 10], 48, 8, decay=12.0)
    costing, ends = Costing.uniform("int8", front.size_L1, 6, basis), [40, 70, 90, 100, 110, 120]
    every = torch.ones(6, len(front.size_L1) - 1, dtype=torch.bool)
    histogram = Histogram.of(prices_of_open(front.worth_of("curvature"), costing.row_bits_FL1, every, ends), ends)
    plain = histogram.levels(histogram.threshold(2500, costing), every, 2500, costing, skips=64)
    layout = allocate(front, "curvature", table, 2500, "int8", basis)
    assert cutting_cost(front, level_of(front, layout)) < 0.8 * cutting_cost(front, plain)


def test_bits_go_where_the_curvature_is():
    """Of two fields that are alike but for what an error costs, the dearer gets more bits; leading dimensions get more than tails."""
    table, front = problem([200, 200], 12, 9)
    table[200:] = table[:200]
    lookups = front.lookups_V[:200].repeat(2)
    noise = torch.tensor([[0.01], [0.16]]).expand(-1, 12).contiguous()
    front = replace(front, lookups_V=lookups, noise_FD=noise)
    stakes = Stakes.of(front, table, torch.full((400,), 12))
    bits = stakes.bits_FLD(5.0)[:, 12]
    assert float(bits.float().mean()) == pytest.approx(5.0, abs=0.25)
    inner = (bits[0] > 2) & (bits[1] < 8)
    assert inner.any()
    assert (bits[1] - bits[0])[inner].tolist() == [2] * int(inner.sum())
    assert (bits[0].diff() <= 0).all()


def test_coding_costs_what_its_errors_cost_at_every_lookup():
    table, front = problem([300, 50], 8, 10)
    sizes = torch.arange(350) % 9
    layout = Layout.of_sizes(sizes, front.field_V, 8, "int8")
    read, expected = decoded(table, layout), 0.0
    for row in range(350):
        for dimension in range(int(sizes[row])):
            error = float(read[row, dimension] - table[row, dimension])
            expected += float(front.lookups_V[row] * front.noise_FD[front.field_V[row], dimension]) * error**2
    assert coding_cost(front, table, layout, read_back(table, layout)) == pytest.approx(expected, rel=1e-4)


def test_the_mean_width_of_a_large_table_is_chosen_on_some_of_its_rows(monkeypatch):
    table, front = problem([2000, 500], 16, 12)
    costs, coded = [], []
    monkeypatch.setattr(allocation, "read_back", lambda table_VD, layout: coded.append(len(table_VD)) or read_back(table_VD, layout))
    for rows in (10_000, 200):
        monkeypatch.setattr(allocation, "LADDER_ROWS", rows)
        layout = allocate(front, "curvature", table, 12_000, "mixed", stored_basis=False)
        assert 11_900 < layout.bytes() <= 12_000
        error_VD = front.noise_FD[front.field_V] * front.lookups_V.unsqueeze(1) * (decoded(table, layout) - table).square()
        costs.append(float(error_VD.sum()))
    assert costs[1] < 1.1 * costs[0]
    assert set(coded) == {2500, 193}  # the table of 2,500 rows is never coded only to see what that costs


def test_mixed_widths_cost_less_than_one_width():
    table, front = problem([600, 100], 16, 11)
    found = {}
    for precision in ("int8", "mixed"):
        layout = allocate(front, "curvature", table, 4000, precision, stored_basis=False)
        read = decoded(table, layout)
        error_VD = front.noise_FD[front.field_V] * front.lookups_V.unsqueeze(1) * (read - table).square()
        found[precision] = float(error_VD.sum())
    assert found["mixed"] < 0.7 * found["int8"]
