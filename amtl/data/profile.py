"""What a partition looks like, as a small table: polars reads every row once, one line a column comes out.

The table says what is there and judges nothing; `checks` says what is too much. A line's status is what the column is to events:
"required", "optional" or "never null" (label, time, split column), "extra" (not declared), or "day": the partition itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from amtl.data.events import TARGETS, Column, Partition, cast, collect, columns, fits, schema
from amtl.data.split import PARTS
from amtl.params import EventsParams

SCHEMA = pl.Schema(
    {
        "day": pl.String(),
        "column": pl.String(),
        "role": pl.String(),
        "status": pl.String(),
        "type": pl.String(),
        "missing": pl.Int64(),
        "misfit": pl.Int64(),
        "rows": pl.Int64(),
        "nulls": pl.Int64(),
        "null_share": pl.Float64(),
        "all_null": pl.Int64(),
        "nan": pl.Int64(),
        "infinite": pl.Int64(),
        "unreadable": pl.Int64(),
        "out_of_range": pl.Int64(),
        "odd": pl.Int64(),
        "lowest": pl.Float64(),
        "highest": pl.Float64(),
        "distinct": pl.Int64(),
        "label_rate": pl.Float64(),
        "label_rate_low": pl.Float64(),
        "label_rate_high": pl.Float64(),
    }
)
DAY = "(day)"
STANDARD_ERRORS = 3.0


def profile(part: Partition, events: EventsParams) -> pl.DataFrame:
    """Profile a partition.

    Returns:
        One line for the day, one a declared column, one an extra column. `missing` and `misfit` count files that lack the
        column or hold it in a type that does not fit; the figures are over the other files. `nulls` include NaN and, for
        lists, empty ones; `unreadable` are values that the declared type cannot hold; `odd` are labels that are neither
        0 nor 1, or words that name no part of the split; `label_rate_low` and `_high` bound the rate that so many labels
        can come from; `distinct` is approximate; times are in epoch seconds.

    Raises:
        DataError: a file cannot be read.
    """
    types = {file: schema(file) for file in part.files}
    declared = columns(events)
    figures = _figures(part.files, types, declared)
    lines = [{"day": part.day, "column": DAY, "status": "day", "rows": figures["rows"]}]
    lines += [{"day": part.day, **_line(position, column, list(types.values()), figures)} for position, column in enumerate(declared)]
    known = {column.name for column in declared}
    extra = sorted({name for found in types.values() for name in found} - known)
    lines += [{"day": part.day, "column": name, "status": "extra", "type": _types(name, list(types.values()))} for name in extra]
    return pl.DataFrame(lines, schema=SCHEMA)


def _figures(files: Sequence[Path], types: dict[Path, dict[str, pl.DataType]], declared: Sequence[Column]) -> dict[str, Any]:
    """All figures of all columns, in one pass over the rows: `rows`, and `POSITION/FIGURE` by the column's position."""
    frames = []
    for file in files:
        readable = [_readable(position, column, types[file].get(column.name)) for position, column in enumerate(declared)]
        raw = pl.scan_parquet(file, glob=False, hive_partitioning=False, row_index_name="(row)")
        frames.append(raw.select("(row)", *(expression for group in readable for expression in group)))
    statistics = [
        figure.alias(f"{position}/{name}")
        for position, column in enumerate(declared)
        for name, figure in _statistics(position, column).items()
    ]
    return collect(pl.concat(frames).select(pl.len().alias("rows"), *statistics)).row(0, named=True)


def _readable(position: int, column: Column, dtype: pl.DataType | None) -> list[pl.Expr]:
    """A file's column as far as it can be read, whether each value is there but not readable, and whether it counts."""
    fitting = dtype if dtype is not None and fits(column.role, dtype) else None
    value = _value(column, fitting)
    lost = pl.lit(False)
    if fitting is not None and not isinstance(fitting, pl.Null):
        raw = pl.col(column.name)
        lost = raw.is_not_null() & value.is_null()
        if column.role in {"integers", "strings"}:
            raw = raw.arr.to_list() if isinstance(fitting, pl.Array) else raw
            lost = (raw.list.drop_nulls().list.len() > value.list.drop_nulls().list.len()).fill_null(False)
    return [value.alias(f"{position}"), lost.alias(f"{position}/lost"), pl.lit(fitting is not None).alias(f"{position}/counted")]


def _value(column: Column, dtype: pl.DataType | None) -> pl.Expr:
    if dtype is None or isinstance(dtype, pl.Null):
        target = pl.Float64() if column.role in {"label", "time"} else TARGETS[column.role]
        return pl.lit(None, target)
    if column.role in {"label", "number"}:
        return pl.col(column.name).cast(pl.Float64, strict=False)
    if column.role == "time":
        moment = cast(column, dtype)
        return (moment if dtype.is_integer() else moment.dt.timestamp("us") / 1e6).cast(pl.Float64)
    raw = pl.col(column.name)
    if isinstance(dtype, pl.Array):
        raw = raw.arr.to_list()
    return raw.cast(TARGETS[column.role], strict=False)


def _statistics(position: int, column: Column) -> dict[str, pl.Expr]:
    """The figures of one column; null where a figure makes no sense for its role."""
    value, number = pl.col(f"{position}"), column.role in {"number", "label", "time"}
    lists = column.role in {"integers", "strings"}
    missing = value.is_null() | (value.list.drop_nulls().list.len() == 0 if lists else pl.lit(False))
    nan = value.is_nan() if number else pl.lit(False)
    flat = value.explode(empty_as_null=True, keep_nulls=True) if lists else value
    ordered = number or column.role in {"integer", "integers"}
    finite = flat.cast(pl.Float64) if ordered else pl.lit(None, pl.Float64)
    finite = pl.when(finite.is_finite()).then(finite)
    return {
        "counted": pl.col(f"{position}/counted").sum(),
        "nulls": (pl.col(f"{position}/counted") & (missing | nan.fill_null(False))).sum(),
        "nan": nan.sum(),
        "infinite": value.is_infinite().sum() if number else pl.lit(0),
        "unreadable": pl.col(f"{position}/lost").sum(),
        "out_of_range": _outside(value, column.range),
        "odd": _odd(value, column),
        "lowest": finite.min(),
        "highest": finite.max(),
        "distinct": flat.approx_n_unique(),
        "ones": (value == 1).sum() if column.role == "label" else pl.lit(None, pl.Int64),
    }


def _outside(value: pl.Expr, bounds: tuple[float, float] | None) -> pl.Expr:
    return (value.is_finite() & ~value.is_between(*bounds)).sum() if bounds else pl.lit(0)


def _odd(value: pl.Expr, column: Column) -> pl.Expr:
    if column.role == "label":
        return (value.is_not_nan() & ~value.is_in([0.0, 1.0])).sum()
    return (~value.is_in(PARTS)).sum() if column.role == "split" else pl.lit(0)


def _line(position: int, column: Column, types: Sequence[dict[str, pl.DataType]], figures: dict[str, Any]) -> dict[str, Any]:
    """One column's line of the profile."""
    of = {name.removeprefix(f"{position}/"): figure for name, figure in figures.items() if name.startswith(f"{position}/")}
    rows = of["counted"]
    known = rows - of["nulls"]
    return {
        "column": column.name,
        "role": column.role,
        "status": "never null" if column.role in {"label", "time", "split"} else "optional" if column.optional else "required",
        "type": _types(column.name, types),
        "missing": sum(column.name not in found for found in types),
        "misfit": sum(column.name in found and not fits(column.role, found[column.name]) for found in types),
        "rows": rows,
        "null_share": of["nulls"] / rows if rows else None,
        "all_null": int(of["nulls"] == rows) if rows else None,
        **(_label_rate(of["ones"], known) if column.role == "label" and known else {}),
        **{name: of[name] for name in SCHEMA.names() if name in of},
    }


def _label_rate(ones: int, rows: int) -> dict[str, float]:
    """The share of ones, and its interval of three standard errors (Wilson 1927): a day of few rows says little about its rate."""
    rate, squared = ones / rows, STANDARD_ERRORS**2
    centre = (ones + squared / 2) / (rows + squared)
    width = STANDARD_ERRORS / (rows + squared) * (rate * (1 - rate) * rows + squared / 4) ** 0.5
    return {"label_rate": rate, "label_rate_low": max(centre - width, 0.0), "label_rate_high": min(centre + width, 1.0)}


def _types(name: str, types: Sequence[dict[str, pl.DataType]]) -> str:
    return ", ".join(dict.fromkeys(str(found[name]) for found in types if name in found))
