"""Counting by partition is counting the whole, whatever the partitions; a new day costs one day."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import days
import numpy as np
import polars as pl
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from amtl.counting.blocks import QUANTUM, cover
from amtl.counting.counts import count
from amtl.data import events as ev
from amtl.data import split as sp
from amtl.data.growth import grow_field
from amtl.params import CountParams

KINDS = (
    {"kind": "time", "validation_by": "time", "test": 0.2, "validation": 0.2},
    {"kind": "time", "validation_by": "random", "test": 0.2, "validation": 0.2},
    {"kind": "random", "test": 0.2, "validation": 0.2},
    {"kind": "column", "column": "part"},
)
MISSING = st.none()
rows = st.lists(
    st.tuples(
        MISSING | st.integers(-3, 5) | st.just(2**63 - 1),
        MISSING | st.sampled_from(["", "a", "b", "B", "ä", "null"]),
        MISSING | st.lists(MISSING | st.sampled_from(["x", "y", ""]), max_size=3),
        MISSING | st.floats(0, 100) | st.just(float("nan")),
        st.integers(0, 40),
    ),
    min_size=20,
    max_size=60,
)


def events_of(split):
    return days.events(split=split, hours_off_day=None)


def frame_of(values):
    """Events whose times have gaps and ties, and which all parts of a split by column have."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "user": [value[0] for value in values],
            "item": [value[1] for value in values],
            "tags": [value[2] for value in values],
            "price": [value[3] for value in values],
            "click": [0] * len(values),
            "at": [start + timedelta(hours=value[4] + 100 * (number >= 10) + 100 * (number >= 15)) for number, value in enumerate(values)],
            "part": (["train", "validation", "test"] * len(values))[: len(values)],
        },
        schema_overrides={
            "user": pl.Int64,
            "item": pl.String,
            "tags": pl.List(pl.String),
            "price": pl.Float64,
            "at": pl.Datetime("us", "UTC"),
        },
        strict=False,
    )


def counted_by_hand(frame):
    """(field, value) to occurrences, by a plain loop."""
    found = Counter()
    for row in frame.iter_rows(named=True):
        found["user", None if row["user"] is None else str(row["user"])] += 1
        found["item", row["item"]] += 1
        for tag in row["tags"] or [None]:
            found["tags", tag] += 1
    return found


def as_counter(vocabulary):
    return Counter({(field, value): count for field, value, _, count, _ in vocabulary.frame.iter_rows() if count})


@pytest.mark.parametrize("split", KINDS, ids=lambda split: f"{split['kind']}-{split.get('validation_by', '')}")
@settings(max_examples=5, deadline=None)
@given(values=rows, cuts=st.lists(st.integers(0, 60), max_size=4), seed=st.integers(0, 99))
def test_counts_by_partition_are_counts_of_the_whole(split, values, cuts, seed):
    events, whole = events_of(split), frame_of(values)
    shuffled = whole.sample(fraction=1, shuffle=True, seed=seed)
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for day, (start, stop) in enumerate(pairwise(edges)):
            days.write(root / "many", day, shuffled[start:stop])
        days.write(root / "one", 0, whole)
        try:
            one = count(ev.partitions(root / "one"), events, CountParams(), None, root / "cache")
        except ev.DataError:
            reject()
        many = count(ev.partitions(root / "many"), events, CountParams(), None, root / "cache")
        again = count(ev.partitions(root / "many"), events, CountParams(), None, root / "cache")
        train = sp.select(ev.scan(ev.partitions(root / "one"), events), events, one.bounds, "train").collect()
    assert as_counter(one.vocabulary) == counted_by_hand(train)
    assert many.vocabulary.frame.equals(one.vocabulary.frame)
    assert again.vocabulary.frame.equals(one.vocabulary.frame)
    assert many.bounds == again.bounds == one.bounds
    assert many.report["rows"] == one.report["rows"]
    assert again.scaling == many.scaling
    assert many.scaling.mean == pytest.approx(one.scaling.mean)
    assert many.scaling.std == pytest.approx(one.scaling.std)
    price = train["price"].drop_nulls().to_numpy()
    assert one.scaling.mean["price"] == pytest.approx(price.mean() if len(price) else 0.0)
    assert one.scaling.std["price"] == pytest.approx(price.std() if len(price) else 1.0)


RANDOM = days.events(split={"kind": "random", "test": 0.1, "validation": 0.1})
numbers = st.integers(0, 27)
histories = st.lists(st.dictionaries(numbers, st.integers(0, 3) | st.none(), min_size=1, max_size=8), min_size=2, max_size=4)


@settings(max_examples=4, deadline=None)
@given(history=histories, half_life=st.none() | st.floats(0.3, 40))
def test_any_history_of_days_ends_as_a_fresh_count(history, half_life):
    """Days come, are replaced (another seed) and are taken back (None); only what is there in the end counts, bit by bit."""
    params, held = CountParams(half_life=half_life), {0: 0, 3: 0, 9: 0}
    with tempfile.TemporaryDirectory() as folder:
        root, cache, found = Path(folder) / "events", Path(folder) / "cache", None
        for step in history:
            held = {day: seed for day, seed in (held | step).items() if seed is not None} or held
            shutil.rmtree(root, ignore_errors=True)
            for day, seed in held.items():
                days.write(root, day, days.frame(30, day, seed))
            found = count(ev.partitions(root), RANDOM, params, None, cache)
        fresh = count(ev.partitions(root), RANDOM, params, None, Path(folder) / "other")
        naive = Counter()
        for day in held:
            part = [part for part in ev.partitions(root) if part.day == f"2026-01-{day + 1:02d}"]
            train = sp.select(ev.scan(part, RANDOM), RANDOM, found.bounds, "train").collect()
            weight = 1.0 if half_life is None else 2.0 ** (-(max(held) - day) / half_life)
            naive += Counter({key: occurrences * weight for key, occurrences in counted_by_hand(train).items()})
    assert found.vocabulary.frame.equals(fresh.vocabulary.frame)
    assert found.left_out.equals(fresh.left_out)
    frequencies = {(field, value): frequency for field, value, _, _, frequency in found.vocabulary.frame.iter_rows()}
    assert all(frequencies[key] == pytest.approx(value, rel=1e-12, abs=30 * QUANTUM) for key, value in naive.items())
    if half_life is None:
        assert found.vocabulary.frame["frequency"].cast(pl.Int64).equals(found.vocabulary.frame["count"].alias("frequency"))


@settings(max_examples=60, deadline=None)
@given(held=st.sets(st.integers(700_000, 700_400), min_size=1, max_size=120))
def test_blocks_hold_each_day_once_and_few_are_read(held):
    nodes = cover({day: f"day {day}" for day in sorted(held, reverse=True)}, None)
    assert [leaf.end for node in nodes for leaf in leaves(node)] == sorted(held)
    assert len(nodes) <= 3 * 5 + 4
    assert all(node.end <= max(held) for node in nodes)
    if len(held) > 1:
        fewer = cover({day: f"day {day}" for day in held - {max(held)}}, None)
        kept = set().union(*(node.keys() for node in fewer))
        assert len(set().union(*(node.keys() for node in nodes)) - kept - {f"day {max(held)}"}) <= 5 + 5


def leaves(node):
    return [leaf for child in node.children for leaf in leaves(child)] if node.children else [node]


def test_fifty_growths_move_no_value(tmp_path):
    """Days arrive one by one, each run starts from the last one's vocabulary: rows stay, row 0 is the unknown value."""
    seen, vocabulary, random, held = {}, None, np.random.default_rng(0), []
    for day in range(51):
        fresh = days.frame(40, 0, seed=day).with_columns(user=pl.Series(random.integers(0, 20 + 10 * day, 40)))
        held.append(fresh)
        days.write(tmp_path / "events", 0, pl.concat(held))
        vocabulary = count(ev.partitions(tmp_path / "events"), RANDOM, CountParams(), vocabulary, tmp_path / "cache").vocabulary
        rows = {(field, value): row for field, value, row, *_ in vocabulary.frame.iter_rows()}
        assert all(rows[key] == row for key, row in seen.items())
        assert all((row == 0) == (value is None) for (_, value), row in rows.items())
        seen = rows
    assert len(seen) > 200


tallies = st.dictionaries(st.integers(0, 25), st.integers(1, 6), max_size=14)


@settings(max_examples=25, deadline=None)
@given(growths=st.lists(tallies, min_size=1, max_size=20), cap=st.integers(1, 12), min_count=st.integers(1, 3), lowered=st.integers(1, 12))
def test_under_a_cap_no_value_moves_and_no_two_share_a_row(growths, cap, min_count, lowered):
    known = pl.DataFrame(schema={"value": pl.Int64, "row": pl.Int64})
    for counted in growths:
        known = grown(known, counted, min_count, cap)
    grown(known, growths[-1], min_count, min(cap, lowered))


def grown(known, counted, min_count, cap):
    """Grow a field, beside the rule in plain Python; returns who has which row."""
    totals = pl.DataFrame({"value": list(counted), "count": list(counted.values())}, schema={"value": pl.Int64, "count": pl.Int64})
    growth = grow_field(known, totals.with_columns(frequency=pl.col("count").cast(pl.Float64)), min_count, cap)
    before, after = dict(known.iter_rows()), dict(growth.rows.select("value", "row").iter_rows())
    assert after.pop(None) == 0
    assert sorted(after.values()) == list(range(1, len(after) + 1))
    wanted = [value for value in {*before, *counted} if value in before or counted[value] >= min_count]
    ranked = sorted(wanted, key=lambda value: (-counted.get(value, 0), value not in before, value))
    assert set(after) == set(ranked[:cap])
    assert all(after[value] == row for value, row in before.items() if value in after and row <= cap)
    newcomers = sorted((value for value in after if value not in before), key=lambda value: after[value])
    assert newcomers == sorted(newcomers, key=lambda value: (-counted[value], value))
    reasons = dict(growth.left_out.select("value", "reason").iter_rows())
    expected = dict.fromkeys(ranked[cap:], "max_rows") | {value: "min_count" for value in counted if value not in wanted}
    assert reasons == expected
    assert growth.rows["count"].sum() == sum(counted.values())
    assert (growth.new, growth.dropped) == (len(newcomers), len(before.keys() - after.keys()))
    return growth.rows.filter(pl.col("row") > 0).select("value", "row")
