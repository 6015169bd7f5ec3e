"""Training, validation and test rows: scan, split, encode, keep on disk. All of it streams; no part is ever whole in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars as pl

from amtl.data.batches import Batch, Scaling, encode
from amtl.data.encoded import FORMAT, EncodedRows, write_encoded
from amtl.data.events import Partition, scan
from amtl.data.split import Part, SplitBounds, select
from amtl.data.vocabulary import RowLookup
from amtl.errors import ArtifactError, DataError
from amtl.files import code_digest, digest_of
from amtl.params import EventsParams

if TYPE_CHECKING:
    import torch

GROUP_ROWS = 2**16


class Rows(Protocol):
    """N encoded events of one part of the split: a `Batch` in memory, or `EncodedRows` on disk."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> torch.Tensor:
        """Labels, float32 [N]."""

    @property
    def digest(self) -> str:
        """Hex SHA-256 that the content decides."""

    def shuffled(self, size: int, seed: int, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """Batches of one epoch in an order that depends on (seed, epoch) only, after the first `skip`."""

    def in_order(self, size: int) -> Iterator[Batch]:
        """All events in their order, `size` at a time."""

    def newest(self, rows: int) -> Batch:
        """The last `rows` events, or all of them if they are fewer."""


@dataclass(frozen=True)
class Encoding:
    """All that decides which events a part holds, and how they become table rows.

    Attributes:
        lookup: values to table rows. table_rows: rows of the table. vocabulary_digest: of the file that the lookup is from.
    """

    partitions: Sequence[Partition]
    events: EventsParams
    bounds: SplitBounds
    scaling: Scaling
    lookup: RowLookup
    table_rows: int
    vocabulary_digest: str

    def frame(self, part: Part) -> pl.LazyFrame:
        """The raw events of a part of the split."""
        return select(scan(self.partitions, self.events), self.events, self.bounds, part)

    def key(self) -> str:
        """Hex SHA-256 over everything that the encoded rows of a part depend on."""
        return digest_of(
            {
                "format": FORMAT,
                "partitions": [[part.day, part.digest] for part in self.partitions],
                "events": self.events.model_dump(mode="json"),
                "bounds": self.bounds.to_json(),
                "scaling": [self.scaling.mean, self.scaling.std],
                "vocabulary": self.vocabulary_digest,
                "code": code_digest("amtl.data"),
                "polars": pl.__version__,  # whose hash splits at random
            }
        )

    def batches(self, part: Part) -> Iterator[Batch]:
        """The events of a part, encoded, `GROUP_ROWS` at a time; at least one batch, which may be empty."""
        frame = self.frame(part)
        empty = True
        for chunk in chunks(frame, GROUP_ROWS):
            empty = False
            yield encode(chunk, self.events, self.lookup, self.scaling)
        if empty:
            yield encode(frame.collect_schema().to_frame(), self.events, self.lookup, self.scaling)


def encoded_rows(encoding: Encoding, part: Part, cache: Path, log: Callable[[str], None]) -> EncodedRows:
    """The encoded rows of a part, from the cache; encoded now if it does not hold them undamaged.

    The cache keeps the last encoding of each part only.
    """
    folder = cache / part / encoding.key()[:32]
    try:
        return EncodedRows.read(folder)
    except ArtifactError:
        log(f"encoding the {part} rows")
    write_encoded(folder, encoding.batches(part), encoding.table_rows)
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return EncodedRows.read(folder)


def chunks(frame: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Stream a frame, `rows` at a time, in its order; the last chunk may hold fewer.

    Raises:
        DataError: a file is damaged or vanished; a value does not fit its declared type.
    """
    try:
        yield from frame.collect_batches(chunk_size=rows, maintain_order=True, lazy=True, engine="streaming")
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"the events cannot be read ({reason}); run the stage validate, which names day and column") from None
