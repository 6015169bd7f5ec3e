"""Exact counts of every value over the training rows, made once a partition and kept: a new day costs one day.

A partial holds the counts of one partition. It is kept as Parquet under a key made of the partition's content and of the
settings that decide its numbers, so it can be used again whenever both are the same, and never otherwise. Under a split by
time a partition is counted whole, whatever part it falls in today; only the partition that the bound of training cuts is
counted again, up to the bound, under a key of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from amtl.data.batches import Scaling
from amtl.data.events import Partition, collect, scan
from amtl.data.split import (
    PARTS,
    SplitBounds,
    TimeRange,
    held_out_by_hash,
    membership,
    rows_from,
    select,
    split_bounds,
    time_range,
)
from amtl.data.vocabulary import Vocabulary
from amtl.errors import DataError
from amtl.files import digest_of, publish
from amtl.params import CountParams, EventsParams, FieldParams

COUNTS_SCHEMA = {"field": pl.String, "value": pl.String, "count": pl.Int64}
METADATA = "amtl.partial"
FORMAT = 1


@dataclass(frozen=True)
class CountResult:
    """What counting yields: the grown vocabulary, the split's bounds, the numbers' scaling, and a report of what was done."""

    vocabulary: Vocabulary
    bounds: SplitBounds
    scaling: Scaling
    report: dict[str, Any]


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
        counts: columns field, value (text; null: missing), count, over the rows counted.
        rows: rows counted ("train"), and for splits without bounds also those of "validation" and "test".
        times: extent of the whole partition in time, for a split by time.
        moments: of each numeric field, over the rows counted.
    """

    counts: pl.DataFrame
    rows: dict[str, int]
    times: TimeRange | None
    moments: dict[str, Moments]


def count(parts: Sequence[Partition], events: EventsParams, params: CountParams, base: Vocabulary | None, cache: Path) -> CountResult:
    """Count the training rows and grow the vocabulary.

    Args:
        parts: all partitions.
        events: the schema and the split.
        params: `min_count` is what a new value needs to get a row.
        base: the parent's vocabulary, whose values keep their rows; None on a cold start.
        cache: folder of the kept partials (`counts/` below it); damaged ones are made again.

    Returns:
        The report has `counted`, `reused` and `boundary` (days), `rows` of each part, and `fields`: values with a row of
        their own, and how many of them `base` does not have.

    Raises:
        DataError: the events cannot be read, or a part of the split is empty.
    """
    kept = {part.day: _kept(part, events, SplitBounds(), cache) for part in parts}
    whole = {day: partial for day, (partial, _) in kept.items()}
    bounds = split_bounds(parts, events, [_extent(partial) for partial in whole.values()])
    training, boundary = _training(parts, events, bounds, whole, cache)
    rows = _rows(parts, events, bounds, whole, training)
    if not all(rows.values()):
        raise DataError(f"the split leaves a part without rows ({_listed(rows)}); add events or change params.yaml: events.split")
    old = base if base is not None else Vocabulary.empty(events)
    vocabulary = old.grow(merge(partial.counts for partial in training), params.min_count)
    report = {
        "counted": [day for day, (_, reused) in kept.items() if not reused],
        "reused": [day for day, (_, reused) in kept.items() if reused],
        "boundary": boundary,
        "rows": rows,
        "fields": {name: {"values": size - 1, "new": size - old.sizes[name]} for name, size in vocabulary.sizes.items()},
    }
    return CountResult(vocabulary, bounds, _scaling(training, events), report)


def merge(counts: Any) -> pl.DataFrame:
    """Counts of several partitions as one frame; the order of the partitions does not matter."""
    frames = [pl.DataFrame(schema=COUNTS_SCHEMA), *counts]
    return pl.concat(frames).group_by("field", "value").agg(pl.col("count").sum()).sort("field", "value")


def make_partial(part: Partition, events: EventsParams, bounds: SplitBounds) -> Partial:
    """Count a partition's training rows; if the split is by time and has no bounds yet, as if all of it were old enough."""
    frame = scan([part], events)
    by_time = events.split.kind == "time"
    training = _old_enough(frame, events) if by_time and bounds == SplitBounds() else select(frame, events, bounds, "train")
    counts = collect(pl.concat([_field_counts(training, field) for field in events.embedded])).sort("field", "value")
    numbers = [
        expression.alias(f"{field.name}/{name}") for field in events.numbers for name, expression in _moments_of(pl.col(field.name)).items()
    ]
    figures = collect(training.select(pl.len().alias("rows"), *numbers)).row(0, named=True)
    moments = {field.name: Moments(*(figures[f"{field.name}/{name}"] for name in ("count", "mean", "squares"))) for field in events.numbers}
    rows = {"train": figures["rows"]}
    if not by_time:
        members = [membership(events, bounds, name).sum().alias(name) for name in PARTS]
        rows = collect(frame.select(members)).row(0, named=True)
    return Partial(counts, rows, time_range(part, events) if by_time else None, moments)


def _old_enough(frame: pl.LazyFrame, events: EventsParams) -> pl.LazyFrame:
    return frame.filter(~held_out_by_hash(events)) if events.split.validation_by == "random" else frame


def _training(
    parts: Sequence[Partition], events: EventsParams, bounds: SplitBounds, whole: dict[str, Partial], cache: Path
) -> tuple[list[Partial], list[str]]:
    """The partials that make up the training rows, and the days that the end of training cuts."""
    if events.split.kind != "time":
        return list(whole.values()), []
    cut: Any = bounds.validation_from if bounds.validation_from is not None else bounds.test_from
    training, boundary = [], []
    for part in parts:
        first, last = _first_last(whole[part.day])
        if first is None or first >= cut:
            continue
        if last < cut:
            training.append(whole[part.day])
        else:
            training.append(_kept(part, events, bounds, cache)[0])
            boundary.append(part.day)
    return training, boundary


def _rows(
    parts: Sequence[Partition], events: EventsParams, bounds: SplitBounds, whole: dict[str, Partial], training: list[Partial]
) -> dict[str, int]:
    if bounds.test_from is None:
        return {name: sum(partial.rows[name] for partial in training) for name in PARTS}
    held = [(part, extent) for part in parts if (extent := _extent(whole[part.day])).rows]
    total = sum(extent.rows for _, extent in held)
    train = sum(partial.rows["train"] for partial in training)
    test = rows_from(held, events, bounds.test_from)
    return {"train": train, "validation": total - train - test, "test": test}


def _scaling(training: list[Partial], events: EventsParams) -> Scaling:
    merged = {field.name: Moments() for field in events.numbers}
    for partial in training:
        merged = {name: moments.merged(partial.moments[name]) for name, moments in merged.items()}
    deviation = {name: (moments.squares / moments.count) ** 0.5 if moments.count else 1.0 for name, moments in merged.items()}
    return Scaling({name: moments.mean for name, moments in merged.items()}, deviation)


def _field_counts(frame: pl.LazyFrame, field: FieldParams) -> pl.LazyFrame:
    """Occurrences of each value; every value of a list counts, an empty list counts as one missing value."""
    values = frame.select(pl.col(field.name).alias("value"))
    if field.kind == "ids":
        values = values.explode("value", empty_as_null=True, keep_nulls=True)
    counted = values.group_by(pl.col("value").cast(pl.String)).agg(pl.len().cast(pl.Int64).alias("count"))
    return counted.select(pl.lit(field.name).alias("field"), "value", "count")


def _moments_of(number: pl.Expr) -> dict[str, pl.Expr]:
    squares = number.var(ddof=0).fill_null(0.0) * number.count()
    return {"count": number.count(), "mean": number.mean().fill_null(0.0), "squares": squares}


def _kept(part: Partition, events: EventsParams, bounds: SplitBounds, cache: Path) -> tuple[Partial, bool]:
    """The partial of a partition, and whether it was there already."""
    path = cache / "counts" / f"{_key(part, events, bounds)}.parquet"
    partial = _read(path)
    if partial is not None:
        return partial, True
    partial = make_partial(part, events, bounds)
    publish(path, lambda temporary: _write(partial, temporary))
    return partial, False


def _key(part: Partition, events: EventsParams, bounds: SplitBounds) -> str:
    """Digest of everything that a partial's numbers depend on; the order of fields is no part of it."""
    split = events.split
    settings = {
        "format": FORMAT,
        "partition": part.digest,
        "fields": sorted([field.name, field.kind, field.type] for field in events.fields),
        "time": [events.time, split.validation_by, bounds.to_json()] if split.kind == "time" else None,
        "held_out": [split.seed, split.test, split.validation] if split.kind == "time" and split.validation_by == "random" else None,
        "random": [events.time, split.seed, split.test, split.validation] if split.kind == "random" else None,
        "column": split.column,
    }
    return digest_of(settings)


def _write(partial: Partial, path: Path) -> None:
    summary = {
        "rows": partial.rows,
        "times": partial.times and partial.times.to_json(),
        "moments": {name: asdict(moments) for name, moments in partial.moments.items()},
    }
    partial.counts.write_parquet(path, metadata={METADATA: json.dumps(summary)})


def _read(path: Path) -> Partial | None:
    """A kept partial; None if there is none or it is damaged."""
    if not path.exists():
        return None
    try:
        counts = pl.read_parquet(path, glob=False)
        summary = json.loads(pl.read_parquet_metadata(path)[METADATA])
        times = summary["times"] and TimeRange.from_json(summary["times"])
        moments = {name: Moments(**values) for name, values in summary["moments"].items()}
        return Partial(counts.cast(COUNTS_SCHEMA), summary["rows"], times, moments)  # type: ignore[arg-type]
    except (OSError, pl.exceptions.PolarsError, KeyError, ValueError, TypeError):
        return None


def _extent(partial: Partial) -> TimeRange:
    return partial.times or TimeRange(partial.rows["train"], None, None)


def _first_last(partial: Partial) -> tuple[Any, Any]:
    times = partial.times
    return (times.first, times.last) if times else (None, None)


def _listed(rows: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,} rows" for name, count in rows.items())
