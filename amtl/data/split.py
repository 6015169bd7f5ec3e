"""Which events train, which choose (validation) and which judge (test): by time, by a hash, or by a column.

A split by time has bounds, found exactly; only the partitions that a bound may lie in are read for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import polars as pl

from amtl.data.columns import PARTS as PARTS
from amtl.data.columns import TARGETS, columns
from amtl.data.columns import Part as Part
from amtl.data.events import Partition, collect, scan
from amtl.errors import DataError
from amtl.params import EventsParams

Moment = datetime | int


@dataclass(frozen=True)
class TimeRange:
    """Rows of a partition, and the first and last moment among them (None without rows)."""

    rows: int
    first: Moment | None
    last: Moment | None

    def to_json(self) -> dict[str, str | int | None]:
        """A JSON value: datetimes as ISO text, epoch seconds as they are."""
        return {"rows": self.rows, "first": _moment_to_json(self.first), "last": _moment_to_json(self.last)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TimeRange:
        """The inverse of `to_json`."""
        return cls(value["rows"], _moment_from_json(value["first"]), _moment_from_json(value["last"]))


@dataclass(frozen=True)
class SplitBounds:
    """For split kind time: the first moments of validation (if it goes by time) and of test; else None.

    A moment is a datetime in UTC, or epoch seconds.
    """

    validation_from: Moment | None = None
    test_from: Moment | None = None

    def to_json(self) -> dict[str, str | int | None]:
        """A JSON value: datetimes as ISO text, epoch seconds as they are."""
        return {"validation_from": _moment_to_json(self.validation_from), "test_from": _moment_to_json(self.test_from)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SplitBounds:
        """The inverse of `to_json`."""
        return cls(_moment_from_json(value["validation_from"]), _moment_from_json(value["test_from"]))


def time_range(part: Partition, events: EventsParams) -> TimeRange:
    """Rows and first and last moment of a partition's sound rows; reads its whole time column."""
    time = pl.col(str(events.time))
    extent = scan([part], events).select(pl.len(), time.min().alias("first"), time.max().alias("last"))
    return TimeRange(*collect(extent).row(0))


def split_bounds(parts: Sequence[Partition], events: EventsParams, ranges: Sequence[TimeRange] | None = None) -> SplitBounds:
    """Where test and, if it goes by time, validation begin, exactly.

    Test is the newest `test` share of all rows, validation the newest `validation` share (of all rows) before it. Rows of
    the same moment as the oldest of a part go with it, as one block.

    Args:
        parts: the partitions; with split kind time, only those that a bound may lie in are read.
        events: names the time column and the shares; for other kinds of split there are no bounds.
        ranges: `time_range` of each partition, if known already.

    Raises:
        DataError: too few distinct moments for three parts that all hold rows.
    """
    if events.split.kind != "time":
        return SplitBounds()
    ranges = [time_range(part, events) for part in parts] if ranges is None else ranges
    held = [(part, extent) for part, extent in zip(parts, ranges, strict=True) if extent.rows]
    total = sum(extent.rows for _, extent in held)
    test = max(round(total * events.split.test), 1)
    validation = max(round(total * events.split.validation), 1)
    test_from = _nth_newest(held, events, test) if test <= total else None
    validation_from = None
    before = total - rows_from(held, events, test_from) if test_from is not None else 0
    if before and events.split.validation_by == "time":
        validation_from = _nth_newest(held, events, total - before + min(validation, before))
    if not before or (validation_from is not None and rows_from(held, events, validation_from) == total):
        raise DataError(f"{total} rows are too few, or too many share one {events.time}, for train, validation and test; add events")
    return SplitBounds(validation_from, test_from)


def rows_from(held: Sequence[tuple[Partition, TimeRange]], events: EventsParams, moment: Moment) -> int:
    """Rows at or after a moment; only partitions that the moment cuts are read."""
    extents: list[Any] = [extent for _, extent in held]
    whole = sum(int(extent.rows) for extent in extents if extent.first >= moment)
    cut = [part for (part, _), extent in zip(held, extents, strict=True) if extent.first < moment <= extent.last]
    if not cut:
        return whole
    return whole + int(collect(scan(cut, events).select((pl.col(str(events.time)) >= moment).sum())).item())


def membership(events: EventsParams, bounds: SplitBounds, part: Part) -> pl.Expr:
    """Whether a row belongs to a part of the split; every row belongs to exactly one."""
    split = events.split
    if split.kind == "column":
        return pl.col(str(split.column)) == part
    if split.kind == "random":
        position = _content_hash(events)
        test, validation = _hash_below(split.test), _hash_below(split.test + split.validation)
        return {"test": position < test, "validation": (position >= test) & (position < validation), "train": position >= validation}[part]
    if bounds.test_from is None:
        raise DataError("the split by time has no bounds; run the stage count, which makes build/count/split.json")
    time = pl.col(str(events.time))
    older = time < pl.lit(bounds.test_from)
    if part == "test":
        return ~older
    held_out = held_out_by_hash(events) if bounds.validation_from is None else time >= pl.lit(bounds.validation_from)
    return older & (held_out if part == "validation" else ~held_out)


def held_out_by_hash(events: EventsParams) -> pl.Expr:
    """Under a split by time with validation by hash: whether a row validates if it is older than test."""
    return _content_hash(events) < _hash_below(events.split.validation / (1 - events.split.test))


def provenance(events: EventsParams, bounds: SplitBounds) -> dict[str, Any]:
    """What decides which rows are test rows, as JSON; a bundle carries it."""
    split = events.split
    decides: dict[str, Any] = {
        "time": {"column": events.time, "test_from": bounds.to_json()["test_from"]},
        "random": {"seed": split.seed, "test": split.test, "hashed": _hashed(events), "probe": hash_probe(events)},
        "column": {"column": split.column},
    }
    return {"kind": split.kind, **decides[split.kind]}


def overlap(then: Any, now: dict[str, Any]) -> str | None:
    """Why a model trained under the split `then` may have trained on rows that are test rows under `now`; None if it cannot.

    Args:
        then, now: as `provenance` gives them; anything else was made by an unknown split.
    """
    if not isinstance(then, dict) or then.get("kind") != now["kind"]:
        return "it was trained under another kind of split"
    if now["kind"] == "random":
        same = all(then.get(key) == now[key] for key in ("seed", "hashed", "probe")) and then["test"] >= now["test"]
        return None if same else "it was trained under a random split by another seed, share, set or type of fields, or by another hash"
    if then["column"] != now["column"]:
        return "it was trained under a split by another column"
    if now["kind"] == "time" and isinstance(then["test_from"], str) != isinstance(now["test_from"], str):
        return f"it was trained under a split by another type of {now['column']}"
    if now["kind"] == "time" and then["test_from"] > now["test_from"]:
        return f"it was trained on rows up to {then['test_from']}, and test begins at {now['test_from']}"
    return None


def select(frame: pl.LazyFrame, events: EventsParams, bounds: SplitBounds, part: Part) -> pl.LazyFrame:
    """The rows of a part of the split; the three parts are disjoint and complete.

    Kind random goes by a hash of the row's content (fields and time, not the label, which may be corrected later) and the
    seed: equal rows fall together, and a row stays in its part when data grow. Kind column compares the column with the
    part's name.
    """
    return frame.filter(membership(events, bounds, part))


def _nth_newest(held: Sequence[tuple[Partition, TimeRange]], events: EventsParams, n: int) -> Moment:
    """The moment of the n-th newest row (n from 1). Only partitions that can hold it are read.

    At least n rows are no older than `low`, fewer than n are newer than `high`: so it lies between them. Partitions that
    begin after `high` count whole, partitions that end before `low` not at all.
    """
    extents: list[Any] = [extent for _, extent in held]
    low = max(e.first for e in extents if sum(other.rows for other in extents if other.first >= e.first) >= n)
    high = min(e.last for e in extents if sum(other.rows for other in extents if other.last > e.last) < n)
    newer = sum(e.rows for e in extents if e.first > high)
    inside = [part for (part, _), e in zip(held, extents, strict=True) if e.last >= low and e.first <= high]
    found: Moment = collect(scan(inside, events).select(pl.col(str(events.time)).top_k(n - newer).min())).item()
    return found


@lru_cache(maxsize=8)
def hash_probe(events: EventsParams) -> str:
    """The hash of a made-up row: another one means that rows are dealt anew, be it for the fields' types or for how polars hashes."""
    row = pl.DataFrame({column.name: _seven(TARGETS[column.role]) for column in columns(events) if column.name in _hashed(events)})
    return str(row.select(_content_hash(events)).item())


def _seven(dtype: pl.DataType) -> pl.Series:
    """7 as a column of one row; a list of it for lists."""
    return pl.Series([7]).cast(dtype.inner).implode() if isinstance(dtype, pl.List) else pl.Series([7]).cast(dtype)


def _content_hash(events: EventsParams) -> pl.Expr:
    """UInt64 of fields and time, by name, so that the declared order does not matter."""
    return pl.struct(_hashed(events)).hash(seed=events.split.seed)


def _hashed(events: EventsParams) -> list[str]:
    return sorted([field.name for field in events.fields] + ([events.time] if events.time else []))


def _hash_below(share: float) -> pl.Expr:
    """The hash below which the given share of all hashes lies."""
    return pl.lit(min(int(share * 2**64), 2**64 - 1), pl.UInt64)


def _moment_to_json(moment: Moment | None) -> str | int | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment


def _moment_from_json(value: str | int | None) -> Moment | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
