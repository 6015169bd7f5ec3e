"""Seconds since 1970 as UTC times, and the day and hour that the clock of a place shows then."""

from __future__ import annotations

import polars as pl

BEIJING = "Asia/Shanghai"


def utc(seconds: pl.Expr) -> pl.Expr:
    """Seconds since 1970 as a datetime in microseconds, UTC."""
    return pl.from_epoch(seconds, time_unit="s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def day(time: pl.Expr, zone: str = "UTC") -> pl.Expr:
    """YYYY-MM-DD of a datetime, on the clock of `zone`."""
    return time.dt.convert_time_zone(zone).dt.date().cast(pl.String)


def hour(time: pl.Expr, zone: str = "UTC") -> pl.Expr:
    """Hour of the day, 0 to 23, on the clock of `zone`."""
    return time.dt.convert_time_zone(zone).dt.hour().cast(pl.Int64)
