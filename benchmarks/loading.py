"""Rows a second that the loader gives, beside what the training step asks for and beside bare reads of the same row groups.

    python -m benchmarks.loading [--rows 8000000] --out RESULTS.json

Synthetic events of 10 and of 26 integer fields in days of 1M rows are encoded as the stages do it and then iterated, shuffled, in
batches of 4096: with the file in the page cache, and after its pages were dropped from there. The floors read the row groups of
the same rows in a random order and do nothing with them: of the loader's own file, and of Parquet with a column each. The step is
the real trainer's (D = 64, mlp 256-128, batch 4096, one thread) on batches in memory. All are interleaved in one process; CPU
seconds are those of the process with all its threads.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow
import pyarrow.parquet
import torch

from amtl.data.batches import Batch, Scaling
from amtl.data.dataset import Encoding, encoded_rows
from amtl.data.encoded import EncodedRows
from amtl.data.events import partitions
from amtl.data.split import SplitBounds
from amtl.data.vocabulary import Vocabulary
from amtl.files import publish_json
from amtl.model.ctr_model import ModelConfig, build
from amtl.params import EventsParams
from amtl.stages import say
from amtl.training.loop import FitSettings, Trainer
from benchmarks.machine import describe_machine

BATCH, DIM, STEPS, DAY_ROWS, TABLE_ROWS, REPEATS = 4096, 64, 8, 1_000_000, 1_000_000, 5


def declared(fields: int) -> EventsParams:
    """Integer fields, all rows training rows (the part is a column, so that none is held out)."""
    described = [{"name": f"field{index}", "type": "integer"} for index in range(fields)]
    return EventsParams.model_validate(
        {"name": "loading", "label": "click", "split": {"kind": "column", "column": "part"}, "fields": described}
    )


def write_days(root: Path, fields: int, rows: int) -> None:
    """Days of events whose values follow Zipf's law with exponent 1, ids scattered over 32 bits."""
    random, values = np.random.default_rng(0), TABLE_ROWS // fields
    for day, first in enumerate(range(0, rows, DAY_ROWS)):
        size = min(DAY_ROWS, rows - first)
        ids = {f"field{index}": _scattered(np.exp(random.random(size) * np.log(values)).astype(np.int64)) for index in range(fields)}
        frame = pl.DataFrame({**ids, "click": random.integers(0, 2, size, dtype=np.int8)}).with_columns(part=pl.lit("train"))
        path = root / f"date=2026-01-{day + 1:02d}" / "events.parquet"
        path.parent.mkdir(parents=True)
        frame.write_parquet(path)


def _scattered(ranks: np.ndarray) -> np.ndarray:
    return ranks * 2_654_435_761 % 2**32


def vocabulary_of(events: EventsParams) -> Vocabulary:
    """All values of all fields."""
    values = pl.Series("value", _scattered(np.arange(1, TABLE_ROWS // len(events.fields)))).cast(pl.String)
    counts = [pl.select(field=pl.lit(field.name), value=values, count=pl.lit(1, pl.Int64)) for field in events.fields]
    return Vocabulary.empty(events).grow(pl.concat(counts))


@dataclass(frozen=True)
class Work:
    """Something that goes over so many rows; what `before` does is not timed."""

    rows: int
    run: Callable[[], Any]
    before: Callable[[], Any] = lambda: None


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def drop_from_page_cache(path: Path) -> None:
    """Ask the system to forget the file's pages, as far as it lets us."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def rates(works: dict[str, Work]) -> dict[str, dict[str, float]]:
    """Million rows a second, wall and CPU, of works that are interleaved; medians, after one round that does not count."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(REPEATS + 1):
        for name, work in works.items():
            work.before()
            seconds[name].append(timed(work.run))
    medians = {name: [statistics.median(column) for column in zip(*pairs[1:], strict=True)] for name, pairs in seconds.items()}
    return {name: {"wall": works[name].rows / wall / 1e6, "cpu": works[name].rows / cpu / 1e6} for name, (wall, cpu) in medians.items()}


def read_groups(rows: EncodedRows) -> None:
    """The row groups of the loader's file, in a random order, without doing anything with them."""
    with pyarrow.OSFile(str(rows.path)) as file:
        reader = pyarrow.ipc.open_file(file, options=pyarrow.ipc.IpcReadOptions(use_threads=False))
        for index in np.random.default_rng(0).permutation(reader.num_record_batches):
            reader.get_batch(int(index))


def write_parquet(rows: EncodedRows, path: Path) -> None:
    """The same rows as Parquet, a column a field, in row groups of the same length."""
    writer = None
    for batch in rows.in_order(rows.group_rows):
        columns = {f"field{index}": column.numpy().astype(np.int32) for index, column in enumerate(batch.ids_BF.unbind(1))}
        table = pyarrow.table({**columns, "label": batch.labels_B.numpy().astype(np.int8)})
        writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def read_parquet(path: Path) -> None:
    """The row groups of a Parquet file, in a random order."""
    file = pyarrow.parquet.ParquetFile(path)
    for index in np.random.default_rng(0).permutation(file.num_row_groups):
        file.read_row_group(int(index), use_threads=False)


def steps(rows: EncodedRows, fields: int) -> Work:
    """Steps of training on batches in memory."""
    torch.manual_seed(0)
    model = build(
        ModelConfig(backbone="mlp", dim=DIM, fields=fields, numbers=0, hidden=(256, 128), dropout=0.0, batch_norm=False, cross_layers=3),
        TABLE_ROWS + fields,
        0.01,
    )
    settings = FitSettings(epochs=1, patience=1, batch_size=BATCH, learning_rate=1e-3, seed=0)
    trainer = Trainer(model, settings, torch.device("cpu"), torch.zeros(fields, dtype=torch.int64))
    batches = list(_first(rows.shuffled(BATCH, 0, 0), STEPS))
    return Work(sum(map(len, batches)), lambda: [trainer.step(batch) for batch in batches])


def _first(batches: Iterator[Batch], number: int) -> Iterator[Batch]:
    for _, batch in zip(range(number), batches, strict=False):
        yield batch


def measure(root: Path, fields: int, rows: int) -> dict[str, Any]:
    """All figures for one number of fields."""
    events = declared(fields)
    write_days(root / "events", fields, rows)
    vocabulary = vocabulary_of(events)
    encoding = Encoding(
        partitions(root / "events"), events, SplitBounds(), Scaling(), vocabulary.lookup, vocabulary.rows, "made by this script"
    )
    wall, cpu = timed(lambda: encoded_rows(encoding, "train", root / "cache", say))
    encoded = encoded_rows(encoding, "train", root / "cache", say)
    write_parquet(encoded, root / "rows.parquet")
    epochs = iter(range(10**6))

    def epoch() -> int:
        return sum(len(batch) for batch in encoded.shuffled(BATCH, 0, next(epochs)))

    works = {
        "warm": Work(rows, epoch),
        "cold": Work(rows, epoch, before=lambda: drop_from_page_cache(encoded.path)),
        "floor": Work(rows, lambda: read_groups(encoded)),
        "parquet": Work(rows, lambda: read_parquet(root / "rows.parquet")),
        "step": steps(encoded, fields),
    }
    encode = {"wall": rows / wall / 1e6, "cpu": rows / cpu / 1e6}
    return {"fields": fields, "rows": rows, "encode": encode, "bytes_a_row": encoded.path.stat().st_size / rows, **rates(works)}


def main() -> None:
    """Run what the command line asks for and write the raw results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8_000_000)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for fields in (10, 26):
        with tempfile.TemporaryDirectory() as root:
            results.append(measure(Path(root), fields, options.rows))
        say(str(results[-1]))
        publish_json(options.out, {"machine": describe_machine(), "results": results})


if __name__ == "__main__":
    main()
