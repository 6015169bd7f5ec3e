"""What a level is worth by energy."""

import pytest
import torch

from amtl.sizing.magnitude import magnitude_worth


def test_a_level_is_worth_the_squares_of_the_numbers_that_it_adds():
    table, field_V = torch.tensor([[3.0, -1, 2, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]), torch.tensor([0, 0, 1])
    assert magnitude_worth(table, field_V, torch.tensor([0, 1, 3, 5])).tolist() == [[9, 5, 1], [0, 0, 0], [1, 2, 2]]


@pytest.mark.parametrize("rows", [1, 7])
def test_worth_adds_up_to_the_row_s_energy(rows):
    table = torch.randn(rows, 6)
    worth = magnitude_worth(table, torch.zeros(rows, dtype=torch.int64), torch.tensor([0, 2, 6]))
    torch.testing.assert_close(worth.sum(1), table.square().sum(1))
