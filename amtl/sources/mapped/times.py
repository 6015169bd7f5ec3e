"""Times as people write them: told from values, and read as UTC."""

from __future__ import annotations

import re
import zoneinfo

import polars as pl

from amtl.errors import DataError

UTC_MICROSECONDS = pl.Datetime("us", "UTC")

PLAIN_DAY = "%Y%m%d"
PATTERNS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y/%m/%d",
    PLAIN_DAY,
)
"""Ways to write a time that can be told apart; 01/02/2026 cannot, and needs --time-format."""

DATES = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d/%b/%Y", "%d-%b-%Y", "%d %b %Y")
CLOCKS = ("", " %H:%M", " %H:%M:%S%.f", " %I:%M %p", " %I:%M:%S %p", ":%H:%M:%S %z")
"""Days and times of day in which people write times otherwise; the user has to say which it is."""

EPOCHS = {"epoch s": 10**6, "epoch ms": 10**3, "epoch us": 1}
"""Unit of an epoch to microseconds in it."""
EARLIEST, LATEST = 315_532_800, 4_102_444_800
"""Seconds of 1980 and 2100: what lies between is taken for an epoch."""
TIME_NAMES = re.compile(r"time|date|day|epoch|hour|(^|_)(ts|at|when|dt)($|_)", re.IGNORECASE)


def told_form(values: pl.Series) -> str | None:
    """How a column's times are written: `native`, an epoch, or one of PATTERNS; None if the values are no times.

    Args:
        values: without nulls. Numbers are times if all of them lie between 1980 and 2100 in one unit.
    """
    if values.is_empty():
        return None
    if values.dtype in (pl.Date, pl.Datetime):
        return "native"
    if values.dtype == pl.String and (pattern := told_pattern(values)):
        return pattern
    numbers = values.cast(pl.Float64, strict=False) if values.dtype == pl.String or values.dtype.is_numeric() else values.clear()
    return None if numbers.is_empty() or numbers.null_count() else _told_epoch(numbers)


def told_pattern(text: pl.Series) -> str | None:
    """The one of PATTERNS in which all values of a text column are written; None if there is none."""
    few = text.head(20)
    return next((one for one in PATTERNS if not _unread(few, one) and not _unread(text, one)), None)


def possible_patterns(text: pl.Series) -> list[str]:
    """Patterns of DATES and CLOCKS in which all values of a text column could be written."""
    few = text.head(20)
    if few.is_empty() or not few.str.contains(r"^[0-9]{1,2}[/. -][0-9A-Za-z]{1,3}[/. -][0-9]{2}").all():
        return []
    forms = (date + clock for date in DATES for clock in CLOCKS)
    return [form for form in forms if not _unread(few, form) and not _unread(text, form)]


def unlike(text: pl.Series) -> str | None:
    """The first value of a text column that is not written like the first ones, where those and most others are times."""
    pattern = next((one for one in PATTERNS if one != PLAIN_DAY and not _unread(text.head(20), one)), None)
    if text.is_empty() or pattern is None or not 0 < _unread(text, pattern) < len(text) / 2:
        return None
    return text.to_frame("value").filter(to_utc(pl.col("value"), pattern, strict=False).is_null()).item(0, 0)


def _unread(values: pl.Series, form: str) -> int:
    return values.to_frame("value").select(to_utc(pl.col("value"), form, strict=False)).to_series().null_count()


def to_utc(column: pl.Expr, form: str, zone: str | None = None, dtype: pl.DataType | None = None, strict: bool = True) -> pl.Expr:
    """A column as Datetime in microseconds, UTC.

    Args:
        column: text for a pattern, numbers or text for an epoch, Date or Datetime for `native`.
        form: see `told_form`, or any other chrono pattern.
        zone: where the clock hung that wrote times without a zone; None for UTC. Of the hour that autumn repeats, the first is taken.
        dtype: the column's type, where the form is `native`.
        strict: fail on a value that is not of the form; else it becomes null.
    """
    if form in EPOCHS:
        return _from_epoch(column, EPOCHS[form], strict)
    if form == "native" and isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return column.dt.convert_time_zone("UTC").cast(UTC_MICROSECONDS)
    if form == "native":
        return _placed(column.cast(pl.Datetime("us")), zone)
    time = column.cast(pl.String).str.to_datetime(form, time_unit="us", strict=strict)
    return time if re.search("%[#:]*z|%[+]", form) else _placed(time, zone)


def check_zone(zone: str | None) -> None:
    """Refuse a time zone that does not exist.

    Raises:
        DataError: no such zone.
    """
    try:
        zoneinfo.ZoneInfo(zone or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise DataError(f"--time-zone {zone} is no time zone; give a name such as Europe/Berlin or UTC") from None


def _from_epoch(column: pl.Expr, microseconds: int, strict: bool) -> pl.Expr:
    """Whole numbers exactly, others to the microsecond."""
    whole = column.cast(pl.Int64, strict=False) * microseconds
    broken = (column.cast(pl.Float64, strict=strict) * microseconds).round().cast(pl.Int64, strict=strict)
    exact = pl.when(column.cast(pl.Float64, strict=False) % 1 == 0).then(whole).otherwise(broken)
    return exact.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _placed(local: pl.Expr, zone: str | None) -> pl.Expr:
    if zone in (None, "UTC"):
        return local.dt.replace_time_zone("UTC")
    return local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def _told_epoch(numbers: pl.Series) -> str | None:
    low, high = numbers.min(), numbers.max()
    for form, microseconds in EPOCHS.items():
        a_second = 10**6 // microseconds
        if EARLIEST * a_second <= low and high <= LATEST * a_second:  # type: ignore[operator]
            return form
    return None
