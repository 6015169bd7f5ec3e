"""The rules of docs/schema.md for days whose columns change (D1, D2, ...): accepted and read as before, or refused with the page's words.

All days that must be refused are judged in one run, and all that must be accepted in another: Great Expectations is slow to start.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from days import events, frame, write

from amtl import files
from amtl.data.events import collect, partitions, scan
from amtl.errors import ValidationError
from amtl.params import ValidateParams
from amtl.validation.skipped import SkippedDays
from amtl.validation.suite import Suite
from amtl.validation.validate import validate

PAGE = Path(__file__).parents[3] / "docs" / "schema.md"
EVENTS = events()
ROWS = 60
DOCUMENTED = {
    rule: words.strip(" `") for rule, words in re.findall(r"^\| (D\d+) \|.*\|([^|]*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
}


@dataclass(frozen=True)
class Day:
    """A rule's example: what became of a good day's rows."""

    rule: str
    what: str
    change: Callable[[pl.DataFrame], pl.DataFrame]

    def __str__(self) -> str:
        return f"{self.rule} {self.what}"


def retyped(**types: pl.DataType | type[pl.DataType]) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.cast(types)


def without(*names: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.drop(names)


def with_columns(**columns: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(**columns)


WORDS = pl.Enum([f"item {number}" for number in range(12)])

ACCEPTED = [
    Day("D1", "an optional column is absent", without("item", "price")),
    Day("D2", "a column that no one declares", with_columns(colour=pl.lit("red"))),
    Day("D3", "columns in another order", lambda rows: rows.select(reversed(rows.columns))),
    Day("D7", "an integer of 16 bits", retyped(user=pl.Int16)),
    Day("D7", "an integer of 32 bits without sign", retyped(user=pl.UInt32)),
    Day("D8", "text of few words", retyped(item=pl.Categorical)),
    Day("D8", "text of stated words", retyped(item=WORDS)),
    Day("D8", "lists of text of few words", retyped(tags=pl.List(pl.Categorical))),
    Day("D12", "a number as integer", with_columns(price=pl.col("price").fill_nan(None).cast(pl.Int32))),
    Day("D12", "a number of 32 bits", retyped(price=pl.Float32)),
    Day("D12", "a number as decimal", with_columns(price=pl.col("price").fill_nan(None).cast(pl.Decimal(10, 2)))),
    Day("D14", "a label as yes and no", retyped(click=pl.Boolean)),
    Day("D14", "a label as float", retyped(click=pl.Float32)),
    Day("D16", "time in milliseconds", retyped(at=pl.Datetime("ms", "UTC"))),
]
REFUSED = [
    Day("D4", "a required column is gone", without("user")),
    Day("D5", "a required column is renamed", lambda rows: rows.rename({"user": "user_id"})),
    Day("D6", "every value is null", with_columns(item=pl.lit(None, pl.String))),
    Day("D6", "a column without a type", with_columns(item=pl.lit(None))),
    Day("D9", "integers as text", retyped(user=pl.String)),
    Day("D9", "text as integers", with_columns(item=pl.lit(7))),
    Day("D10", "whole numbers as floats", retyped(user=pl.Float64)),
    Day("D11", "single values where lists were", with_columns(tags=pl.lit("tag 1"))),
    Day("D11", "lists where single values were", with_columns(item=pl.concat_list("item"))),
    Day("D13", "numbers as text", with_columns(price=pl.lit("7.5"))),
    Day("D15", "a label as text", retyped(click=pl.String)),
    Day("D17", "time without a zone", with_columns(at=pl.col("at").dt.replace_time_zone(None))),
    Day("D17", "time in another zone", with_columns(at=pl.col("at").dt.convert_time_zone("Asia/Tokyo"))),
    Day("D17", "dates", retyped(at=pl.Date)),
    Day("D17", "epoch seconds", with_columns(at=pl.col("at").dt.epoch("s"))),
    Day("D18", "time as text", retyped(at=pl.String)),
    Day("D19", "the label is gone", without("click")),
    Day("D19", "the time is gone", without("at")),
]
FILES = "D20"


def judged(root: Path, cases: list[Day]) -> dict:
    """Deliver a good day, and after it a day for every case; judge all of them."""
    write(root / "events", 0, frame(ROWS, 0))
    for number, case in enumerate(cases, start=1):
        write(root / "events", number, case.change(frame(ROWS, number)))
    limits = ValidateParams(max_null_share=0.9)
    return validate(partitions(root / "events"), SkippedDays(), Suite(), EVENTS, limits, root / "cache", root / "validate")


def said_of_days(texts: list[str], cases: list[Day]) -> list[list[str]]:
    """What is said of each case's day."""
    return [[text for text in texts if text.startswith(f"2026-01-{number:02d}")] for number in range(2, len(cases) + 2)]


@pytest.fixture(scope="module")
def accepted(tmp_path_factory):
    """The events, what is warned of each day, and the report."""
    root = tmp_path_factory.mktemp("accepted")
    report = judged(root, ACCEPTED)
    return root, said_of_days(report["warnings"], ACCEPTED), report


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    """What is said of each day that is refused."""
    root = tmp_path_factory.mktemp("refused")
    with pytest.raises(ValidationError):
        judged(root, REFUSED)
    assert not (root / "validate" / "accepted.json").exists()
    return said_of_days(files.read_json(root / "validate" / "report.json")["problems"], REFUSED)


@pytest.mark.parametrize("number", range(len(ACCEPTED)), ids=[str(case) for case in ACCEPTED])
def test_a_day_that_is_accepted_is_read_as_before(accepted, number):
    root, warnings, report = accepted
    part = partitions(root / "events")[number + 1]
    assert part.day in report["rows"]
    words = DOCUMENTED[ACCEPTED[number].rule]
    assert any(words in text for text in warnings[number]) or not words
    found = collect(scan([part], EVENTS))
    write(root / "plain", number + 1, frame(ROWS, number + 1))
    expected = collect(scan(partitions(root / "plain")[-1:], EVENTS))
    if ACCEPTED[number].rule == "D1":
        expected = expected.with_columns(item=pl.lit(None, pl.String), price=pl.lit(None, pl.Float64))
    if ACCEPTED[number].rule == "D12":
        given = ACCEPTED[number].change(frame(ROWS, number + 1))["price"]
        expected = expected.with_columns(price=given.cast(pl.Float64).fill_nan(None))
    assert found.equals(expected)


def test_a_column_that_no_one_declares_is_reported(accepted):
    assert accepted[2]["extra_columns"] == ["colour"]


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=[str(case) for case in REFUSED])
def test_a_day_that_is_refused_is_refused_in_the_page_s_words(problems, number):
    words = DOCUMENTED[REFUSED[number].rule]
    assert len(problems[number]) == 1
    assert words in problems[number][0]


def test_files_of_one_day_may_differ_as_days_may(tmp_path):
    rows = frame(ROWS, 0)
    write(tmp_path, 0, rows[:30].drop("item").cast({"user": pl.Int32}), "a.parquet")
    write(tmp_path, 0, rows[30:].with_columns(colour=pl.lit("red")), "b.parquet")
    found = collect(scan(partitions(tmp_path), EVENTS))
    assert found["user"].to_list() == rows["user"].to_list()
    assert found["item"].to_list() == [None] * 30 + rows["item"][30:].to_list()


def test_every_rule_has_a_case():
    assert list(DOCUMENTED) == [f"D{number}" for number in range(1, len(DOCUMENTED) + 1)]
    assert set(DOCUMENTED) == {FILES, *(case.rule for case in ACCEPTED + REFUSED)}
