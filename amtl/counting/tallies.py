"""Counts by value on disk: a folder of one Parquet file a field, with a manifest that says their digests and how they came about.

A file has the columns value (as typed as the field; null: missing) and count, and, where counts are decayed, frequency. Its rows are in
no order. A tally that is damaged reads as none, so that its maker makes it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from amtl.errors import ArtifactError
from amtl.files import MANIFEST, digest_of, publish_folder, read_json, verify_manifest, write_manifest

WORKERS = 4
"""Most fields that are in memory at a time."""


@dataclass(frozen=True)
class Tally:
    """A folder of counts.

    Attributes:
        folder: where it lies; its name is the key of all that the numbers depend on.
        fields: names of the fields, in the order of the files' numbers.
        summary: a JSON value that its maker keeps beside the counts.
    """

    folder: Path
    fields: tuple[str, ...]
    summary: Any

    def counts(self, field: str) -> pl.LazyFrame:
        """Columns value, count and perhaps frequency of a field."""
        return pl.scan_parquet(self.folder / _file(self.fields.index(field)), glob=False, hive_partitioning=False)

    def is_intact(self) -> bool:
        """Whether every file has the content that the manifest says; reads them all."""
        try:
            return bool(verify_manifest(self.folder))
        except (ArtifactError, OSError):
            return False


def write_tally(folder: Path, fields: tuple[str, ...], count: Callable[[str], pl.DataFrame], summary: Any) -> Tally:
    """Make or replace a tally; `WORKERS` fields are counted at a time, each by a thread of its own."""
    with publish_folder(folder) as temporary:

        def write(number: int) -> None:
            count(fields[number]).write_parquet(temporary / _file(number), compression_level=1, statistics=False)

        with ThreadPoolExecutor(min(WORKERS, pl.thread_pool_size())) as workers:
            for _ in workers.map(write, range(len(fields))):
                pass
        write_manifest(temporary, fields=list(fields), summary=summary, seal=digest_of([list(fields), summary]))
    return Tally(folder, fields, summary)


def find_tally(folder: Path) -> Tally | None:
    """The tally in a folder by its manifest, the counts unread; None if there is none or the manifest is damaged."""
    if not (folder / MANIFEST).exists():
        return None
    try:
        manifest = read_json(folder / MANIFEST)
        fields, summary = tuple(manifest["fields"]), manifest["summary"]
        return Tally(folder, fields, summary) if manifest["seal"] == digest_of([list(fields), summary]) else None
    except (ArtifactError, KeyError, TypeError):
        return None


def summed(parts: Iterable[pl.LazyFrame]) -> pl.LazyFrame:
    """Counts of several tallies as one; exact, so neither the order nor the grouping of the parts matters."""
    held = list(parts)
    return held[0] if len(held) == 1 else pl.concat(held).group_by("value").agg(pl.exclude("value").sum())


def _file(number: int) -> str:
    return f"{number:03d}.parquet"
