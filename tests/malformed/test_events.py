"""Events as they come from broken pipelines: each defect is refused by its name, or accepted by a written rule.

Great Expectations takes seconds to start, so each run judges many days, one defect a day.
"""

import json
from datetime import UTC, date, datetime, timedelta

import days
import polars as pl
import pytest

from amtl.data import events as ev
from amtl.errors import ValidationError
from amtl.params import ValidateParams
from amtl.validation import history
from amtl.validation.skipped import SkippedDays
from amtl.validation.suite import Suite
from amtl.validation.validate import validate

ROWS = 200
FIRST = pl.int_range(pl.len()) < 1
HALF = pl.int_range(pl.len()) % 2 == 0
NOTHING = "every value is null"

REFUSED = {
    "empty": (lambda frame: frame.clear(), "", "0 rows"),
    "too few rows": (lambda frame: frame.head(9), "", "9 rows; at least 10"),
    "all-null id": (lambda frame: frame.with_columns(user=pl.lit(None, pl.Int64)), "user", NOTHING),
    "all-null of type Null": (lambda frame: frame.with_columns(user=pl.lit(None)), "user", NOTHING),
    "all-null optional": (lambda frame: frame.with_columns(item=pl.lit(None, pl.String)), "item", NOTHING),
    "all-NaN": (lambda frame: frame.with_columns(price=float("nan")), "price", NOTHING),
    "empty lists": (lambda frame: frame.with_columns(tags=pl.lit([], pl.List(pl.String))), "tags", NOTHING),
    "all-null time": (lambda frame: frame.with_columns(at=pl.lit(None, pl.Datetime("us", "UTC"))), "at", NOTHING),
    "half null": (lambda frame: frame.with_columns(user=pl.when(HALF).then("user")), "user", "50.0% are null; at most 40.0%"),
    "null labels": (
        lambda frame: frame.with_columns(click=pl.when(HALF).then("click")),
        "",
        "100 of 200 rows (50.00%) are not sound: click is null in 100",
    ),
    "null times": (lambda frame: frame.with_columns(at=pl.when(HALF).then("at")), "", "not sound: at is null in 100"),
    "labels of 2": (
        lambda frame: frame.with_columns(click=pl.when(HALF).then(2).otherwise("click")),
        "",
        "click is neither 0 nor 1 in 100",
    ),
    "labels of -1": (
        lambda frame: frame.with_columns(click=pl.when(HALF).then(-1).otherwise("click")),
        "",
        "click is neither 0 nor 1 in 100",
    ),
    "labels of .5": (
        lambda frame: frame.with_columns(click=pl.when(HALF).then(0.5).otherwise("click")),
        "",
        "click is neither 0 nor 1 in 100",
    ),
    "three bad labels": (
        lambda frame: frame.with_columns(click=pl.when(pl.int_range(pl.len()) < 3).then(2).otherwise("click")),
        "",
        "3 of 200 rows (1.50%) are not sound: click is neither 0 nor 1 in 3; at most 1.00% may be",
    ),
    "all labels 0": (lambda frame: frame.with_columns(click=0), "click", "0.00% of labels are 1; validate.label_rate starts at 5.00%"),
    "all labels 1": (lambda frame: frame.with_columns(click=1), "click", "100.00% of labels are 1; validate.label_rate ends at 95.00%"),
    "label as text": (lambda frame: frame.with_columns(pl.col("click").cast(pl.String)), "click", "type String does not hold"),
    "missing id": (lambda frame: frame.drop("user"), "user", "missing in 1 file"),
    "missing label": (lambda frame: frame.drop("click"), "click", "missing in 1 file"),
    "renamed": (lambda frame: frame.rename({"tags": "Tags"}), "tags", "missing in 1 file(s) (was it renamed to Tags?)"),
    "integer to text": (lambda frame: frame.with_columns(pl.col("user").cast(pl.String)), "user", "type String does not hold"),
    "integer to float": (lambda frame: frame.with_columns(pl.col("user").cast(pl.Float64)), "user", "type Float64 does not hold"),
    "text to integer": (lambda frame: frame.with_columns(item=7), "item", "type Int32 does not hold"),
    "list to scalar": (lambda frame: frame.with_columns(tags=pl.lit("a")), "tags", "type String does not hold"),
    "time as text": (lambda frame: frame.with_columns(pl.col("at").cast(pl.String)), "at", "type String does not hold"),
    "2^63": (
        lambda frame: frame.with_columns(user=pl.when(HALF).then(2**63).otherwise(1).cast(pl.UInt64)),
        "",
        "user exceeds 64 bits in 100",
    ),
    "infinite": (lambda frame: frame.with_columns(price=pl.when(HALF).then(float("inf")).otherwise(1.0)), "", "price is infinite in 100"),
    "out of range": (
        lambda frame: frame.with_columns(price=pl.when(HALF).then(-1.0).otherwise(1.0)),
        "",
        "price is out of range (0 to 100) in 100",
    ),
    "several offences": (
        lambda frame: frame.with_columns(price=pl.when(HALF).then(-1.0).otherwise(1.0), click=pl.when(FIRST).then(2).otherwise("click")),
        "",
        "100 of 200 rows (50.00%) are not sound: price is out of range (0 to 100) in 100, click is neither 0 nor 1 in 1",
    ),
    "future": (
        lambda frame: frame.with_columns(at=pl.lit(datetime(2999, 1, 1, tzinfo=UTC))),
        "",
        "at is more than 24 hours off the day in 200",
    ),
    "milliseconds for seconds": (
        lambda frame: frame.with_columns(at=pl.col("at").dt.timestamp("ms")),
        "",
        "at is more than 24 hours off the day in 200",
    ),
    "another day's events": (lambda frame: frame.with_columns(pl.col("at") + pl.duration(days=3)), "", "off the day in 200"),
    "replacement characters": (lambda frame: frame.with_columns(item=pl.lit("caf\ufffd")), "", "item holds control characters"),
    "control characters": (lambda frame: frame.with_columns(tags=pl.lit(["a", "\x00"])), "", "tags holds control characters"),
    "delivered twice": (
        lambda frame: pl.concat([frame, frame]),
        "",
        "50.0% of rows repeat an earlier one; see that it was not delivered twice",
    ),
    "two time zones": (
        lambda frame: [frame.head(100), frame.tail(100).with_columns(pl.col("at").dt.convert_time_zone("Asia/Tokyo"))],
        "at",
        "the day's times are of 2 kinds (Asia/Tokyo, UTC); write all in one time zone",
    ),
    "zone and none": (
        lambda frame: [frame.head(100), frame.tail(100).with_columns(pl.col("at").dt.replace_time_zone(None))],
        "at",
        "the day's times are of 2 kinds (UTC, no zone)",
    ),
    "seconds and dates": (
        lambda frame: [frame.head(100), frame.tail(100).with_columns(pl.col("at").dt.epoch("s"))],
        "at",
        "the day's times are of 2 kinds (UTC, epoch seconds)",
    ),
}
DAMAGED = {
    "0 bytes": lambda content: b"",
    "cut short": lambda content: content[:-10],
    "no Parquet": lambda content: b"user,item\n1,2\n" * 9,
}
ACCEPTED = {
    "as declared": lambda frame: frame,
    "extra column": lambda frame: frame.with_columns(extra=pl.lit("x")),
    "other order": lambda frame: frame.select(pl.all().reverse()),
    "optional missing": lambda frame: frame.drop("item", "price"),
    "narrow types": lambda frame: frame.with_columns(pl.col("user").cast(pl.Int16), pl.col("click").cast(pl.Boolean)),
    "categories": lambda frame: frame.with_columns(pl.col("item").cast(pl.Categorical)),
    "whole numbers": lambda frame: frame.with_columns(price=7),
    "negative ids": lambda frame: frame.with_columns(-pl.col("user") - 1),
    "largest id": lambda frame: frame.with_columns(user=2**63 - 1),
    "another zone": lambda frame: frame.with_columns(pl.col("at").dt.convert_time_zone("Asia/Tokyo")),
    "no zone": lambda frame: frame.with_columns(pl.col("at").dt.replace_time_zone(None)),
    "the evening before": lambda frame: frame.with_columns(pl.col("at") - pl.duration(hours=10)),
    "few labels, all 1": lambda frame: frame.head(12).with_columns(click=1),
    "odd text": lambda frame: frame.with_columns(item=pl.lit("{value}\t'x' 😀")),
}
WARNED = {
    "half of an optional field": (lambda frame: frame.with_columns(item=pl.when(HALF).then("item")), "item", "are null; more than usual"),
    "NaN": (lambda frame: frame.with_columns(price=pl.when(FIRST).then(float("nan")).otherwise(1.0)), "price", "1 values are NaN"),
    "mojibake": (lambda frame: frame.with_columns(item=pl.lit("cafÃ©")), "item", "200 texts look like UTF-8 read in another encoding"),
    "a fifth repeats": (lambda frame: pl.concat([frame, frame.head(50)]), "", "20.0% of rows repeat an earlier one"),
}
LEFT_OUT = {
    "a null label": (lambda frame: frame.with_columns(click=pl.when(~FIRST).then("click")), "click", "1 values are null; those rows"),
    "a label of 2": (
        lambda frame: frame.with_columns(click=pl.when(FIRST).then(2).otherwise("click")),
        "click",
        "1 labels are neither 0 nor 1",
    ),
    "a null time": (lambda frame: frame.with_columns(at=pl.when(~FIRST).then("at")), "at", "1 values are null"),
    "a time traveller": (
        lambda frame: frame.with_columns(at=pl.when(FIRST).then(pl.lit(datetime(1970, 1, 1, tzinfo=UTC))).otherwise("at")),
        "at",
        "1 times are too far off the day",
    ),
    "a 2^63": (
        lambda frame: frame.with_columns(user=pl.when(FIRST).then(2**63).otherwise("user").cast(pl.UInt64)),
        "user",
        "1 values exceed 64 bits",
    ),
    "an infinity": (
        lambda frame: frame.with_columns(price=pl.when(FIRST).then(float("-inf")).otherwise(1.0)),
        "price",
        "1 values are infinite",
    ),
    "a price of -1": (
        lambda frame: frame.with_columns(price=pl.when(FIRST).then(-1.0).otherwise(1.0)),
        "price",
        "1 values are out of range (-1 to 1 seen, 0 to 100 is declared)",
    ),
    "a replacement character": (
        lambda frame: frame.with_columns(tags=pl.when(FIRST).then(["a", "\ufffd"]).otherwise("tags")),
        "tags",
        "1 texts hold control or replacement characters",
    ),
}


def plain(day):
    """A day without any defect or warning: no missing price."""
    return days.frame(ROWS, day).with_columns(price=pl.lit(5.0), tags=pl.lit(["a"]), item=pl.lit("item"), click=pl.int_range(ROWS) % 2)


def day_name(day):
    return str(date(2026, 1, 1) + timedelta(days=day))


def judge(root):
    """Judge the days each by itself, not beside the ones before it: tests/unit/data/test_history.py does that."""
    params = ValidateParams(min_rows=10, max_null_share=0.4, label_rate=(0.05, 0.95))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "compare", lambda profile, preceding: profile)
        return validate(ev.partitions(root / "events"), SkippedDays(), Suite(), days.events(), params, root / "cache", root / "build")


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """Defect to what is said of its day."""
    root, said = tmp_path_factory.mktemp("refused"), {}
    for day, (name, (spoil, _, _)) in enumerate(REFUSED.items()):
        spoilt = spoil(plain(day))
        for number, rows in enumerate(spoilt if isinstance(spoilt, list) else [spoilt]):
            days.write(root / "events", day, rows, f"{number}.parquet")
        said[name] = day_name(day)
    with pytest.raises(ValidationError):
        judge(root)
    assert not (root / "build" / "accepted.json").exists()
    assert (root / "build" / "data_docs" / "index.html").exists()
    report = json.loads((root / "build" / "report.json").read_text())
    assert report["refused"] == list(said.values())
    return {name: [problem for problem in report["problems"] if problem.startswith(day)] for name, day in said.items()}


@pytest.mark.parametrize("name", REFUSED)
def test_a_defect_is_refused_by_day_and_column(refusals, name):
    _, column, text = REFUSED[name]
    where = f" column {column}: " if column else ": "
    assert any(where in problem and text in problem for problem in refusals[name]), refusals[name]


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_but_the_spoilt_column_is_blamed(refusals, name):
    column = REFUSED[name][1]
    assert all(f"column {column}:" in problem or f"not sound: {column} " in problem for problem in refusals[name] if column)


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_file_that_is_no_parquet_is_refused_by_its_name(tmp_path, damage):
    path = days.write(tmp_path / "events", 0, days.frame(ROWS))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValidationError, match=r"2026-01-01: .*events\.parquet cannot be read as Parquet"):
        judge(tmp_path)


def test_what_only_looks_odd_is_accepted_and_what_deserves_it_warned_about(tmp_path):
    told = {**{name: (change, None, None) for name, change in ACCEPTED.items()}, **WARNED, **LEFT_OUT}
    for day, (change, _, _) in enumerate(told.values()):
        days.write(tmp_path / "events", day, change(plain(day)))
    report = judge(tmp_path)
    assert len(report["validated"]) == len(told)
    assert report["extra_columns"] == ["extra"]
    said = {name: [warning for warning in report["warnings"] if warning.startswith(day_name(day))] for day, name in enumerate(told)}
    for name, (_, column, text) in told.items():
        where = f" column {column}: " if column else ": "
        assert [where in warning and text in warning for warning in said[name]] == ([True] if text else []), said[name]
    assert len(report["quarantined"]) == len(LEFT_OUT)
    frame = ev.collect(ev.scan(ev.partitions(tmp_path / "events"), days.events()))
    assert len(frame) == sum(report["rows"].values()) == ROWS * len(told) + 12 - ROWS + 50 - len(LEFT_OUT)
    assert "{value}\t'x' 😀" in set(frame["item"])
