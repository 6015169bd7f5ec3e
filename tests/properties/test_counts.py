"""Counting by partition is counting the whole, whatever the partitions; a new day costs one day."""

from __future__ import annotations

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

from amtl.data import events as ev
from amtl.data import split as sp
from amtl.data.counts import count
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
    return days.events(split=split)


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
@settings(max_examples=15, deadline=None)
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


def test_fifty_growths_move_no_value(tmp_path):
    """Days arrive one by one, each run starts from the last one's vocabulary: rows stay, row 0 is the unknown value."""
    split = {"kind": "random", "test": 0.1, "validation": 0.1}
    events, seen, vocabulary = days.events(split=split), {}, None
    random = np.random.default_rng(0)
    for day in range(51):
        fresh = days.frame(40, day % 28, seed=day).with_columns(user=pl.Series(random.integers(0, 20 + 10 * day, 40)))
        days.write(tmp_path / "events", 0, fresh, f"{day:02d}.parquet")
        vocabulary = count(ev.partitions(tmp_path / "events"), events, CountParams(), vocabulary, tmp_path / "cache").vocabulary
        rows = {(field, value): row for field, value, row, *_ in vocabulary.frame.iter_rows()}
        assert all(rows[key] == row for key, row in seen.items())
        assert all((row == 0) == (value is None) for (_, value), row in rows.items())
        seen = rows
    assert len(seen) > 200
