"""Every row belongs to exactly one part of the split, and a random split does not move as data grow."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import days
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amtl.data import events as ev
from amtl.data import split as sp

SHARES = st.tuples(st.floats(0.05, 0.4), st.floats(0.05, 0.4))
RANDOM = days.events(split={"kind": "random", "test": 0.3, "validation": 0.2})


def parts_of(frame, events, bounds):
    """Row numbers of each part."""
    numbered = frame.with_row_index("number").lazy()
    return {part: set(sp.select(numbered, events, bounds, part).collect()["number"]) for part in sp.PARTS}


def assert_split(found, rows):
    assert sum(len(numbers) for numbers in found.values()) == rows
    assert set().union(*found.values()) == set(range(rows))


@settings(max_examples=40, deadline=None)
@given(
    moments=st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=25), min_size=1, max_size=4),
    shares=SHARES,
    by=st.sampled_from(["time", "random"]),
    epoch=st.booleans(),
)
def test_by_time_parts_are_disjoint_complete_and_in_order(moments, shares, by, epoch):
    split = {"kind": "time", "test": shares[0], "validation": shares[1], "validation_by": by}
    events, total = days.events(split=split, hours_off_day=None), sum(map(len, moments))
    with tempfile.TemporaryDirectory() as folder:
        for day, times in enumerate(moments):
            start = datetime(2026, 1, 1, tzinfo=UTC)
            at = (
                pl.Series(times)
                if epoch
                else pl.Series([start + timedelta(seconds=time) for time in times], dtype=pl.Datetime("us", "UTC"))
            )
            days.write(Path(folder), day, days.frame(len(times), day).with_columns(at=at))
        partitions = ev.partitions(Path(folder))
        try:
            bounds = sp.split_bounds(partitions, events)
        except ev.DataError:
            assert total < 10 or len({time for times in moments for time in times}) < 60
            return
        frame = ev.collect(ev.scan(partitions, events))
    found = parts_of(frame, events, bounds)
    assert_split(found, total)
    newest_first = frame["at"].sort(descending=True)
    assert bounds.test_from == newest_first[max(round(total * shares[0]), 1) - 1]
    at = frame["at"]
    assert {number for number in range(total) if at[number] >= bounds.test_from} == found["test"]
    if by == "time":
        older = at.filter(at < bounds.test_from).sort(descending=True)
        assert bounds.validation_from == older[min(max(round(total * shares[1]), 1), len(older)) - 1]
        assert max(at[number] for number in found["train"]) < min(at[number] for number in found["validation"])


@settings(max_examples=25, deadline=None)
@given(old=st.integers(1, 60), new=st.integers(0, 60), seed=st.integers(0, 9), order=st.integers(0, 9))
def test_a_random_split_does_not_move_as_data_grow(old, new, seed, order):
    first = days.frame(old, seed=seed)
    grown = pl.concat([days.frame(new, day=1, seed=seed), first, first]).sample(fraction=1, shuffle=True, seed=order)
    before, after = parts_of(first, RANDOM, sp.SplitBounds()), parts_of(grown, RANDOM, sp.SplitBounds())
    assert_split(before, old)
    assert_split(after, 2 * old + new)
    for part, numbers in before.items():
        rows = first[sorted(numbers)].rows()
        assert set(map(repr, rows)) <= {repr(row) for row in grown[sorted(after[part])].rows()}
        assert not set(map(repr, rows)) & {repr(row) for other in sp.PARTS if other != part for row in grown[sorted(after[other])].rows()}


def test_the_random_split_follows_its_shares_its_seed_and_not_the_label():
    frame = days.frame(20_000).with_columns(user=pl.int_range(20_000))
    found = parts_of(frame, RANDOM, sp.SplitBounds())
    assert [len(found[part]) / 20_000 for part in sp.PARTS] == pytest.approx([0.5, 0.2, 0.3], abs=0.015)
    assert parts_of(frame.with_columns(click=1 - pl.col("click")), RANDOM, sp.SplitBounds()) == found
    other = days.events(split={"kind": "random", "test": 0.3, "validation": 0.2, "seed": 1})
    overlap = len(parts_of(frame, other, sp.SplitBounds())["test"] & found["test"]) / len(found["test"])
    assert overlap == pytest.approx(0.3, abs=0.03)


def test_another_order_of_fields_and_another_validation_share_leave_the_test_rows():
    frame = days.frame(500)
    turned = days.events(split={"kind": "random", "test": 0.3, "validation": 0.1}, fields=days.FIELDS[::-1])
    assert parts_of(frame, turned, sp.SplitBounds())["test"] == parts_of(frame, RANDOM, sp.SplitBounds())["test"]
