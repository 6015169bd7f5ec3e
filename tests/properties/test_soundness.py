"""The scan yields exactly the rows that a naive loop calls sound, and the quarantine holds all others."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import days
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from amtl.data import events as ev
from amtl.validation import quarantine
from amtl.validation.profile import DAY, profile

START = datetime(2026, 1, 1, tzinfo=UTC)
TEXT = st.sampled_from(["item", "", "a\tb\n", "é😀", "\x00", "a\x1fb", "\x7f", "\x85", "caf\ufffd", None])
ROW = st.fixed_dictionaries(
    {
        "user": st.one_of(st.none(), st.integers(0, 9), st.sampled_from([2**63 - 1, 2**63, 2**64 - 1])),
        "item": TEXT,
        "tags": st.one_of(st.none(), st.lists(TEXT, max_size=3)),
        "price": st.sampled_from([None, float("nan"), float("inf"), float("-inf"), -0.001, 0.0, 50.0, 100.0, 100.001]),
        "click": st.sampled_from([0.0, 1.0, 0.0, 1.0, 2.0, -1.0, 0.5, None, float("nan"), float("inf")]),
        "at": st.one_of(
            st.none(), st.sampled_from([-24.001, -24, 0, 12, 47.999, 48, 9000]).map(lambda hours: START + timedelta(hours=hours))
        ),
    }
)
TYPES = {
    "user": pl.UInt64,
    "item": pl.String,
    "tags": pl.List(pl.String),
    "price": pl.Float64,
    "click": pl.Float64,
    "at": pl.Datetime("us", "UTC"),
}


def damaged(text):
    return text is not None and any(
        letter == "\ufffd" or (letter not in "\t\n\r" and (ord(letter) < 32 or 127 <= ord(letter) < 160)) for letter in text
    )


def is_sound(row):
    """The rule, said once more, value by value."""
    price, first, last = row["price"], START - timedelta(hours=24), START + timedelta(hours=48)
    return (
        (row["user"] is None or row["user"] < 2**63)
        and not damaged(row["item"])
        and not any(map(damaged, row["tags"] or []))
        and (price is None or price != price or 0 <= price <= 100)
        and row["click"] in (0.0, 1.0)
        and row["at"] is not None
        and first <= row["at"] < last
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(ROW, min_size=1, max_size=12), min_size=1, max_size=3))
def test_scan_and_quarantine_share_the_rows_by_the_rule(files):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, rows in enumerate(files):
            days.write(folder / "events", 0, pl.DataFrame(rows, schema=TYPES), f"{number}.parquet")
        (part,) = ev.partitions(folder / "events")
        scanned = ev.collect(ev.scan([part], days.events()))
        quarantine.write(part, days.events(), folder / "quarantine.parquet")
        left_out = pl.read_parquet(folder / "quarantine.parquet")
        figures = profile(part, days.events()).lines.row(0, named=True)
    numbered = [(f"{number}.parquet", index, row) for number, rows in enumerate(files) for index, row in enumerate(rows)]
    sound = [row for _, _, row in numbered if is_sound(row)]
    assert scanned["item"].to_list() == [row["item"] for row in sound]
    assert scanned["user"].to_list() == [row["user"] for row in sound]
    assert scanned["click"].to_list() == [int(row["click"]) for row in sound]
    assert scanned["price"].to_list() == [None if row["price"] != row["price"] else row["price"] for row in sound]
    assert left_out.select("file", "row").rows() == [(file, index) for file, index, row in numbered if not is_sound(row)]
    assert all(left_out["reason"].str.len_chars() > 0)
    assert (figures["column"], figures["rows"], figures["quarantined"]) == (DAY, len(numbered), len(left_out))
