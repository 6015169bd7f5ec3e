"""Raw events: day partitions on disk, the declared schema, the one scan function, and the split.

A partition is a folder `date=YYYY-MM-DD` of Parquet files. `scan` is the only way in: it yields the declared columns, cast
to the declared types; columns that are not declared are left out. Types that do not hold the declared values exactly
are refused, not bent:

    declared           accepted in a file                    becomes
    id/ids integer     integers (in lists for ids)           Int64
    id/ids string      String, Categorical, Enum             String
    number             integers, floats, Decimal, Boolean    Float64, NaN to null
    label              integers, floats, Boolean of 0 and 1  Int8
    time               Datetime, Date (UTC where no zone)    Datetime in microseconds, UTC
                       integers (epoch seconds)              Int64
    split column       String, Categorical, Enum             String
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import polars as pl

from amtl.errors import DataError
from amtl.files import digest_of, sha256
from amtl.params import EventsParams

Part = Literal["train", "validation", "test"]
Role = Literal["integer", "string", "integers", "strings", "number", "label", "time", "split"]
Moment = datetime | int

PARTS: tuple[Part, ...] = ("train", "validation", "test")
UTC_MICROSECONDS = pl.Datetime("us", "UTC")
TARGETS: dict[Role, pl.DataType] = {
    "integer": pl.Int64(),
    "string": pl.String(),
    "integers": pl.List(pl.Int64()),
    "strings": pl.List(pl.String()),
    "number": pl.Float64(),
    "label": pl.Int8(),
    "time": UTC_MICROSECONDS,
    "split": pl.String(),
}
ALLOWED: dict[Role, str] = {
    "integer": "integers",
    "string": "text (String, Categorical or Enum)",
    "integers": "lists of integers",
    "strings": "lists of text (String, Categorical or Enum)",
    "number": "integers, floats, Decimal or Boolean",
    "label": "integers, floats or Boolean of 0 and 1",
    "time": "Datetime, Date or integers (epoch seconds)",
    "split": "text (String, Categorical or Enum)",
}


@dataclass(frozen=True)
class Partition:
    """One day of events.

    Attributes:
        day: such as "2026-01-31".
        path: the folder.
        digest: hex SHA-256 over the sorted files' names and contents.
        files: the Parquet files, sorted by name.
    """

    day: str
    path: Path
    digest: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Column:
    """A declared column: what it is for decides which types it may have."""

    name: str
    role: Role
    optional: bool = False
    range: tuple[float, float] | None = None


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


def partitions(root: Path) -> list[Partition]:
    """The day partitions below `root`, oldest first. Names that start with `.` or `_` are left out.

    Raises:
        DataError: there is none; a name is no day; a day holds no Parquet file, or something else; a file cannot be read.
    """
    try:
        entries = sorted(entry for entry in root.iterdir() if entry.name[0] not in "._")
        found = [_partition(entry) for entry in entries]
    except FileNotFoundError:
        raise DataError(f"{root} does not exist; make events with `amtl sample` or bring yours with `amtl ingest`") from None
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror}; check its permissions") from None
    if not found:
        raise DataError(f"{root} holds no day of events (date=YYYY-MM-DD); make some with `amtl sample` or `amtl ingest`")
    return found


def columns(events: EventsParams) -> tuple[Column, ...]:
    """The declared columns: fields in declared order, then label, time and split column where there are such."""
    fields = [
        Column(field.name, "number" if field.kind == "number" else _id_role(field.kind, field.type), field.optional, field.range)
        for field in events.fields
    ]
    time = [Column(events.time, "time")] if events.time else []
    split = [Column(events.split.column, "split")] if events.split.column else []
    return (*fields, Column(events.label, "label"), *time, *split)


def fits(role: Role, dtype: pl.DataType) -> bool:
    """Whether a file's type holds values of the role exactly. A column of only nulls (type Null) fits every role."""
    if isinstance(dtype, pl.Null):
        return True
    if role in {"integers", "strings"}:
        inner = getattr(dtype, "inner", None)
        return isinstance(dtype, pl.List | pl.Array) and inner is not None and fits("integer" if role == "integers" else "string", inner)
    if role in {"string", "split"}:
        return isinstance(dtype, pl.String | pl.Categorical | pl.Enum)
    if role == "time":
        return isinstance(dtype, pl.Datetime | pl.Date) or dtype.is_integer()
    if role == "integer":
        return dtype.is_integer()
    return dtype.is_numeric() or isinstance(dtype, pl.Boolean)


def misfit(column: Column, dtype: pl.DataType | None) -> str | None:
    """What is wrong with a column of this type (None: the column is missing), and what to do; None if it can be used."""
    if dtype is None:
        needed = None if column.optional else f"column {column.name} is missing; add it"
        return needed and (needed + (" or declare it optional: true" if column.role not in {"label", "time", "split"} else ""))
    if fits(column.role, dtype):
        return None
    return f"column {column.name} has type {dtype}, not {ALLOWED[column.role]}; write it so, or change what params.yaml: events declares"


def schema(file: Path) -> dict[str, pl.DataType]:
    """Column types of a Parquet file.

    Raises:
        DataError: the file is missing, cut short or no Parquet.
    """
    try:
        return dict(pl.scan_parquet(file, glob=False, hive_partitioning=False).collect_schema())
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{file} cannot be read as Parquet ({_first_line(error)}); write it again or remove it") from None


def scan(parts: Sequence[Partition], events: EventsParams) -> pl.LazyFrame:
    """The declared columns of the events, cast to the declared types, in order of day, file and row.

    Optional columns that a file lacks are null; NaN becomes null. A label other than 0, 1 or null fails on collecting.

    Raises:
        DataError: there is no partition; a file cannot be read; a column is missing or of a type that does not fit.
    """
    files = [file for part in parts for file in part.files]
    if not files:
        raise DataError("there are no events to read")
    runs = [(dict(key), [file for file, _ in run]) for key, run in groupby(((f, tuple(schema(f).items())) for f in files), lambda x: x[1])]
    frame = pl.concat([read(names, events, types) for types, names in runs])
    if events.time and len({_is_epoch(types[events.time]) for types, _ in runs if not isinstance(types[events.time], pl.Null)}) > 1:
        raise DataError(f"column {events.time} holds dates in some files and epoch seconds in others; write all of them alike")
    return frame


def read(files: Sequence[Path], events: EventsParams, types: dict[str, pl.DataType]) -> pl.LazyFrame:
    """`scan` for files that all have the column types `types`."""
    declared = columns(events)
    for column in declared:
        problem = misfit(column, types.get(column.name))
        if problem:
            raise DataError(f"{files[0]}: {problem}")
    raw = pl.scan_parquet(list(files), glob=False, hive_partitioning=False)
    return raw.with_columns(cast(column, types.get(column.name)) for column in declared).select(column.name for column in declared)


def cast(column: Column, dtype: pl.DataType | None) -> pl.Expr:
    """The column of a file in its declared type; a missing one as nulls. Values that do not fit fail on collecting."""
    target = TARGETS[column.role]
    if dtype is None or isinstance(dtype, pl.Null):
        return pl.lit(None, target).alias(column.name)
    raw = pl.col(column.name)
    if column.role == "label":
        return raw.cast(pl.Float64).replace_strict({0.0: 0, 1.0: 1}, return_dtype=target)
    if column.role == "number":
        return raw.cast(target).fill_nan(None)
    if column.role == "time":
        return _cast_time(raw, dtype)
    return raw.cast(target)


def collect(frame: pl.LazyFrame) -> pl.DataFrame:
    """Collect events, streaming.

    Raises:
        DataError: a file is damaged or vanished; a value does not fit its declared type.
    """
    try:
        return frame.collect(engine="streaming")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"the events cannot be read ({_first_line(error)}); run the stage validate, which names day and column") from None


def time_range(part: Partition, events: EventsParams) -> TimeRange:
    """Rows and first and last moment of a partition; reads its whole time column.

    Raises:
        DataError: a time is null.
    """
    time = pl.col(str(events.time))
    found = collect(
        scan([part], events).select(pl.len(), time.null_count().alias("nulls"), time.min().alias("first"), time.max().alias("last"))
    )
    rows, nulls, first, last = found.row(0)
    if nulls:
        raise DataError(f"{part.path}: column {events.time} is null in {nulls} rows; the split needs a time in every row")
    return TimeRange(rows, first, last)


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


def select(frame: pl.LazyFrame, events: EventsParams, bounds: SplitBounds, part: Part) -> pl.LazyFrame:
    """The rows of a part of the split; the three parts are disjoint and complete.

    Kind random goes by a hash of the row's content (fields and time, not the label, which may be corrected later) and the
    seed: equal rows fall together, and a row stays in its part when data grow. Kind column compares the column with the
    part's name.
    """
    return frame.filter(membership(events, bounds, part))


def _partition(entry: Path) -> Partition:
    day = entry.name.removeprefix("date=")
    if not entry.is_dir() or day == entry.name or not _is_day(day):
        raise DataError(f"{entry} is no day of events; a day is a folder date=YYYY-MM-DD; rename or remove it")
    files = tuple(sorted(file for file in entry.iterdir() if file.name[0] not in "._"))
    strange = [file.name for file in files if file.suffix != ".parquet" or not file.is_file()]
    if strange:
        raise DataError(f"{entry} holds {', '.join(strange[:3])}, which is no Parquet file; remove it or convert it to .parquet")
    if not files:
        raise DataError(f"{entry} holds no Parquet file; deliver the day again or remove the folder")
    return Partition(day, entry, digest_of([[file.name, sha256(file)] for file in files]), files)


def _is_day(text: str) -> bool:
    try:
        return re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) is not None and date.fromisoformat(text) is not None
    except ValueError:
        return False


def _id_role(kind: str, value: str) -> Role:
    if kind == "ids":
        return "integers" if value == "integer" else "strings"
    return "integer" if value == "integer" else "string"


def _is_epoch(dtype: pl.DataType) -> bool:
    return dtype.is_integer()


def _cast_time(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if _is_epoch(dtype):
        return raw.cast(pl.Int64)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return raw.dt.convert_time_zone("UTC").cast(UTC_MICROSECONDS)
    return raw.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


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


def _content_hash(events: EventsParams) -> pl.Expr:
    """UInt64 of fields and time, by name, so that the declared order does not matter."""
    names = sorted([field.name for field in events.fields] + ([events.time] if events.time else []))
    return pl.struct(names).hash(seed=events.split.seed)


def _hash_below(share: float) -> pl.Expr:
    """The hash below which the given share of all hashes lies."""
    return pl.lit(min(int(share * 2**64), 2**64 - 1), pl.UInt64)


def _moment_to_json(moment: Moment | None) -> str | int | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment


def _moment_from_json(value: str | int | None) -> Moment | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
