"""What a reader of outside data hands over: the declared columns, streamable, and the `events` section that describes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import polars as pl

DAY = "day"
"""The column of a source that says which partition a row goes to; it is never written."""


@dataclass(frozen=True)
class Source:
    """Outside data as a stream of events.

    Attributes:
        section: the `events` section of params.yaml; its `name` is the data set's.
        frame: exactly the declared columns and `day` (String, YYYY-MM-DD), in the order in which rows are to lie in a day.
        inputs: the files that are read; progress is measured against them.
        notes: what the user should know: what was left out and why, how text was read.
        metadata: written into every Parquet file, beside the columns.
        rows: how many there are, where that is known.
        fault: asked when reading fails: file, line and what to do; None if that cannot be told.
    """

    section: dict[str, Any]
    frame: pl.LazyFrame
    inputs: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    rows: int | None = None
    fault: Callable[[], str | None] = field(default=lambda: None)


class Reader(Protocol):
    """Reads a published data set in its official layout."""

    def __call__(self, path: Path, import_day: str) -> Source:
        """Check the layout and describe the stream.

        Args:
            path: a folder or file with the official layout.
            import_day: YYYY-MM-DD, the partition of data that have no time of their own.

        Raises:
            DataError: the layout is not the official one: file, line, what to do.
        """


def declared(section: dict[str, Any]) -> list[str]:
    """Names of the declared columns, in the order in which they are written: time, label, split column, fields."""
    split = section.get("split", {}).get("column")
    names = [section.get("time"), section["label"], split, *(entry["name"] for entry in section["fields"])]
    return [name for name in names if name]
