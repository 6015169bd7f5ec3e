"""Counts of one partition, kept under the digest of all that they depend on: a new day costs one day.

Values are counted in the type in which they lie in the events, a few columns and `CHUNK` of their rows at a time, so that memory holds
these and the distinct values, never all rows. Which rows train is found first, once, as one bit a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from amtl.counting.occurrences import occurrences
from amtl.counting.tallies import Tally, find_tally, summed, write_tally
from amtl.data.events import Partition, collect, scan, schema, sound, soundness
from amtl.data.soundness import typed
from amtl.data.split import PARTS, SplitBounds, TimeRange, hash_probe, held_out_by_hash, membership, time_range
from amtl.files import digest_of
from amtl.params import EventsParams, FieldParams

FORMAT = 2
CHUNK = 2**24
"""Rows of a column that are in memory at a time."""


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of a numeric field; missing numbers are left out."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def merged(self, other: Moments) -> Moments:
        """Moments of both sets together (Chan, Golub and LeVeque 1979): exact for any size of the mean."""
        count = self.count + other.count
        if count == 0:
            return self
        step = other.mean - self.mean
        mean = self.mean + step * other.count / count
        return Moments(count, mean, self.squares + other.squares + step**2 * self.count * other.count / count)


@dataclass(frozen=True)
class Partial:
    """Counts of one partition.

    Attributes:
        tally: the counts on disk, over the rows counted.
        rows: rows counted ("train"), and for splits without bounds also those of "validation" and "test".
        times: extent of the whole partition in time, for a split by time.
        moments: of each numeric field, over the rows counted.
        remake: count the partition again, whatever is on disk.
    """

    tally: Tally
    rows: dict[str, int]
    times: TimeRange | None
    moments: dict[str, Moments]
    remake: Callable[[], Partial]

    @property
    def extent(self) -> TimeRange:
        """Rows and first and last moment of the partition; without a split by time, of the rows counted."""
        return self.times or TimeRange(self.rows["train"], None, None)


def partial_of(part: Partition, events: EventsParams, bounds: SplitBounds, folder: Path) -> tuple[Partial, bool]:
    """The partial of a partition, from `folder` or made, and whether it was there already. The counts are not yet read."""
    tally = find_tally(folder / _key(part, events, bounds))
    if tally is None:
        return make_partial(part, events, bounds, folder), False
    try:
        return _opened(tally, lambda: make_partial(part, events, bounds, folder)), True
    except (KeyError, TypeError, ValueError, AttributeError):
        return make_partial(part, events, bounds, folder), False


def make_partial(part: Partition, events: EventsParams, bounds: SplitBounds, folder: Path) -> Partial:
    """Count a partition's training rows; if the split is by time and has no bounds yet, as if all of it were old enough."""
    rows = scan([replace(part, sound=True)], events)  # all of them, sound or not: the marks say which count
    marks = _marks(rows, part, events, bounds)
    total = marks.height if marks.width else int(collect(rows.select(pl.len())).item())
    by_name = {field.name: field for field in events.embedded}
    figures = _figures(rows, events, marks)
    trained = int(marks["train"].sum()) if marks.width else total
    summary = {
        "rows": {"train": trained} if events.split.kind == "time" else {name: int(marks[name].sum()) for name in PARTS},
        "times": time_range(part, events).to_json() if events.split.kind == "time" else None,
        "moments": {field.name: [figures[f"{field.name}/{name}"] for name in ("count", "mean", "squares")] for field in events.numbers},
    }
    tally = write_tally(
        folder / _key(part, events, bounds),
        tuple(sorted(by_name)),
        lambda name: _field_counts(rows, by_name[name], marks, total),
        summary,
    )
    return _opened(tally, lambda: make_partial(part, events, bounds, folder))


def _opened(tally: Tally, remake: Callable[[], Partial]) -> Partial:
    summary = tally.summary
    moments = {name: Moments(*values) for name, values in summary["moments"].items()}
    return Partial(tally, summary["rows"], summary["times"] and TimeRange.from_json(summary["times"]), moments, remake)


def _marks(rows: pl.LazyFrame, part: Partition, events: EventsParams, bounds: SplitBounds) -> pl.DataFrame:
    """One Boolean a row for each part of the split that matters; no column if every row trains."""
    chosen = _chosen(events, bounds)
    marks = (
        collect(rows.select(expression.fill_null(False).alias(name) for name, expression in chosen.items())) if chosen else pl.DataFrame()
    )
    if part.sound:
        return marks
    is_sound = collect(_sound(part, events))["train"]
    return marks.with_columns(pl.all() & is_sound) if chosen else is_sound.to_frame()


def _chosen(events: EventsParams, bounds: SplitBounds) -> dict[str, pl.Expr]:
    """Which sound rows are of which part, where not every row trains."""
    if events.split.kind != "time":
        return {name: membership(events, bounds, name) for name in PARTS}
    if bounds != SplitBounds():
        return {"train": membership(events, bounds, "train")}
    return {"train": ~held_out_by_hash(events)} if events.split.validation_by == "random" else {}


def _sound(part: Partition, events: EventsParams) -> pl.LazyFrame:
    """Whether each row counts, in the order of `scan`: found once, not once a column."""
    raw = ((pl.scan_parquet(file, glob=False, hive_partitioning=False), schema(file)) for file in part.files)
    return pl.concat([typed(rows, events, types, part.day).select(sound(events).alias("train")) for rows, types in raw])


def _trained(rows: pl.LazyFrame, marks: pl.DataFrame) -> pl.LazyFrame:
    """The training rows of a frame of some columns."""
    if not marks.width:
        return rows
    beside = marks.lazy().select(pl.col("train").alias("(train)"))
    return pl.concat([rows, beside], how="horizontal").filter("(train)").drop("(train)")


def _figures(rows: pl.LazyFrame, events: EventsParams, marks: pl.DataFrame) -> dict[str, Any]:
    numbers = [field.name for field in events.numbers]
    moments = [expression.alias(f"{name}/{figure}") for name in numbers for figure, expression in _moments_of(pl.col(name)).items()]
    return collect(_trained(rows.select(numbers), marks).select(moments)).row(0, named=True) if numbers else {}


def _moments_of(number: pl.Expr) -> dict[str, pl.Expr]:
    squares = number.var(ddof=0).fill_null(0.0) * number.count()
    return {"count": number.count(), "mean": number.mean().fill_null(0.0), "squares": squares}


def _field_counts(rows: pl.LazyFrame, field: FieldParams, marks: pl.DataFrame, total: int) -> pl.DataFrame:
    """Occurrences of each value; every value of a list counts, an empty list counts as one missing value."""
    column = rows.select(pl.col(field.name).alias("value"))
    chunks = (_trained(column.slice(start, CHUNK), marks.slice(start, CHUNK)) for start in range(0, max(total, 1), CHUNK))
    counted = _by_sorting(chunks) if field.kind == "id" else None
    if counted is not None:
        return counted
    values = _trained(column, marks)
    if field.kind == "ids":
        values = values.explode("value", empty_as_null=True, keep_nulls=True)
    return collect(values.group_by("value").agg(pl.len().cast(pl.Int64).alias("count")))


def _by_sorting(chunks: Iterable[pl.LazyFrame]) -> pl.DataFrame | None:
    """Occurrences of each value of a column; None as soon as a text is too long for it."""
    found = []
    for chunk in chunks:
        counted = occurrences(collect(chunk, engine="in-memory")["value"])
        if counted is None:
            return None
        found.append(counted)
    return found[0] if len(found) == 1 else collect(summed(counted.lazy() for counted in found))


def _key(part: Partition, events: EventsParams, bounds: SplitBounds) -> str:
    """Digest of everything that a partial's numbers depend on; the order of fields is no part of it."""
    split = events.split
    by_hash = split.kind == "random" or (split.kind == "time" and split.validation_by == "random")
    settings = {
        "format": FORMAT,
        "partition": [part.day, part.digest],
        "sound": soundness(events),
        "fields": sorted([field.name, field.kind, field.type] for field in events.fields),
        "time": [events.time, split.validation_by, bounds.to_json()] if split.kind == "time" else None,
        "held_out": [split.seed, split.test, split.validation] if by_hash and split.kind == "time" else None,
        "random": [events.time, split.seed, split.test, split.validation] if split.kind == "random" else None,
        "column": split.column,
        "probe": hash_probe(events) if by_hash else None,  # a polars that hashes otherwise deals the rows anew
    }
    return digest_of(settings)
