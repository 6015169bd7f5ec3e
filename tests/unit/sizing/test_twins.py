"""The way down the ladder: what groups cost, what sets the pressure, and what a wanted size makes a level worth."""

import pytest
import torch

from amtl.model.frequency import Groups
from amtl.sizing.twins import Controller, Descent, group_costs


def test_pressure_rises_while_too_much_is_kept_and_falls_to_nothing_below():
    controller = Controller()
    rising = [controller.pressure(0.1) for _ in range(5)]
    assert rising == sorted(rising)
    assert rising[0] > 0
    assert len(set(rising)) == 5
    assert controller.pressure(-10.0) == 0.0
    assert 0 < controller.pressure(0.1) < rising[-1]
    assert all(controller.pressure(-1.0) == 0.0 for _ in range(3))


def test_a_group_costs_what_its_rows_do_and_sizes_between_levels_lie_on_a_line():
    group_V = torch.tensor([0, 2, 0])
    grouped = Groups(group_V, torch.zeros(3, 1), torch.zeros(3), torch.bincount(group_V, minlength=3), 1)
    costs_VL1 = torch.tensor([[8.0, 4, 0], [1, 1, 0], [2, 2, 0]])
    found = group_costs(grouped, costs_VL1, torch.tensor([0, 1, 5]))
    assert found.tolist() == [[10, 6, 4.5, 3, 1.5, 0], [0] * 6, pytest.approx([1, 1, 0.75, 0.5, 0.25, 0])]


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
