"""Counting beside the bare scan of the same columns, and what another day costs.

    python -m benchmarks.counting [--rows 40000000] [--parts PART ...] [--data FOLDER] --out RESULTS.json

10 columns whose values follow a power law (exponent 1.05) over 100 to 5M values, as 64-bit integers and as text of 8 characters, in one
partition and in 20, and as text of 20 characters, in one; Parquet, zstd. Each measurement runs in a process of its own, which reads
from the page cache:

    floor    polars decodes every value and sums its hashes: the cheapest that needs each value of every type (an extremum, a count
             and perhaps a sum may be answered from statistics or dictionaries)
    amtl     partials of all partitions, merged, files written and verified; every row trains
    split    the same under the default split: a hash of every row says whether it trains
    duckdb   GROUP BY, a column at a time, written as Parquet; left out where duckdb is not installed (`pip install -e .[bench]`)

Then a workspace of 10 and of 100 days whose values are the same few gets three more days: what the whole of `count` takes for each.
With --data the events are kept in a folder for the next run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from amtl.counting.blocks import Blocks, cover, number_of
from amtl.counting.counts import count
from amtl.counting.partials import partial_of
from amtl.data.events import Partition
from amtl.data.split import SplitBounds
from amtl.files import publish_json
from amtl.params import CountParams, EventsParams
from benchmarks.machine import describe_machine, memory_bytes

CARDINALITIES = (100, 1_000, 10_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000)
EXPONENT, CHUNK, FIRST_DAY = 1.05, 1_000_000, 1_767_225_600  # 2026-01-01
NAMES = [f"c{number}" for number in range(len(CARDINALITIES))]
LAYOUTS = {"one partition": 1, "20 partitions": 20}
KINDS = {"integer": LAYOUTS, "string": LAYOUTS, "long-string": {"one partition": 1}}
BY_TIME = {"kind": "time", "validation_by": "time"}


def declared(kind: str, split: dict[str, Any]) -> EventsParams:
    """The columns as fields of integers or of strings."""
    fields = [{"name": name, "type": kind.removeprefix("long-")} for name in NAMES]
    return EventsParams.model_validate({"name": "counting", "label": "click", "time": "at", "split": split, "fields": fields})


def ranks(random: np.random.Generator, rows: int, cardinality: int) -> np.ndarray:
    """Draws from a bounded power law: 0 is the most frequent, int64 [rows]."""
    power = 1 - EXPONENT
    drawn = ((cardinality**power - 1) * random.random(rows) + 1) ** (1 / power)
    return np.minimum(drawn.astype(np.int64), cardinality) - 1


def write_days(root: Path, kind: str, days: int, rows: int, shrink: int = 1, first: int = 0) -> list[Partition]:
    """`days` partitions of `rows` rows in all, in chunks; `shrink` divides the cardinalities."""
    values = _values(kind, max(CARDINALITIES) // shrink)
    return [_write_day(root, values, first + day, rows // days, shrink) for day in range(days)]


def _values(kind: str, number: int) -> pa.Array:
    scattered = (np.arange(number, dtype=np.int64) + 1) * 2_654_435_761 % 2**32
    if kind == "integer":
        return pa.array(scattered)
    return pa.array([f"{value:08x}" + f"{value * 7_919 % 2**48:012x}" * (kind == "long-string") for value in scattered.tolist()])


def _write_day(root: Path, values: pa.Array, day: int, rows: int, shrink: int) -> Partition:
    name = time.strftime("%Y-%m-%d", time.gmtime(FIRST_DAY + day * 86_400))
    path, random, writer = root / f"date={name}" / "events.parquet", np.random.default_rng([0, day]), None
    path.parent.mkdir(parents=True)
    for start in range(0, rows, CHUNK):
        size = min(CHUNK, rows - start)
        columns = {
            column: values.take(pa.array(ranks(random, size, max(cardinality // shrink, 2))))
            for column, cardinality in zip(NAMES, CARDINALITIES, strict=True)
        }
        seconds = pa.array(np.sort(random.integers(0, 86_400, size)) + FIRST_DAY + day * 86_400)
        table = pa.table({**columns, "click": pa.array(random.integers(0, 2, size), pa.int8()), "at": seconds})
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return Partition(name, path.parent, f"{day} {rows} {shrink}", (path,), sound=True)


def kept_days(data: Path, kind: str, days: int, rows: int) -> Path:
    """The folder of such partitions, written unless it is there."""
    root = data / f"{kind}-{days}-{rows}"
    if not root.exists():
        unfinished = data / f".{root.name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        write_days(unfinished, kind, days, rows)
        unfinished.replace(root)
    return root


def floor(parts: list[Partition], kind: str, scratch: Path) -> None:
    """Decode every value of the columns and sum its hashes."""
    files = [file for part in parts for file in part.files]
    pl.scan_parquet(files).select(pl.col(NAMES).hash().sum()).collect(engine="streaming")


def amtl(parts: list[Partition], kind: str, scratch: Path) -> None:
    """Count all partitions as `amtl.counting.counts.count` does, where every row trains."""
    _count(parts, declared(kind, BY_TIME), scratch)


def split(parts: list[Partition], kind: str, scratch: Path) -> None:
    """Count all partitions where rows are held out by a hash."""
    _count(parts, declared(kind, {"kind": "time"}), scratch)


def _count(parts: list[Partition], events: EventsParams, cache: Path) -> None:
    partials = {number_of(part.day): partial_of(part, events, SplitBounds(), cache / "counts")[0] for part in parts}
    keys = {day: partial.tally.folder.name for day, partial in partials.items()}
    blocks = Blocks(cache / "blocks", {keys[day]: partial for day, partial in partials.items()}, None)
    for name in NAMES:
        blocks.total(cover(keys, None), name, max(keys))


def duckdb(parts: list[Partition], kind: str, scratch: Path) -> None:
    """GROUP BY each column, written as Parquet."""
    import duckdb as engine

    files = [str(file) for part in parts for file in part.files]
    connection = engine.connect()
    for name in NAMES:
        grouped = f"SELECT {name} AS value, count(*) AS count FROM read_parquet({files}) GROUP BY 1"
        connection.execute(f"COPY ({grouped}) TO '{scratch / name}.parquet' (FORMAT parquet)")


TASKS: dict[str, Callable[[list[Partition], str, Path], None]] = {"floor": floor, "amtl": amtl, "split": split, "duckdb": duckdb}


def run_task(task: str, root: Path, kind: str) -> dict[str, Any]:
    """Wall and CPU seconds of a task, and peak MB of this process, with the interpreter and its imports."""
    parts = [Partition(path.name[5:], path, path.name, tuple(path.iterdir()), sound=True) for path in sorted(root.iterdir())]
    with tempfile.TemporaryDirectory() as scratch:
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        TASKS[task](parts, kind, Path(scratch))
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"task": task, "wall_s": wall, "cpu_s": cpu, "peak_mb": memory_bytes("VmHWM") / 1e6}


def measure(root: Path, kind: str, layout: str) -> list[dict[str, Any]]:
    """Each task in a process of its own, the floor before and after; the scan of the first warms the page cache."""
    tasks = ["floor", "amtl", "split", *(["duckdb"] if importlib.util.find_spec("duckdb") else []), "floor"]
    command = [sys.executable, "-m", "benchmarks.counting", "--root", str(root), "--kind", kind, "--task"]
    runs = [subprocess.run([*command, task], check=True, capture_output=True, text=True).stdout for task in ["floor", *tasks]][1:]
    return [{"values": kind, "layout": layout, **json.loads(run)} for run in runs]


def another_day(root: Path, days: int, rows: int) -> dict[str, Any]:
    """Median wall and CPU seconds of `count` for one more day, after `days` days of `rows` rows each."""
    events, params, cache = declared("integer", BY_TIME), CountParams(), root / "cache"
    parts = write_days(root / "events", "integer", days, days * rows, shrink=200)
    vocabulary, taken = count(parts, events, params, None, cache).vocabulary, []
    for day in range(days, days + 3):
        parts += write_days(root / "events", "integer", 1, rows, shrink=200, first=day)
        wall, cpu = time.perf_counter(), time.process_time()
        vocabulary = count(parts, events, params, vocabulary, cache).vocabulary
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall_s, cpu_s = (statistics.median(figures) for figures in zip(*taken, strict=True))
    return {"days": days, "rows": rows, "vocabulary": vocabulary.rows, "wall_s": wall_s, "cpu_s": cpu_s}


def main() -> None:
    """Run what the command line asks for and write the raw results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000_000)
    parser.add_argument("--parts", nargs="+", choices=[*KINDS, "days"], default=[*KINDS, "days"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        sys.stdout.write(json.dumps(run_task(options.task, options.root, options.kind)))
        return
    results: dict[str, list[dict[str, Any]]] = {"counting": [], "another_day": []}
    with contextlib.nullcontext(options.data) if options.data else tempfile.TemporaryDirectory() as data:
        for kind in (part for part in options.parts if part != "days"):
            for layout, days in KINDS[kind].items():
                results["counting"] += measure(kept_days(Path(data), kind, days, options.rows), kind, layout)
    for days in (10, 100) if "days" in options.parts else ():
        with tempfile.TemporaryDirectory() as folder:
            results["another_day"].append(another_day(Path(folder), days, max(options.rows // 200, 1_000)))
    for result in [*results["counting"], *results["another_day"]]:
        sys.stdout.write(f"{result}\n")
    if options.out:
        publish_json(options.out, {"machine": describe_machine(), "rows": options.rows, "results": results})


if __name__ == "__main__":
    main()
