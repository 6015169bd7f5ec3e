"""Events by day, and what is known at the end of each.

`ml-100k-days`: ratings in order of time; the first day is the oldest share, then equal blocks, each of which stands for a day.
`sample-days`: the synthetic world of `amtl sample`, where users and items appear every day; the first day is its first ten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from amtl.data.batches import Batch, Scaling, encode
from amtl.data.vocabulary import Vocabulary
from amtl.params import EventsParams
from amtl.sources import sample
from benchmarks import datasets

FIRST_SHARE, BLOCKS = 0.6, 8
SAMPLE_FIRST, SAMPLE_DAYS, SAMPLE_ROWS = 10, 8, 8_000
HELD_OUT = 0.1
"""Share of every day's events that validate."""


@dataclass(frozen=True)
class World:
    """Events by day, oldest first; the first day holds all that is there at the beginning."""

    events: EventsParams
    days: tuple[pl.DataFrame, ...]


@dataclass(frozen=True)
class Day:
    """What is known at the end of a day, and the events of the next."""

    number: int
    vocabulary: Vocabulary
    scaling: Scaling
    train: Batch
    validation: Batch
    next_day: Batch


def day_of(world: World, number: int, yesterday: Vocabulary) -> Day:
    """All events up to a day; values keep the rows that they had yesterday."""
    known = pl.concat(world.days[: number + 1])
    held_out = pl.Series(np.random.default_rng(datasets.SPLIT_SEED).random(len(known)) < HELD_OUT)
    train, validation = known.filter(~held_out), known.filter(held_out)
    vocabulary = yesterday.grow(datasets.count_values(train, world.events))
    scaling = datasets.scaling_of(train, world.events)
    rows = (encode(part, world.events, vocabulary.lookup, scaling) for part in (train, validation, world.days[number + 1]))
    return Day(number, vocabulary, scaling, *rows)


def ml_100k(folder: Path, seed: int, share: float) -> World:
    """MovieLens-100K in blocks; the seed changes nothing about it."""
    table = datasets.read("ml-100k-time", folder)
    frame = table.frame.head(round(share * len(table.frame)))
    first = round(FIRST_SHARE * len(frame))
    borders = [0, *np.linspace(first, len(frame), BLOCKS + 1).round().astype(int).tolist()]
    return World(table.events, tuple(frame[start:stop] for start, stop in pairwise(borders)))


def drifting_sample(folder: Path, seed: int, share: float) -> World:
    """Days of the synthetic world of a seed."""
    made = sample.Settings(seed=seed, rows_per_day=round(share * SAMPLE_ROWS), first_day="2026-01-01", shuffle_labels=False)
    days = [sample.make_day(made, day)[0] for day in range(SAMPLE_FIRST + SAMPLE_DAYS)]
    return World(EventsParams.model_validate(sample.EVENTS), (pl.concat(days[:SAMPLE_FIRST]), *days[SAMPLE_FIRST:]))


WORLDS: dict[str, Callable[[Path, int, float], World]] = {"ml-100k-days": ml_100k, "sample-days": drifting_sample}
