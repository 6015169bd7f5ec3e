"""A source written as day partitions: streamed, larger than memory, all days in one swap.

The same rows give the same bytes, however they are cut into files and chunks: a file holds one day's rows in their order, in
row groups of a fixed number. A writer that is killed leaves a folder that starts with a dot; the next one removes it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from amtl.data.events import is_day
from amtl.errors import DataError
from amtl.files import publish_folder, remove_leftovers, sha256
from amtl.sources.progress import Advance
from amtl.sources.source import DAY, Source, declared

ROWS_A_GROUP = 100_000
ROWS_A_FILE = 20_000_000
FILE = "events-{:03d}.parquet"
NO_DAY = "date=None"


@dataclass(frozen=True)
class Added:
    """What became of a delivery: days that were written, and days that were here already with the same content; oldest first."""

    written: tuple[str, ...]
    same: tuple[str, ...] = ()


def write_days(source: Source, destination: Path, advance: Advance | None = None) -> Added:
    """Replace the folder `destination` by the source's day partitions, in one swap; if anything fails it stays as it was.

    Args:
        source: what to write.
        destination: the events folder.
        advance: told the rows that pass.

    Raises:
        DataError: a file cannot be read to its end; rows have no day; there are no rows; the disk is full.
    """
    remove_leftovers(destination)
    with publish_folder(destination) as folder:
        return Added(tuple(_sink(source, folder, advance)))


def add_days(source: Source, destination: Path, replace: bool = False, advance: Advance | None = None) -> Added:
    """Add the source's days to those in `destination`, in one swap; if anything fails it stays as it was.

    Args:
        source: what to add.
        destination: the events folder.
        replace: let a day that is here with other content be replaced.
        advance: told the rows that pass.

    Raises:
        DataError: as `write_days`; a day is here with other content, and `replace` is not set.
    """
    remove_leftovers(destination)
    with publish_folder(destination) as folder:
        days = _sink(source, folder, advance)
        here = {entry.name.removeprefix("date="): entry for entry in destination.glob("date=*")} if destination.exists() else {}
        same = [day for day in days if day in here and _content(folder / f"date={day}") == _content(here[day])]
        other = [day for day in days if day in here and day not in same]
        if other and not replace:
            raise DataError(
                f"{_listed(other)} {'is' if len(other) == 1 else 'are'} here already with other content; "
                "to take the new content instead, add --replace-days; nothing was changed"
            )
        for day, entry in here.items():
            if day not in other:
                shutil.rmtree(folder / entry.name, ignore_errors=True)
                shutil.copytree(entry, folder / entry.name, copy_function=_link)
    return Added(tuple(day for day in days if day not in same), tuple(same))


def _sink(source: Source, folder: Path, advance: Advance | None) -> list[str]:
    """Stream a source into `folder`; the days that it holds."""
    frame = source.frame.select(*declared(source.section), DAY)
    if advance:
        frame = frame.with_columns(pl.col(DAY).map_batches(_passing(advance), return_dtype=pl.String, is_elementwise=True))
    target = pl.PartitionBy(
        folder, key=DAY, include_key=False, max_rows_per_file=ROWS_A_FILE, approximate_bytes_per_file=None, file_path_provider=_path_of
    )
    try:
        frame.sink_parquet(target, compression="zstd", row_group_size=ROWS_A_GROUP, metadata=source.metadata or None, mkdir=True)
    except (OSError, pl.exceptions.PolarsError) as error:  # polars gives OSError of compressed files that are cut short, too
        raise DataError(
            _full_disk(error) or source.fault() or f"the data cannot be read ({_first_line(error)}); nothing was changed"
        ) from None
    days = sorted(entry.name.removeprefix("date=") for entry in folder.iterdir())
    if not days:
        raise DataError("there are no rows in the data; nothing was changed")
    if (folder / NO_DAY).exists():
        raise DataError(source.fault() or "rows without a time have no day to lie in; fill the time in, or remove them")
    for day in days:
        if not is_day(day):
            raise DataError(f"rows lie on {day}, which is no day of the years 1 to 9999; see how their times are written, and mend them")
    return days


def _full_disk(error: Exception) -> str | None:
    """Says that there is no room to write, where that was it; polars carries the system's number in its text."""
    number = re.search(r"os error (\d+)", str(error))
    reason = int(number[1]) if number else getattr(error, "errno", None)
    if reason not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return None
    return f"the days cannot be written ({os.strerror(reason).lower()}); make room and run this again; nothing was changed"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _passing(advance: Advance) -> Callable[[pl.Series], pl.Series]:
    def passing(rows: pl.Series) -> pl.Series:
        advance(len(rows))
        return rows

    return passing


def _path_of(file: Any) -> str:
    return f"date={file.partition_keys[DAY][0]}/{FILE.format(file.index_in_partition)}"


def _content(partition: Path) -> list[tuple[str, str]]:
    """Names and digests of the files of a day."""
    return [(path.name, sha256(path)) for path in sorted(partition.iterdir())]


def _link(source: str, target: str) -> None:
    """A second name for a file that stays as it is; a copy where the disk has no such names."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target)


def _listed(days: list[str]) -> str:
    return ", ".join(days) if len(days) <= 3 else f"{days[0]} to {days[-1]} ({len(days)} days)"
