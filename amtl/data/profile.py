"""What a partition looks like, as a small table: polars reads every row once, one line a column comes out.

The table says what is there and judges nothing; `checks` says what is too much. A line's status is what the column is to events:
"required", "optional" or "never null" (label, time, split column), "extra" (not declared), or "day": the partition itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from amtl.data.columns import LISTS, TEXTS, Column, columns, fits
from amtl.data.events import Partition, collect, schema
from amtl.data.soundness import Offence, any_matches, offences, sound, typed, typed_names
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
        "quarantined": pl.Int64(),
        "quarantined_share": pl.Float64(),
        "reasons": pl.String(),
        "nulls": pl.Int64(),
        "null_share": pl.Float64(),
        "all_null": pl.Int64(),
        "nan": pl.Int64(),
        "infinite": pl.Int64(),
        "unreadable": pl.Int64(),
        "out_of_range": pl.Int64(),
        "odd": pl.Int64(),
        "off_day": pl.Int64(),
        "damaged": pl.Int64(),
        "mojibake": pl.Int64(),
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
COUNTED = "(counted) {}"
OFFENCES = ("infinite", "unreadable", "out_of_range", "odd", "off_day", "damaged")
MOJIBAKE = r"[\u00C2\u00C3][\u0080-\u00BF]|\u00E2\u20AC"
"""UTF-8 that was read as Latin-1 or Windows-1252: what becomes of accented letters, and of typographic quotes and dashes."""

Types = Mapping[Path, Mapping[str, pl.DataType]]


def profile(part: Partition, events: EventsParams) -> pl.DataFrame:
    """Profile a partition.

    Returns:
        One line for the day, one a declared column, one an extra column. `missing` and `misfit` count files that lack the
        column or hold it in a type that does not fit; the figures are over the other files. `quarantined` are the day's rows that
        are not sound, for the `reasons` named (null where a needed column is missing: then there is no row to use at all).
        `nulls` include NaN and, for lists, empty ones; `unreadable` are values that the declared type cannot hold; `odd` are
        labels that are neither 0 nor 1, or words that name no part of the split; `off_day` are times too far off the day;
        `damaged` and `mojibake` are texts with signs of broken decoding; `label_rate_low` and `_high` bound the rate that so
        many labels can come from; `distinct` is approximate; times are in epoch seconds.

    Raises:
        DataError: a file cannot be read.
    """
    types = {file: schema(file) for file in part.files}
    declared, offending = columns(events), offences(events)
    figures = _figures(part, types, events, offending)
    lines = [{"column": DAY, "status": "day", "rows": figures["rows"], **_quarantined(types, declared, offending, figures)}]
    lines += [_line(position, column, list(types.values()), figures) for position, column in enumerate(declared)]
    known = {column.name for column in declared}
    extra = sorted({name for found in types.values() for name in found} - known)
    lines += [{"column": name, "status": "extra", "type": _types(name, list(types.values()))} for name in extra]
    return pl.DataFrame([{"day": part.day, **line} for line in lines], schema=SCHEMA)


def sample(part: Partition, events: EventsParams, rows: int) -> pl.DataFrame:
    """At most `rows` raw rows of the declared and extra columns, spread evenly over the day's rows; the same ones every time.

    Raises:
        DataError: a file cannot be read.
    """
    frames = [pl.scan_parquet(file, glob=False, hive_partitioning=False) for file in part.files]
    lengths = [int(collect(frame.select(pl.len())).item()) for frame in frames]
    step = max(-(-sum(lengths) // rows), 1)
    starts = [-sum(lengths[:index]) % step for index in range(len(lengths))]
    taken = [collect(frame.gather_every(step, start)) for frame, start in zip(frames, starts, strict=True)]
    return pl.concat(taken, how="diagonal_relaxed")


def _figures(part: Partition, types: Types, events: EventsParams, offending: Sequence[Offence]) -> dict[str, Any]:
    """All figures of all columns, in one pass over the rows: `rows`, and `POSITION/FIGURE` by the column's position."""
    declared = columns(events)
    frames = [_readable(file, types[file], events, part.day) for file in part.files]
    statistics = [
        figure.alias(f"{position}/{name}")
        for position, column in enumerate(declared)
        for name, figure in _statistics(column, offending).items()
    ]
    totals = [pl.len().alias("rows"), (~sound(events)).sum().alias("quarantined")]
    totals += [offence.found.sum().alias(offence.reason) for offence in offending]
    return collect(pl.concat(frames).select(*totals, *statistics)).row(0, named=True)


def _readable(file: Path, types: Mapping[str, pl.DataType], events: EventsParams, day: str) -> pl.LazyFrame:
    """A file's rows as far as they can be read, times as epoch seconds, and whether each column counts."""
    raw = pl.scan_parquet(file, glob=False, hive_partitioning=False)
    rows = typed(raw, events, types, day)
    counted = [
        pl.lit(column.name in types and fits(column.role, types[column.name])).alias(COUNTED.format(column.name))
        for column in columns(events)
    ]
    seconds = [_seconds(column, types).alias(column.name) for column in columns(events) if column.role == "time"]
    return rows.with_columns(*counted, *seconds).select(*typed_names(events), *(expression.meta.output_name() for expression in counted))


def _seconds(column: Column, types: Mapping[str, pl.DataType]) -> pl.Expr:
    dtype = types.get(column.name)
    if dtype is not None and fits(column.role, dtype) and isinstance(dtype, pl.Datetime | pl.Date):
        return pl.col(column.name).dt.timestamp("us") / 1e6
    return pl.lit(None, pl.Float64) if dtype is None or not dtype.is_integer() else pl.col(column.name).cast(pl.Float64)


def _statistics(column: Column, offending: Sequence[Offence]) -> dict[str, pl.Expr]:
    """The figures of one column; null where a figure makes no sense for its role."""
    value, counted = pl.col(column.name), pl.col(COUNTED.format(column.name))
    lists, float_ = column.role in LISTS, column.role in {"number", "label", "time"}
    missing = value.is_null() | (value.list.drop_nulls().list.len() == 0 if lists else pl.lit(False))
    nan = value.is_nan() if float_ else pl.lit(False)
    flat = value.explode(empty_as_null=True, keep_nulls=True) if lists else value
    ordered = float_ or column.role in {"integer", "integers"}
    finite = flat.cast(pl.Float64) if ordered else pl.lit(None, pl.Float64)
    finite = pl.when(finite.is_finite()).then(finite)
    found = {offence.kind: offence.found.sum() for offence in offending if offence.column == column.name}
    return {
        "counted": counted.sum(),
        "nulls": (counted & (missing | nan.fill_null(False))).sum(),
        "nan": nan.sum(),
        **{kind: found.get(kind, pl.lit(0)) for kind in OFFENCES},
        "mojibake": any_matches(column, MOJIBAKE).sum() if column.role in TEXTS else pl.lit(0),
        "lowest": finite.min(),
        "highest": finite.max(),
        "distinct": flat.approx_n_unique(),
        "ones": (value == 1).sum() if column.role == "label" else pl.lit(None, pl.Int64),
    }


def _quarantined(types: Types, declared: Sequence[Column], offending: Sequence[Offence], figures: dict[str, Any]) -> dict[str, Any]:
    """How many rows are not sound and why; nothing if a needed column is missing somewhere, which is told apart from bad rows."""
    needed = [column for column in declared if not column.optional]
    usable = all(column.name in found and fits(column.role, found[column.name]) for found in types.values() for column in needed)
    if not usable or not figures["rows"]:
        return {}
    counts = {offence.reason: figures[offence.reason] for offence in offending if figures[offence.reason]}
    listed = sorted(counts.items(), key=lambda item: -item[1])
    return {
        "quarantined": figures["quarantined"],
        "quarantined_share": figures["quarantined"] / figures["rows"],
        "reasons": ", ".join(f"{reason} in {count:,}" for reason, count in listed),
    }


def _line(position: int, column: Column, types: Sequence[Mapping[str, pl.DataType]], figures: dict[str, Any]) -> dict[str, Any]:
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


def _types(name: str, types: Sequence[Mapping[str, pl.DataType]]) -> str:
    return ", ".join(dict.fromkeys(str(found[name]) for found in types if name in found))
