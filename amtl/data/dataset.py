"""Training, validation and test rows: scan, split, encode, keep on disk. All of it streams; no part is ever whole in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars as pl

from amtl.data.batches import Batch, Scaling, encode
from amtl.data.encoded import FORMAT, EncodedRows, write_encoded
from amtl.data.events import Partition, chunks, scan, soundness
from amtl.data.split import Part, SplitBounds, membership
from amtl.data.vocabulary import RowLookup
from amtl.errors import ArtifactError
from amtl.files import code_digest, digest_of, prune
from amtl.params import EventsParams, FieldParams

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

    def key(self) -> str:
        """Hex SHA-256 over everything that the encoded rows of a part depend on."""
        return digest_of(
            {
                "format": FORMAT,
                "partitions": [[part.day, part.digest] for part in self.partitions],
                "events": self.events.model_dump(mode="json"),
                "sound": soundness(self.events),
                "bounds": self.bounds.to_json(),
                "scaling": [self.scaling.mean, self.scaling.std],
                "vocabulary": self.vocabulary_digest,
                "code": code_digest("amtl.data"),
                "polars": pl.__version__,  # whose hash splits at random
            }
        )

    def batches(self, part: Part) -> Iterator[Batch]:
        """The events of a part, encoded, `GROUP_ROWS` at a time; at least one batch, which may be empty."""
        frames = raw_rows(self.partitions, self.events, membership(self.events, self.bounds, part), GROUP_ROWS)
        for chunk in chain([next(frames, pl.DataFrame())], frames):
            yield encode(chunk, self.events, self.lookup, self.scaling)


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
    prune(folder.parent, {folder.name}, days=0)
    return EncodedRows.read(folder)


def raw_rows(
    partitions: Sequence[Partition], events: EventsParams, wanted: pl.Expr, rows: int, beside: Sequence[FieldParams] = ()
) -> Iterator[pl.DataFrame]:
    """Stream the wanted events in their order, `rows` at a time; the last chunk may hold fewer.

    One partition after the other: a scan of all of them at once holds more the more there are.

    Args:
        wanted: which events, e.g. `membership`. beside: as for `scan`.

    Raises:
        DataError: a file is damaged or vanished; a column does not fit.
    """
    held = pl.DataFrame()
    for partition in partitions:
        for chunk in chunks(scan([partition], events, beside).filter(wanted), rows):
            held = pl.concat([held, chunk]) if len(held) else chunk
            while len(held) >= rows:
                yield held[:rows]
                held = held[rows:]
    if len(held):
        yield held
