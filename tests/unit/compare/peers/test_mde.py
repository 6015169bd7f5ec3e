import pytest
import torch

from amtl.compare.peers.mde import COOLER, Projected, fitted, mde, mixed_bytes, widths_at


def test_widths_follow_the_papers_power_of_cardinality():
    assert widths_at([100, 10, 1000], 16, 0.3) == [round(16 * 10**-0.3), 16, round(16 * 100**-0.3)]
    assert widths_at([100, 10, 1000], 16, 0.0) == [16, 16, 16]
    assert widths_at([10**9, 2], 4, 1.0) == [1, 4]


def test_bytes_by_hand():
    assert mixed_bytes([100, 10], [2, 5], 5, "fp32") == 4 * (100 * 2 + 2 * 5 + 10 * 5)
    assert mixed_bytes([100, 10], [2, 5], 5, "int8") == (100 * 2 + 2) + (2 * 5 + 5) + (10 * 5 + 5)


def test_a_narrow_field_is_projected():
    part = Projected(7, 2, 5, 0.1)
    assert torch.allclose(part(torch.tensor([3]))[0], part.projection.weight @ part.table.weight[3])
    whole = Projected(7, 5, 5, 0.1)
    assert torch.equal(whole(torch.tensor([3]))[0], whole.table.weight[3])


def test_table_and_projection_learn():
    part = Projected(7, 2, 5, 0.1)
    part(torch.tensor([3])).sum().backward()
    assert part.table.weight.grad.to_dense()[3].ne(0).all()
    assert part.projection.weight.grad.ne(0).all()


@pytest.mark.parametrize("budget", [400, 900, 10**9])
def test_the_base_is_the_largest_that_fits(task, rows_F, budget):
    made = mde(task, budget, "fp32")
    base, alpha = made.details["base"], made.details["alpha"]
    totals = [mixed_bytes(rows_F, widths_at(rows_F, width, alpha), width, "fp32") for width in range(1, task.config.dim + 1)]
    assert totals == sorted(totals)
    assert base == sum(total <= budget for total in totals)
    assert made.bytes == totals[base - 1]
    assert sum(weight.numel() for weight in made.model.embedder.parameters()) * 4 == made.bytes


@pytest.mark.parametrize("budget", [20_000, 40_000, 60_000])
def test_where_the_full_width_leaves_bytes_unused_the_temperature_falls(budget):
    rows_F = [50, 400, 1000]
    base, alpha = fitted(rows_F, 16, budget, "fp32")
    totals = {cool: mixed_bytes(rows_F, widths_at(rows_F, base, cool), base, "fp32") for cool in [*COOLER, 0.3]}
    assert totals[alpha] <= budget
    assert base < 16 or all(total > budget for cool, total in totals.items() if cool < alpha)
    assert fitted(rows_F, 16, 10**9, "fp32") == (16, 0.0)
