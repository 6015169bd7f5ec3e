"""Rows that are not sound, kept beside the events: where each lay, why it is left out, and what it held."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import polars as pl

from amtl.data.events import Partition, originals, reading, schema
from amtl.data.soundness import reasons, sound, typed
from amtl.files import publish
from amtl.params import EventsParams

FILE, ROW, REASON = "file", "row", "reason"
INDEX, ORIGINAL = "(row)", "(original) {}"


def write(part: Partition, events: EventsParams, path: Path) -> None:
    """Write a partition's rows that are not sound as Parquet, streaming: memory does not grow with their number.

    The columns are file (its name), row (number in the file, from 0), reason (all of them, joined by "; "), and the columns of
    the files as they lie there. One of theirs that has one of these three names gets " (raw)" behind it.

    Raises:
        DataError: a file cannot be read.
    """
    types = {file: schema(file) for file in part.files}
    own = originals(types)
    frames = [_offending(file, types[file], own[file], events, part.day) for file in part.files]
    with reading(part):
        publish(path, lambda temporary: pl.concat(frames, how="diagonal_relaxed").sink_parquet(temporary, engine="streaming"))


def by_reason(path: Path) -> dict[str, int]:
    """Rows of a written quarantine by their reason, the most frequent first."""
    counted = (
        pl.scan_parquet(path, glob=False, hive_partitioning=False)
        .group_by(REASON)
        .len("rows")
        .sort(["rows", REASON], descending=[True, False])
    )
    return dict(counted.collect(engine="streaming").iter_rows())


def examples(path: Path, rows: int) -> list[dict[str, Any]]:
    """The first row of each reason, column to value; `rows` at most."""
    frame = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    return frame.unique(REASON, keep="first", maintain_order=True).head(rows).collect().to_dicts()


def _offending(file: Path, types: dict[str, pl.DataType], own: list[pl.Expr], events: EventsParams, day: str) -> pl.LazyFrame:
    """The rows of one file; `typed` takes the places of the declared columns, so the original ones step aside first."""
    raw = pl.scan_parquet(file, glob=False, hive_partitioning=False).select(list(types)).with_row_index(INDEX)
    rows = typed(raw.with_columns(column.name.map(ORIGINAL.format) for column in own), events, types, day).filter(~sound(events))
    where = [pl.lit(file.name).alias(FILE), pl.col(INDEX).cast(pl.Int64).alias(ROW), reasons(events).alias(REASON)]
    return rows.select(*where, *(pl.col(ORIGINAL.format(name)).alias(_beside(name, types)) for name in types))


def _beside(name: str, types: Collection[str]) -> str:
    """A column's name, or another one where it would hide one of ours."""
    if name not in {FILE, ROW, REASON}:
        return name
    while name in {FILE, ROW, REASON, *types}:
        name += " (raw)"
    return name
