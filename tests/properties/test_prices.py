"""Prices against a hull walked row by row."""

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amtl.packing.prices import NEVER, prices, prices_of_open


@st.composite
def rows(draw):
    """Worths of a few rows at each level, many of them 0 or alike, and bits of the levels."""
    levels, count = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    worth = st.integers(0, 4) | st.sampled_from([0, 1, 1000])
    table = draw(st.lists(st.lists(worth, min_size=levels, max_size=levels), min_size=count, max_size=count))
    bits = draw(st.lists(st.integers(1, 9), min_size=levels, max_size=levels))
    return torch.tensor(table, dtype=torch.float32), torch.tensor([0, *bits]).cumsum(0)


def hull(worth, bits):
    """From each corner to the one that is reached at the steepest slope, the furthest of them."""
    result, place = [], 0
    while place < len(worth):
        slopes = [(sum(worth[place:end]) / (bits[end] - bits[place]), end) for end in range(place + 1, len(worth) + 1)]
        slope, end = max(slopes)
        result += [slope] * (end - place)
        place = end
    return result


@settings(max_examples=100, deadline=None)
@given(rows())
def test_prices_are_the_slopes_of_each_row_s_hull(drawn):
    worth, bits = drawn
    found = prices(worth, bits)
    expected = [hull(row, bits.tolist()) for row in worth.tolist()]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=0)
    assert (found[:, 1:] <= found[:, :-1]).all()


@settings(max_examples=100, deadline=None)
@given(rows(), st.data())
def test_a_closed_level_is_bought_with_the_next_open_one_or_never(drawn, data):
    worth, bits = drawn
    levels = worth.shape[1]
    opened = torch.tensor(data.draw(st.lists(st.booleans(), min_size=levels, max_size=levels)))
    found = prices_of_open(worth, bits.unsqueeze(0), opened.unsqueeze(0), [len(worth)])
    corners = [0, *(level + 1 for level in range(levels) if opened[level])]
    for row, priced in zip(worth.tolist(), found.tolist(), strict=True):
        steps = [sum(row[low:high]) for low, high in pairwise(corners)]
        slopes = hull(steps, [int(bits[corner]) for corner in corners])
        expected = [slope for slope, (low, high) in zip(slopes, pairwise(corners), strict=True) for _ in range(high - low)]
        torch.testing.assert_close(priced, expected + [NEVER] * (levels - len(expected)), rtol=1e-5, atol=0)


def test_small_tails_are_not_lost_beside_large_heads():
    worth = torch.tensor([[1e6, 1e-6, 5e-7]])
    torch.testing.assert_close(prices(worth, torch.tensor([0, 1, 2, 3])), worth, rtol=1e-6, atol=0)
