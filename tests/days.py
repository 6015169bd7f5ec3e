"""Small day partitions that tests of amtl.data share."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from amtl.data.events import Partition, partitions
from amtl.params import EventsParams

FIELDS = [
    {"name": "user", "type": "integer"},
    {"name": "item", "optional": True},
    {"name": "tags", "kind": "ids"},
    {"name": "price", "kind": "number", "optional": True, "range": [0, 100]},
]
SPLIT = {"kind": "time", "test": 0.2, "validation": 0.2, "validation_by": "time"}


def events(**changes: Any) -> EventsParams:
    """The declared events; keyword arguments replace entries."""
    return EventsParams.model_validate({"name": "days", "label": "click", "time": "at", "split": SPLIT, "fields": FIELDS} | changes)


def frame(rows: int, day: int = 0, seed: int = 0) -> pl.DataFrame:
    """Events of a day in January 2026, 0 for the first, in order of time; some values are missing."""
    random = np.random.default_rng([seed, day])
    seconds = np.sort(random.integers(0, 86_400, rows))
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return pl.DataFrame(
        {
            "user": random.zipf(1.5, rows) % 50,
            "item": [None if number == 0 else f"item {number}" for number in random.integers(0, 12, rows)],
            "tags": [[f"tag {tag}" for tag in random.integers(0, 5, count)] for count in random.integers(0, 4, rows)],
            "price": np.where(random.random(rows) < 0.1, np.nan, np.round(random.random(rows) * 100, 2)),
            "click": random.integers(0, 2, rows),
            "at": [start + timedelta(seconds=int(second)) for second in seconds],
        },
        schema_overrides={"tags": pl.List(pl.String), "item": pl.String, "at": pl.Datetime("us", "UTC")},
    )


def write(root: Path, day: int, rows: pl.DataFrame, name: str = "events.parquet") -> Path:
    """Write a file of a day; returns its path."""
    path = root / f"date={date(2026, 1, 1) + timedelta(days=day)}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.write_parquet(path)
    return path


def days(root: Path, number: int = 5, rows: int = 60, seed: int = 0) -> list[Partition]:
    """Write days and list them."""
    for day in range(number):
        write(root, day, frame(rows, day, seed))
    return partitions(root)
