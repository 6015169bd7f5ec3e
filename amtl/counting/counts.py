"""Exact counts of every value over the training rows: partitions counted once, blocks of days merged once, the rest summed.

Under a split by time a partition is counted whole, whatever part it falls in today; only the partition that the bound of training
cuts is counted again, up to the bound, under a key of its own. Days that lie wholly in training go into blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from amtl.counting.blocks import Blocks, Node, cover, number_of
from amtl.counting.partials import Moments, Partial, partial_of
from amtl.data.batches import Scaling
from amtl.data.events import Partition
from amtl.data.split import PARTS, SplitBounds, rows_from, split_bounds
from amtl.data.vocabulary import Vocabulary
from amtl.errors import DataError
from amtl.files import prune
from amtl.params import CountParams, EventsParams

KEPT_DAYS = 30
"""Days for which counts that the last run did not need are kept."""


@dataclass(frozen=True)
class CountResult:
    """What counting yields: the grown vocabulary, the split's bounds, the numbers' scaling, and a report of what was done.

    `left_out` lists the values that share the unknown row: columns field, value, count, reason ("min_count" or "max_rows").
    """

    vocabulary: Vocabulary
    left_out: pl.DataFrame
    bounds: SplitBounds
    scaling: Scaling
    report: dict[str, Any]


@dataclass(frozen=True)
class Training:
    """What makes up the training rows: the days wholly in them, and the days that their end cuts, counted up to it."""

    whole: dict[str, Partial]
    cut: dict[str, Partial]

    @property
    def partials(self) -> list[Partial]:
        """All of them, oldest first."""
        return [partial for _, partial in sorted({**self.whole, **self.cut}.items())]


def count(parts: Sequence[Partition], events: EventsParams, params: CountParams, base: Vocabulary | None, cache: Path) -> CountResult:
    """Count the training rows and grow the vocabulary.

    Args:
        parts: all partitions.
        events: the schema and the split.
        params: what a value needs to get a row, how many have one, whether old days count less.
        base: the parent's vocabulary, whose values keep their rows; None on a cold start.
        cache: folder of what is kept of partitions and of blocks (`counts/` and `blocks/` below it); damaged ones are made again.

    Returns:
        The report has `counted`, `reused` and `boundary` (days), `rows` of each part, and `fields`: values with a row of
        their own, how many got and lost theirs, and how many are left out for which reason.

    Raises:
        DataError: the events cannot be read, or a part of the split is empty.
    """
    kept = {part.day: partial_of(part, events, SplitBounds(), cache / "counts") for part in parts}
    everything = {day: partial for day, (partial, _) in kept.items()}
    bounds = split_bounds(parts, events, [partial.extent for partial in everything.values()])
    training = _training(parts, events, bounds, everything, cache)
    rows = _rows(parts, events, bounds, everything, training)
    if not all(rows.values()):
        raise DataError(f"the split leaves a part without rows ({_listed(rows)}); add events or change params.yaml: events.split")
    blocks, nodes = _covered(training, params.half_life, cache)
    newest = max(number_of(day) for day in {**training.whole, **training.cut})
    old = base if base is not None else Vocabulary.empty(events)
    totals = ((field.name, blocks.total(nodes, field.name, newest)) for field in events.embedded)
    growth = old.grow_by(totals, params.min_count, params.caps(events))
    counted = [day for day, (partial, reused) in kept.items() if not reused or _key(partial) in blocks.remade]
    report = {
        "counted": counted,
        "reused": [day for day in kept if day not in counted],
        "boundary": sorted(training.cut),
        "rows": rows,
        "fields": growth.fields,
    }
    _tidy(cache, {_key(partial) for partial in [*everything.values(), *training.cut.values()]}, nodes)
    return CountResult(growth.vocabulary, growth.left_out, bounds, _scaling(training.partials, events), report)


def _training(
    parts: Sequence[Partition], events: EventsParams, bounds: SplitBounds, everything: dict[str, Partial], cache: Path
) -> Training:
    if events.split.kind != "time":
        return Training(everything, {})
    end: Any = bounds.validation_from if bounds.validation_from is not None else bounds.test_from
    extents: dict[str, Any] = {day: partial.extent for day, partial in everything.items() if partial.extent.rows}
    whole = {day: everything[day] for day, extent in extents.items() if extent.last < end}
    cut = [part for part in parts if part.day in extents and extents[part.day].first < end <= extents[part.day].last]
    return Training(whole, {part.day: partial_of(part, events, bounds, cache / "counts")[0] for part in cut})


def _covered(training: Training, half_life: float | None, cache: Path) -> tuple[Blocks, list[Node]]:
    """What the sum over the training rows reads."""
    days = {number_of(day): _key(partial) for day, partial in training.whole.items()}
    cut = [Node(_key(partial), number_of(day)) for day, partial in sorted(training.cut.items())]
    blocks = Blocks(cache / "blocks", {_key(partial): partial for partial in training.partials}, half_life)
    return blocks, [*cover(days, half_life), *cut]


def _tidy(cache: Path, partials: set[str], nodes: list[Node]) -> None:
    prune(cache / "counts", partials, KEPT_DAYS)
    prune(cache / "blocks", set[str]().union(*(node.keys() for node in nodes)), KEPT_DAYS)


def _rows(
    parts: Sequence[Partition], events: EventsParams, bounds: SplitBounds, everything: dict[str, Partial], training: Training
) -> dict[str, int]:
    if bounds.test_from is None:
        return {name: sum(partial.rows[name] for partial in training.partials) for name in PARTS}
    held = [(part, extent) for part in parts if (extent := everything[part.day].extent).rows]
    total = sum(extent.rows for _, extent in held)
    train = sum(partial.rows["train"] for partial in training.partials)
    test = rows_from(held, events, bounds.test_from)
    return {"train": train, "validation": total - train - test, "test": test}


def _scaling(training: list[Partial], events: EventsParams) -> Scaling:
    merged = {field.name: Moments() for field in events.numbers}
    for partial in training:
        merged = {name: moments.merged(partial.moments[name]) for name, moments in merged.items()}
    deviation = {name: (moments.squares / moments.count) ** 0.5 if moments.count else 1.0 for name, moments in merged.items()}
    return Scaling({name: moments.mean for name, moments in merged.items()}, deviation)


def _key(partial: Partial) -> str:
    return partial.tally.folder.name


def _listed(rows: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,} rows" for name, count in rows.items())
