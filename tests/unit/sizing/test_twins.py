"""The way down the ladder: what groups cost, what sets the pressure, and what a wanted size makes a level worth."""

import pytest
import torch

from amtl.model.frequency import Groups
from amtl.params import SearchParams
from amtl.sizing.levels import size_levels
from amtl.sizing.twins import Controller, Descent, descend, group_costs


def test_pressure_rises_while_too_much_is_kept_and_pulls_back_at_once_when_too_little_is():
    controller = Controller()
    rising = [controller.pressure(0.1) for _ in range(5)]
    assert rising == sorted(rising)
    assert rising[0] > 0
    assert len(set(rising)) == 5
    assert controller.pressure(-10.0) < 0
    assert 0 < controller.pressure(0.1) < rising[-1]
    falling = [controller.pressure(-1.0) for _ in range(3)]
    assert len(set(falling)) == 1, "too little kept for long leaves no debt"
    assert controller.pressure(0.1) == pytest.approx(rising[0])


def test_a_group_costs_what_its_rows_do_and_sizes_between_levels_lie_on_a_line():
    group_V = torch.tensor([0, 2, 0])
    grouped = Groups(group_V, torch.zeros(3, 1), torch.zeros(3), torch.bincount(group_V, minlength=3), 1)
    costs_VL1 = torch.tensor([[8.0, 4, 0], [1, 1, 0], [2, 2, 0]])
    found = group_costs(grouped, costs_VL1, torch.tensor([0, 1, 5]))
    assert found.tolist() == [[10, 6, 4.5, 3, 1.5, 0], [0] * 6, pytest.approx([1, 1, 0.75, 0.5, 0.25, 0])]


SETTINGS = SearchParams(steps=100, ladder=(0.5, 0.25), hidden=(16,), learning_rate=0.03, frequency_groups=1, energy_groups=16)


@pytest.mark.parametrize("single", [False, True])
def test_the_twins_find_sizes_that_cost_little_more_than_the_best_ones(single):
    """Rows whose cost falls as exp(-t), from heights over seven orders of magnitude, which the energies tell; two fields."""
    torch.manual_seed(0)
    size_L1, field_V = size_levels(16), torch.arange(400) // 200
    heights_V = torch.exp(-16 * torch.rand(400))
    costs_VL1 = heights_V.unsqueeze(1) * (torch.exp(-size_L1.float()) - torch.exp(torch.tensor(-16.0)))
    lines = []
    found = descend(torch.ones(400), field_V, heights_V.unsqueeze(1), costs_VL1, size_L1, SETTINGS, 0, lines.append, single)
    assert [line.partition(":")[0] for line in lines] == ["rung 50%", "rung 25%"]
    for share, wanted_G in zip(found.share_R, found.wanted_RG, strict=True):
        sizes_V = wanted_G.round().long()[found.group_V]
        kept = float(sizes_V.double().mean()) / 16
        assert kept == pytest.approx(float(share), abs=0.03)
        cost = float(costs_VL1.gather(1, sizes_V.unsqueeze(1)).sum())
        slopes = torch.sort((costs_VL1[:, :-1] - costs_VL1[:, 1:]).flatten(), descending=True).values
        best = float(slopes[round(kept * slopes.numel()) :].sum())
        assert cost < 2 * best
        assert cost < 0.1 * float(costs_VL1[:, round(kept * 16)].sum())


def descent(*wanted):
    """One group that wanted these sizes at shares of .5 and .1; D = 4."""
    return Descent(torch.tensor([0.5, 0.1]), torch.tensor(wanted).unsqueeze(1), torch.zeros(7, dtype=torch.int64), torch.tensor([7]))


def test_a_dimension_is_worth_one_over_the_share_at_which_the_group_lets_it_go():
    """Sizes 0, 1, 2, 4: the borders are .5, 1.5 and 3. Wanted sizes: 4 at a share of 1, 2 at .5, 1 at .1, 0 at 0."""
    worth = descent(2.0, 1.0).worth(torch.tensor([0, 1, 2, 4]))
    assert worth[0].tolist() == pytest.approx([1 / 0.05, 1 / 0.3, 2 / 0.75])


def test_sizes_that_rise_on_the_way_down_count_as_if_they_had_stayed():
    size_L1 = torch.tensor([0, 1, 2, 4])
    assert torch.equal(descent(1.0, 3.0).worth(size_L1), descent(1.0, 1.0).worth(size_L1))


def test_a_group_that_lets_go_at_once_and_one_that_never_does_have_a_finite_worth():
    assert descent(0.0, 0.0).worth(torch.tensor([0, 1, 2, 4])).isfinite().all()
    assert descent(4.0, 4.0).worth(torch.tensor([0, 1, 2, 4])).isfinite().all()
