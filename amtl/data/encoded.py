"""Encoded events on disk: written once, read in bounded memory however many there are.

A folder holds `rows.arrow`, an Arrow file (IPC) of row groups of `GROUP_ROWS` events, and its manifest. In a row group the table
rows of an event's single-valued fields lie side by side, as a batch needs them: int32 where the table allows, lists as
lists, numbers float32, labels int8, all compressed with LZ4. (Measured: read about twice as fast as Parquet with a column
each; `benchmarks/loading.py`.)

An epoch's order depends on (seed, epoch) alone: a permutation of the row groups, as many of them at a time in a buffer as fit
into `BUFFER_BYTES`, whose events are permuted and cut into batches across the borders of buffers. What fits into one buffer is
permuted as a whole. The next buffer is read while one is used, so that up to three may be in memory for a moment.

Shapes: N events, B events of a batch, F single-valued fields, K numeric fields, M values of a multi-valued field.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amtl.data.batches import Bag, Batch, batch_spans, concatenated, permutation
from amtl.errors import ArtifactError
from amtl.files import MANIFEST, digest_of, publish_folder, verify_manifest, write_manifest

if TYPE_CHECKING:
    import pyarrow
    import torch

FORMAT = 1
ROWS = "rows.arrow"
BUFFER_BYTES = 2**27


@dataclass(frozen=True)
class EncodedRows:
    """Events of one part of the split, on disk.

    Attributes:
        path: the Arrow file.
        rows: N. group_rows: events of a row group; the last one may hold fewer.
        digest: hex SHA-256 that the content decides.
        buffer_groups: row groups of a buffer.
    """

    path: Path
    rows: int
    group_rows: int
    digest: str
    buffer_groups: int

    @classmethod
    def read(cls, folder: Path) -> EncodedRows:
        """Verify and open what `write_encoded` wrote.

        Raises:
            ArtifactError: it is missing, damaged or of another format.
        """
        manifest = verify_manifest(folder)
        if manifest.get("kind") != "encoded" or manifest.get("format") != FORMAT:
            raise ArtifactError(f"{folder} holds no encoded events of format {FORMAT}; remove it and rerun the stage")
        try:
            rows, group_rows, size = (int(manifest[key]) for key in ("rows", "group_rows", "bytes"))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder / MANIFEST} is damaged ({error!r}); remove {folder} and rerun the stage") from None
        group_bytes = max(size * group_rows // max(rows, 1), 1)
        return cls(folder / ROWS, rows, group_rows, digest_of(manifest["files"]), max(BUFFER_BYTES // group_bytes, 1))

    def __len__(self) -> int:
        return self.rows

    @cached_property
    def labels(self) -> torch.Tensor:
        """Labels of all events, float32 [N]."""
        import torch

        with closing(_Groups(self.path, columns=["label"])) as groups:
            labels = [group.column("label").to_numpy() for group in map(groups.read, range(self._groups))]
        return torch.from_numpy(np.concatenate([np.zeros(0, np.int8), *labels])).float()

    def shuffled(self, size: int, seed: int, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """As `Batch.shuffled`, a buffer of row groups at a time; buffers that `skip` leaves out are not read."""
        buffers = self._buffers(seed, epoch)
        ends = np.cumsum([0, *(self._rows_in(buffer) for buffer in buffers)]).tolist()
        unread = int(np.searchsorted(ends[1:], skip * size, side="right"))
        seeds = [(seed, epoch, *([index] if len(buffers) > 1 else [])) for index in range(1, len(buffers) + 1)]
        with closing(_Groups(self.path)) as groups, closing(_read_ahead(groups.batch, buffers[unread:])) as read:
            pieces = ((batch, permutation(len(batch), *seeds[index])) for index, batch in enumerate(read, unread))
            yield from _cut(pieces, ends[unread], batch_spans(self.rows, size, skip))

    def in_order(self, size: int) -> Iterator[Batch]:
        """All events in their order, `size` at a time."""
        import torch

        spans = ((start, min(start + size, self.rows)) for start in range(0, self.rows, size))
        each = np.arange(self._groups).reshape(-1, 1)
        with closing(_Groups(self.path)) as groups, closing(_read_ahead(groups.batch, each)) as read:
            yield from _cut(((batch, torch.arange(len(batch))) for batch in read), 0, spans)

    def newest(self, rows: int) -> Batch:
        """The last `rows` events, or all of them if they are fewer."""
        first = max(self.rows - rows, 0) // self.group_rows
        with closing(_Groups(self.path)) as groups:
            return groups.batch(np.arange(first, self._groups)).newest(rows).widened()

    @property
    def _groups(self) -> int:
        return -(-self.rows // self.group_rows)

    def _buffers(self, seed: int, epoch: int) -> list[np.ndarray]:
        """The row groups of each buffer of an epoch; within a buffer in the order of the file."""
        buffers = -(-self._groups // self.buffer_groups)
        order = permutation(self._groups, seed, epoch).numpy()
        return [np.sort(groups) for groups in np.array_split(order, max(buffers, 1))]

    def _rows_in(self, groups: np.ndarray) -> int:
        missing = self._groups * self.group_rows - self.rows  # from the last row group
        return len(groups) * self.group_rows - (missing if self._groups - 1 in groups else 0)


def write_encoded(folder: Path, batches: Iterable[Batch], table_rows: int) -> None:
    """Write events; the folder appears whole or not at all.

    Args:
        batches: one or more, each a row group: all hold as many events as the first, but the last one may hold fewer.
        table_rows: rows of the table that the batches' rows belong to.
    """
    import pyarrow

    id_type = np.int32 if table_rows <= np.iinfo(np.int32).max else np.int64
    record_batches = (_record_batch(batch, id_type) for batch in batches)
    first = next(record_batches)
    options = pyarrow.ipc.IpcWriteOptions(compression="lz4")
    rows = size = 0
    with publish_folder(folder) as temporary:
        with pyarrow.ipc.new_file(str(temporary / ROWS), first.schema, options=options) as writer:
            for record_batch in chain([first], record_batches):
                writer.write_batch(record_batch)
                rows, size = rows + record_batch.num_rows, size + record_batch.nbytes
        write_manifest(temporary, format=FORMAT, kind="encoded", rows=rows, group_rows=max(first.num_rows, 1), bytes=size)


class _Groups:
    """The row groups of an open file.

    Args:
        columns: those to read; None: all.

    Raises:
        ArtifactError: the file is gone or damaged.
    """

    def __init__(self, path: Path, columns: Sequence[str] | None = None) -> None:
        import pyarrow

        self.path = path
        with self._readable():
            self.file = pyarrow.OSFile(str(path))
            self.schema = pyarrow.ipc.open_file(self.file).schema
            wanted = [self.schema.get_field_index(name) for name in columns] if columns else None
            options = pyarrow.ipc.IpcReadOptions(use_threads=False, included_fields=wanted)
            self.reader = pyarrow.ipc.open_file(self.file, options=options)

    def read(self, index: int) -> pyarrow.RecordBatch:
        """One row group."""
        with self._readable():
            return self.reader.get_batch(index)

    def batch(self, indices: np.ndarray) -> Batch:
        """Row groups, one after the other, in the types of the file."""
        import pyarrow

        nothing = pyarrow.RecordBatch.from_pylist([], schema=self.schema)
        return _batch([self.read(int(index)) for index in indices] or [nothing])

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    @contextmanager
    def _readable(self) -> Iterator[None]:
        import pyarrow

        try:
            yield
        except (OSError, pyarrow.ArrowException) as error:
            raise ArtifactError(f"{self.path} cannot be read ({error}); remove {self.path.parent} and rerun the stage") from None


def _record_batch(batch: Batch, id_type: type) -> pyarrow.RecordBatch:
    import pyarrow

    columns: dict[str, Any] = {"label": pyarrow.array(batch.labels_B.numpy().astype(np.int8))}
    for name, matrix in (("ids", batch.ids_BF.numpy().astype(id_type)), ("numbers", batch.numbers_BK.numpy())):
        if matrix.shape[1]:
            columns[name] = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(matrix.ravel()), matrix.shape[1])
    for index, bag in enumerate(batch.bags):
        columns[f"bag{index}"] = pyarrow.LargeListArray.from_arrays(bag.offsets_N.numpy(), bag.rows_M.numpy().astype(id_type))
    return pyarrow.RecordBatch.from_pydict(columns)


def _batch(groups: Sequence[pyarrow.RecordBatch]) -> Batch:
    import torch

    names = groups[0].schema.names
    labels = np.concatenate([group.column("label").to_numpy() for group in groups])
    bags = [_bag([group.column(name) for group in groups]) for name in names if name.startswith("bag")]
    ids, numbers = (
        _matrix([group.column(name) for group in groups]) if name in names else np.zeros((len(labels), 0), kind)
        for name, kind in (("ids", np.int32), ("numbers", np.float32))
    )
    return Batch(torch.from_numpy(ids), tuple(bags), torch.from_numpy(numbers), torch.from_numpy(labels))


def _matrix(columns: Sequence[Any]) -> np.ndarray:
    return np.concatenate([column.flatten().to_numpy() for column in columns]).reshape(-1, columns[0].type.list_size)


def _bag(columns: Sequence[Any]) -> Bag:
    import torch

    lengths = np.concatenate([np.zeros(1, np.int64), *(np.diff(column.offsets.to_numpy()) for column in columns)])
    return Bag(torch.from_numpy(np.concatenate([column.values.to_numpy() for column in columns])), torch.from_numpy(np.cumsum(lengths)))


def _read_ahead(read: Callable[[np.ndarray], Batch], buffers: Iterable[np.ndarray]) -> Generator[Batch]:
    """What `read` gives for each buffer; a thread reads one ahead. Its errors are raised here, and it ends with this generator."""
    with ThreadPoolExecutor(max_workers=1) as background:
        pending = None
        for buffer in buffers:
            upcoming = background.submit(read, buffer)
            if pending is not None:
                yield pending.result()
            pending = upcoming
        if pending is not None:
            yield pending.result()


def _cut(pieces: Iterator[tuple[Batch, torch.Tensor]], position: int, spans: Iterable[tuple[int, int]]) -> Iterator[Batch]:
    """Batches from consecutive pieces of a sequence of events.

    Args:
        pieces: events, and the order in which they come.
        position: where in the sequence the first piece begins.
        spans: where in the sequence each batch begins and ends.
    """
    length = 0
    for start, stop in spans:
        parts: list[Batch] = []
        while start < stop:
            while start >= position + length:
                position += length
                piece, order = next(pieces)
                length = len(order)
            end = min(stop, position + length)
            parts.append(piece.take(order[start - position : end - position]))
            start = end
        yield concatenated(parts).widened()
