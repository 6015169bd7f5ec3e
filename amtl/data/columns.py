"""The declared columns of events, and the types of a file that hold them.

Types that do not hold the declared values exactly are refused, not bent:

    declared           accepted in a file                    becomes
    id/ids integer     integers (in lists for ids)           Int64
    id/ids string      String, Categorical, Enum             String
    number             integers, floats, Decimal, Boolean    Float64
    label              integers, floats, Boolean of 0 and 1  Float64, and Int8 once only 0 and 1 are left
    time               Datetime, Date (UTC where no zone)    Datetime in microseconds, UTC
                       integers (epoch seconds)              Int64
    split column       String, Categorical, Enum             String
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from amtl.params import EventsParams, FieldParams

Role = Literal["integer", "string", "integers", "strings", "number", "label", "time", "split"]

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
"""The parts of a split, and the words that a split column may hold."""

UTC_MICROSECONDS = pl.Datetime("us", "UTC")
TARGETS: dict[Role, pl.DataType] = {
    "integer": pl.Int64(),
    "string": pl.String(),
    "integers": pl.List(pl.Int64()),
    "strings": pl.List(pl.String()),
    "number": pl.Float64(),
    "label": pl.Float64(),
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
LISTS: tuple[Role, ...] = ("integers", "strings")
TEXTS: tuple[Role, ...] = ("string", "strings")
SMALLER = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
"""Integer types all of whose values are 64-bit signed ones."""


@dataclass(frozen=True)
class Column:
    """A declared column: what it is for decides which types it may have."""

    name: str
    role: Role
    optional: bool = False
    range: tuple[float, float] | None = None


def columns(events: EventsParams) -> tuple[Column, ...]:
    """The declared columns: fields in declared order, then label, time and split column where there are such."""
    fields = [column_of(field) for field in events.fields]
    time = [Column(events.time, "time")] if events.time else []
    split = [Column(events.split.column, "split")] if events.split.column else []
    return (*fields, Column(events.label, "label"), *time, *split)


def column_of(field: FieldParams) -> Column:
    """The column of a field."""
    role: Role = "number" if field.kind == "number" else _id_role(field.kind, field.type)
    return Column(field.name, role, field.optional, field.range)


def fits(role: Role, dtype: pl.DataType) -> bool:
    """Whether a file's type holds values of the role exactly. A column of only nulls (type Null) fits every role."""
    if isinstance(dtype, pl.Null):
        return True
    if role in LISTS:
        inner = inner_type(dtype)
        return inner is not None and fits("integer" if role == "integers" else "string", inner)
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


def value(column: Column, dtype: pl.DataType | None) -> pl.Expr:
    """The column of a file in its declared type, null where that cannot hold a value; a missing one is null in every row."""
    if dtype is None or isinstance(dtype, pl.Null):
        return pl.lit(None, TARGETS[column.role]).alias(column.name)
    raw = pl.col(column.name)
    if column.role == "time":
        return _time(raw, dtype)
    if isinstance(dtype, pl.Array):
        raw = raw.arr.to_list()
    return raw.cast(TARGETS[column.role], strict=False)


def lost(column: Column, dtype: pl.DataType | None) -> pl.Expr:
    """Whether a row of a file holds an id that the declared type cannot: one that exceeds 64 bits."""
    inner = inner_type(dtype) if column.role in LISTS else dtype
    if column.role not in {"integer", "integers"} or inner is None or isinstance(inner, (pl.Null, *SMALLER)):
        return pl.lit(False)
    raw, read = pl.col(column.name), value(column, dtype)
    if column.role == "integer":
        return raw.is_not_null() & read.is_null()
    raw = raw.arr.to_list() if isinstance(dtype, pl.Array) else raw
    return (raw.list.drop_nulls().list.len() > read.list.drop_nulls().list.len()).fill_null(False)


def inner_type(dtype: pl.DataType | None) -> pl.DataType | None:
    """The type of a list's values; None for a type that is no list."""
    inner: pl.DataType | None = getattr(dtype, "inner", None) if isinstance(dtype, pl.List | pl.Array) else None
    return inner


def is_epoch(dtype: pl.DataType) -> bool:
    """Whether a time column of this type holds epoch seconds."""
    return dtype.is_integer()


def _id_role(kind: str, type_: str) -> Role:
    if kind == "ids":
        return "integers" if type_ == "integer" else "strings"
    return "integer" if type_ == "integer" else "string"


def _time(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if is_epoch(dtype):
        return raw.cast(pl.Int64, strict=False)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return raw.dt.convert_time_zone("UTC").cast(UTC_MICROSECONDS, strict=False)
    return raw.cast(pl.Datetime("us"), strict=False).dt.replace_time_zone("UTC")
