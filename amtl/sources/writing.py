"""A source written as day partitions: streamed, larger than memory, all days in one swap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from amtl.errors import DataError
from amtl.files import publish_folder
from amtl.sources.source import DAY, Source, declared

ROWS_A_GROUP = 100_000


def write_days(source: Source, destination: Path) -> None:
    """Replace the folder `destination` by the source's day partitions, in one swap; if anything fails it stays as it was."""
    with publish_folder(destination) as folder:
        sink_days(source, folder)


def sink_days(source: Source, folder: Path) -> None:
    """Stream a source into `folder/date=DAY/events-000.parquet`, rows in the source's order.

    Raises:
        DataError: a file cannot be read to its end, or the disk is full.
    """
    target = pl.PartitionBy(folder, key=DAY, include_key=False, approximate_bytes_per_file=None, file_path_provider=_path_of)
    try:
        source.frame.select(*declared(source.section), DAY).sink_parquet(
            target, compression="zstd", row_group_size=ROWS_A_GROUP, metadata=source.metadata or None, mkdir=True
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"the data cannot be brought in ({str(error).splitlines()[0]}); nothing was changed") from None


def _path_of(file: Any) -> str:
    return f"date={file.partition_keys[DAY][0]}/events-{file.index_in_partition:03d}.parquet"
