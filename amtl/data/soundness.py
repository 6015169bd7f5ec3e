"""Which rows count: one list of offences, row by row, that scan, profile and quarantine share.

An offence looks at one column of a row that `typed` has read, never at other rows. Nulls in fields are no offence: they become
the unknown row, or the mean. A row without any offence is sound; all others are left out of everything after validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from amtl.data.columns import LISTS, PARTS, TEXTS, Column, columns, fits, is_epoch, lost, value
from amtl.params import EventsParams

FORMAT = 1
DAMAGE = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x{9F}\x{FFFD}]"
"""What broken decoding leaves in text: the replacement character and control characters (tab and line ends are none here)."""

LOST, SECOND = "(lost) {}", "(second)"
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Offence:
    """Why a row is left out.

    Attributes:
        column: the column that offends.
        kind: the figure of the profile that counts such rows.
        words: what is wrong with the value, after "COLUMN ".
        found: over the columns of `typed`, never null.
    """

    column: str
    kind: str
    words: str
    found: pl.Expr

    @property
    def reason(self) -> str:
        """Column and words."""
        return f"{self.column} {self.words}"


def typed(raw: pl.LazyFrame, events: EventsParams, types: Mapping[str, pl.DataType], day: str | None) -> pl.LazyFrame:
    """Rows of one file, or of files of the same types, as `sound` and `offences` expect them.

    Args:
        raw: the rows as they lie in the file.
        events: the declared schema.
        types: the file's types; a column that does not fit is read as null.
        day: of the partition, YYYY-MM-DD; None where no one asks how far a row is off the day.

    Returns:
        The declared columns in their declared types (the label as Float64, numbers with NaN), whether an id was lost, and
        the seconds since midnight UTC of the day. Other columns stay.
    """
    fitting = {
        column: dtype if (dtype := types.get(column.name)) is not None and fits(column.role, dtype) else None for column in columns(events)
    }
    values = [value(column, dtype).alias(column.name) for column, dtype in fitting.items()]
    losses = [lost(column, dtype).alias(LOST.format(column.name)) for column, dtype in fitting.items() if _is_integer(column)]
    seconds = [_second(column, dtype, day).alias(SECOND) for column, dtype in fitting.items() if day and column.role == "time"]
    return raw.with_columns(*values, *losses, *seconds)


def declared(events: EventsParams) -> list[pl.Expr]:
    """The declared columns of sound typed rows as everything after validation sees them: labels Int8, NaN null."""
    return [_declared(column) for column in columns(events)]


def sound(events: EventsParams) -> pl.Expr:
    """Whether a row of `typed` counts: the only place that says so."""
    return ~pl.any_horizontal(offence.found for offence in offences(events))


def reasons(events: EventsParams) -> pl.Expr:
    """All reasons why a row of `typed` is left out, joined by "; "; empty for a sound row."""
    said = [pl.when(offence.found).then(pl.lit(offence.reason)) for offence in offences(events)]
    return pl.concat_str(said, separator="; ", ignore_nulls=True)


def soundness(events: EventsParams) -> Any:
    """A JSON value of all that `sound` depends on, for the keys of what is kept about sound rows."""
    described = sorted([column.name, column.role, list(column.range or ())] for column in columns(events))
    return {"format": FORMAT, "damage": DAMAGE, "hours_off_day": events.hours_off_day if events.time else None, "columns": described}


def offences(events: EventsParams) -> list[Offence]:
    """Every offence that a row can commit under the declaration."""
    return [offence for column in columns(events) for offence in _offences(column, events.hours_off_day)]


def _declared(column: Column) -> pl.Expr:
    plain = pl.col(column.name)
    if column.role == "label":
        return plain.cast(pl.Int8)
    return plain.fill_nan(None) if column.role == "number" else plain


def _offences(column: Column, hours: float | None) -> list[Offence]:
    plain = pl.col(column.name)
    if column.role == "label":
        null = plain.is_null() | plain.is_nan().fill_null(False)
        odd = ~(plain.is_in([0.0, 1.0]).fill_null(False) | null)
        return [Offence(column.name, "nulls", "is null", null), Offence(column.name, "odd", "is neither 0 nor 1", odd)]
    if column.role == "time":
        return [_null(column.name), *([_off_day(column.name, hours)] if hours is not None else [])]
    if column.role == "number":
        infinite = Offence(column.name, "infinite", "is infinite", plain.is_infinite().fill_null(False))
        return [infinite, *([_out_of_range(column.name, *column.range)] if column.range else [])]
    if column.role == "split":
        odd = ~plain.is_in(PARTS).fill_null(True)
        return [_null(column.name), Offence(column.name, "odd", f"is none of {', '.join(PARTS)}", odd)]
    if column.role in TEXTS:
        words = "holds control characters or the replacement character"
        return [Offence(column.name, "damaged", words, any_matches(column, DAMAGE))]
    return [Offence(column.name, "unreadable", "exceeds 64 bits", pl.col(LOST.format(column.name)))]


def any_matches(column: Column, pattern: str) -> pl.Expr:
    """Whether the text of a row, or any text of its list, matches a regular expression."""
    plain = pl.col(column.name)
    if column.role in LISTS:
        return plain.list.eval(pl.element().str.contains(pattern)).list.any().fill_null(False)
    return plain.str.contains(pattern).fill_null(False)


def _null(name: str) -> Offence:
    return Offence(name, "nulls", "is null", pl.col(name).is_null())


def _off_day(name: str, hours: float) -> Offence:
    near = pl.col(SECOND).is_between(-hours * 3600, DAY_SECONDS + hours * 3600, closed="left")
    return Offence(name, "off_day", f"is more than {hours:g} hours off the day", ~near.fill_null(True))


def _out_of_range(name: str, lowest: float, highest: float) -> Offence:
    plain = pl.col(name)
    found = (plain.is_finite() & ~plain.is_between(lowest, highest)).fill_null(False)
    return Offence(name, "out_of_range", f"is out of range ({lowest:g} to {highest:g})", found)


def _is_integer(column: Column) -> bool:
    return column.role in {"integer", "integers"}


def midnight(day: str) -> float:
    """The moment (UTC, in epoch seconds) that a day YYYY-MM-DD begins at."""
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp()


def _second(column: Column, dtype: pl.DataType | None, day: str) -> pl.Expr:
    """Seconds since the day's midnight, Float64: no moment, however odd, overflows it."""
    moment = value(column, dtype)
    epoch = dtype is None or isinstance(dtype, pl.Null) or is_epoch(dtype)
    seconds = moment.cast(pl.Int64).cast(pl.Float64) if epoch else moment.dt.timestamp("us").cast(pl.Float64) / 1e6
    return seconds - midnight(day)
