"""Raw events: day partitions on disk, the declared schema, and the one scan function.

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
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Literal

import polars as pl

from amtl.errors import DataError
from amtl.files import digest_of, sha256
from amtl.params import EventsParams

Role = Literal["integer", "string", "integers", "strings", "number", "label", "time", "split"]

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


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
