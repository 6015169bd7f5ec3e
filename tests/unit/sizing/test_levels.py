"""The sizes that a row may have."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amtl.sizing.levels import describe_sizes, size_levels


def test_sizes_are_dense_and_then_round_and_roughly_geometric():
    assert size_levels(64).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64]


@given(dim=st.integers(1, 1024), most=st.integers(1, 24))
def test_levels_rise_from_nothing_to_the_whole_row_and_are_few(dim, most):
    sizes = size_levels(dim, most).tolist()
    assert sizes == sorted(set(sizes))
    assert (sizes[0], sizes[-1]) == (0, dim)
    assert len(sizes) <= most + 1
    assert sizes[: min(most // 2, dim) + 1] == list(range(min(most // 2, dim) + 1))
    if dim <= most:
        assert sizes == list(range(dim + 1))


@pytest.mark.parametrize("dim", [24, 64, 200, 1024])
def test_no_level_is_more_than_twice_the_one_below(dim):
    above = size_levels(dim)[1:]
    assert (above[1:] <= 2 * above[:-1]).all()


def test_sizes_are_described():
    described = describe_sizes(torch.tensor([0, 4, 4, 2]), 4)
    assert described == {"mean_size": 2.5, "distinct_sizes": 3, "kept_share": 0.625, "histogram": {"0": 1, "2": 1, "4": 2}}
