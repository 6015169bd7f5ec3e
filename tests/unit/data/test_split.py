"""The split: where its bounds lie, what is read for them, and which hash it goes by."""

from datetime import UTC, datetime, timedelta

import days
import polars as pl
import pytest

from amtl.data.events import partitions, scan
from amtl.data.split import PARTS, SplitBounds, hash_probe, membership, overlap, select, split_bounds, time_range
from amtl.errors import DataError


def numbered(tmp_path, moments, **split):
    """One partition a list of epoch seconds, and events split by them."""
    for day, times in enumerate(moments):
        days.write(tmp_path, day, days.frame(len(times)).with_columns(at=pl.Series(times, dtype=pl.Int64)))
    return partitions(tmp_path), any_time(**split)


def any_time(**split):
    """Events split by time, whatever their times have to do with the days they lie in."""
    return days.events(split=days.SPLIT | split, hours_off_day=None)


def test_bounds_are_those_of_the_sorted_times(tmp_path):
    parts, events = numbered(tmp_path, [[3, 1, 2, 0], [5, 4, 6], [9, 8, 7]])
    assert split_bounds(parts, events) == SplitBounds(6, 8)
    assert split_bounds(parts, any_time(validation_by="random")) == SplitBounds(None, 8)


def test_days_that_overlap_in_time_are_split_by_time_not_by_day(tmp_path):
    parts, events = numbered(tmp_path, [[0, 9, 1, 8], [2, 7], [3, 6, 4, 5]])
    assert split_bounds(parts, events) == SplitBounds(6, 8)


def test_a_moment_is_never_divided(tmp_path):
    parts, events = numbered(tmp_path, [[0, 1, 2, 3, 4, 5, 6, 7, 7, 7]])
    assert split_bounds(parts, events) == SplitBounds(5, 7)


def test_the_bounds_read_no_partition_that_they_cannot_lie_in(tmp_path):
    parts, events = numbered(tmp_path, [list(range(100)), list(range(100, 110)), list(range(110, 120)), list(range(120, 150))])
    ranges = [time_range(part, events) for part in parts]
    for part in (parts[0], parts[2]):
        part.files[0].write_bytes(b"not to be read")
    assert split_bounds(parts, any_time(test=0.1, validation=0.05), ranges) == SplitBounds(127, 135)


@pytest.mark.parametrize("moments", [[[1]], [[1, 1, 1, 1]], [[1, 2]], [[1, 1, 1, 2, 2, 2]]])
def test_too_few_moments_for_three_parts_are_refused(tmp_path, moments):
    parts, events = numbered(tmp_path, moments)
    with pytest.raises(DataError, match="too few"):
        split_bounds(parts, events)


def test_a_row_without_a_time_is_in_no_part(tmp_path):
    parts, events = numbered(tmp_path, [[1, 2, None, 4, 5, 6]])
    bounds = split_bounds(parts, events)
    assert bounds == SplitBounds(5, 6)
    assert [select(scan(parts, events), events, bounds, part).collect()["at"].to_list() for part in PARTS] == [[1, 2, 4], [5], [6]]


def test_bounds_survive_json():
    moment = datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=UTC)
    for bounds in (SplitBounds(), SplitBounds(5, 7), SplitBounds(None, moment), SplitBounds(moment, moment + timedelta(1))):
        assert SplitBounds.from_json(bounds.to_json()) == bounds


def test_the_column_says_the_part(tmp_path):
    words = pl.Series(["train", "test", "validation", "train"])
    days.write(tmp_path, 0, days.frame(4).with_columns(part=words))
    events = days.events(split={"kind": "column", "column": "part"}, time=None)
    whole = scan(partitions(tmp_path), events)
    assert [len(select(whole, events, SplitBounds(), part).collect()) for part in PARTS] == [2, 1, 1]


def test_the_hash_that_splits_is_the_one_that_split_before():
    """If this fails, polars hashes otherwise than when existing models were trained: their test rows would become training rows."""
    events = days.events(split={"kind": "random", "test": 0.2, "validation": 0.2}, time=None)
    rows = pl.DataFrame({"user": range(12), "item": [None, "a", "b"] * 4, "tags": [["x"], []] * 6, "price": [0.5, None, 2.0, 3.0] * 3})
    members = [rows.select(membership(events, SplitBounds(), part)).to_series().arg_true().to_list() for part in PARTS]
    assert members == [[0, 1, 2, 3, 4, 6], [], [5, 7, 8, 9, 10, 11]]


def by_time(test_from):
    return {"kind": "time", "column": "timestamp", "test_from": test_from}


def by_hash(seed=0, test=0.1, hashed=("a", "b"), probe="7"):
    return {"kind": "random", "seed": seed, "test": test, "hashed": list(hashed), "probe": probe}


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (by_time("2026-01-18"), by_time("2026-01-18")),
        (by_time("2026-01-18"), by_time("2026-01-19")),
        (by_hash(), by_hash()),
        (by_hash(test=0.2), by_hash(test=0.1)),
        ({"kind": "column", "column": "split"}, {"kind": "column", "column": "split"}),
    ],
)
def test_a_parent_that_never_saw_todays_test_rows_may_be_used(then, now):
    assert overlap(then, now) is None


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (None, by_time("2026-01-18")),
        (by_hash(), by_time("2026-01-18")),
        (by_time("2026-01-19"), by_time("2026-01-18")),
        (by_hash(seed=1), by_hash()),
        (by_hash(test=0.1), by_hash(test=0.2)),
        (by_hash(hashed=("a",)), by_hash()),
        (by_hash(probe="8"), by_hash()),
        ({"kind": "random", "seed": 0, "test": 0.1, "hashed": ["a", "b"]}, by_hash()),
        (by_time("2026-01-18"), by_time(1_767_300_000)),
        ({"kind": "column", "column": "part"}, {"kind": "column", "column": "split"}),
    ],
)
def test_a_parent_that_may_have_trained_on_todays_test_rows_is_named(then, now):
    assert "trained" in overlap(then, now)


def test_the_probe_of_the_hash_tells_types_from_each_other_and_not_orders():
    def probe(*fields, **changes):
        split = {"kind": "random", **changes}
        return hash_probe(days.events(split=split, fields=[{"name": name, **entries} for name, entries in fields]))

    one, two = ("user", {"type": "integer"}), ("tags", {"kind": "ids"})
    different = [
        probe(one, two),
        probe(("user", {}), two),
        probe(one, ("tags", {})),
        probe(one),
        probe(one, two, seed=1),
    ]
    assert len(set(different)) == len(different)
    assert probe(two, one) == different[0] == probe(("user", {"type": "integer", "optional": True}), two)
