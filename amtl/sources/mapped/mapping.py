"""A user's own files as a Source, by the `events` section that declares their columns and a `Reading` of how they write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from amtl.data.columns import LISTS, TEXTS, Column, inner_type, misfit
from amtl.errors import DataError
from amtl.params import EventsParams
from amtl.sources.mapped import faults, tables
from amtl.sources.mapped.conversions import METADATA, Conversion, Reading, conversions, read_types
from amtl.sources.mapped.kinds import is_wide
from amtl.sources.mapped.tables import Table
from amtl.sources.mapped.widths import checked_rows
from amtl.sources.source import DAY, Source, declared


def read(table: Table, section: dict[str, Any], reading: Reading, import_day: str, notes: tuple[str, ...] = ()) -> Source:
    """Check a table's columns and lines, and describe the stream of its events.

    Args:
        table: the user's files.
        section: the `events` section; its columns are looked up by name.
        reading: how the files write them.
        import_day: YYYY-MM-DD, the partition of rows that have neither time nor day.
        notes: what the user should know.

    Raises:
        DataError: a column is missing or of a type that does not fit; a line has too many or too few values.
    """
    events = EventsParams.model_validate(section)
    made = [conversions(events, reading, tables.types(path, table)) for path in table.paths]
    for path, of_file in zip(table.paths, made, strict=True):
        _check_columns(path, table, of_file)
    frames = [_events(path, table, of_file, reading, import_day) for path, of_file in zip(table.paths, made, strict=True)]
    return Source(
        section,
        pl.concat(frames).select(*declared(section), DAY),
        table.paths,
        notes,
        {METADATA: reading.model_dump_json()},
        rows=checked_rows(table),
        fault=lambda: faults.first(table, made, reading.nulls),
    )


def _events(path: Path, table: Table, made: list[Conversion], reading: Reading, import_day: str) -> pl.LazyFrame:
    raw = tables.read(path, table, read_types(made), reading.nulls)
    frame = raw.select(one.expression(strict=True) for one in made)
    return frame if any(one.name == DAY for one in made) else frame.with_columns(pl.lit(import_day).alias(DAY))


def _check_columns(path: Path, table: Table, made: list[Conversion]) -> None:
    """Refuse a file that lacks a column, or one whose column has a type that does not fit."""
    present = tables.columns(path, table)
    missing = list(dict.fromkeys(one.column for one in made if one.column not in present and not one.optional))
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)}, declared by params.yaml: events; it has {', '.join(present[:20])}. Name the columns as "
            "declared; for another data set say what its columns are (`amtl ingest --dry-run PATH` proposes it) and add --replace"
        )
    types = tables.types(path, table) if table.format == "parquet" else {}
    for one in made:
        problem = one.role and one.column in types and _misfit(Column(one.column, one.role), types[one.column])
        if problem:
            raise DataError(f"{path}: {problem}")


def _misfit(column: Column, dtype: pl.DataType) -> str | None:
    """`columns.misfit`, but that integers beyond 64 bits and truth values fit text, which holds them exactly."""
    inner = inner_type(dtype) if column.role in LISTS else dtype
    as_text = column.role in {*TEXTS, "split"} and inner is not None and (is_wide(inner) or isinstance(inner, pl.Boolean))
    return None if as_text else misfit(column, dtype)
