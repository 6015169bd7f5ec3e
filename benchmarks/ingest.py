"""`amtl ingest` of a large CSV beside polars' own scan and sink of the same columns, each in a process of its own.

    python -m benchmarks.ingest --megabytes 5000 --out benchmarks/results/ingest-cpu.json

The file is made up here: a time, a label, ids as integers and as text with Zipf-like counts, a number, missing values. Peers:
`sink_parquet` into one file, the time left as text (the least that polars does); the same with times parsed and one folder a day.
amtl also checks every line's number of values, and flushes to disk. Memory: the peak of a process, in all and without the pages
of files that it maps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from amtl.files import publish_json
from benchmarks.machine import describe_machine, memory_bytes

DAYS = 30
ROWS_A_BLOCK = 1_000_000
MEGABYTES_A_BLOCK = 60
POLL_SECONDS = 0.02
DEVICES = pl.Series(["phone", "tablet", "desktop", "tv", None], dtype=pl.String)
TYPES = {
    "ts": pl.String(),
    "click": pl.Int64(),
    "user_id": pl.Int64(),
    "item_id": pl.String(),
    "site": pl.String(),
    "price": pl.Float64(),
    "device": pl.String(),
}


def make_csv(path: Path, megabytes: int) -> int:
    """Write about that many megabytes of events over 30 days, oldest first; returns the number of rows."""
    blocks = max(1, round(megabytes / MEGABYTES_A_BLOCK))
    random = np.random.default_rng(0)
    first = np.datetime64("2026-01-01T00:00:00", "us")
    with path.open("wb") as file:
        for block in range(blocks):
            seconds = (block + np.arange(ROWS_A_BLOCK) / ROWS_A_BLOCK) / blocks * DAYS * 86_400
            events = _block(random, first + seconds.astype("timedelta64[s]"))
            events.write_csv(file, include_header=block == 0, datetime_format="%Y-%m-%d %H:%M:%S")
    return blocks * ROWS_A_BLOCK


def _block(random: np.random.Generator, times: np.ndarray) -> pl.DataFrame:
    rows = len(times)
    return pl.DataFrame(
        {
            "ts": pl.Series(times.astype("datetime64[us]")),
            "click": random.integers(0, 2, rows),
            "user_id": random.zipf(1.3, rows) % 10**7,
            "item_id": pl.Series(random.zipf(1.2, rows) % 10**6).cast(pl.String).str.zfill(7),
            "site": pl.Series(random.integers(0, 2000, rows)).cast(pl.String) + ".example.org",
            "price": np.round(random.random(rows) * 100, 2),
            "device": DEVICES.gather(random.integers(0, len(DEVICES), rows)),
        }
    )


def amtl(source: Path, folder: Path) -> None:
    """What `amtl ingest` does up to the pin: propose, check, stream, swap."""
    from amtl.sources.mapped.mapping import read
    from amtl.sources.mapped.proposal import Wishes
    from amtl.sources.writing import write_days
    from flows.ingest import proposed

    table, proposal = proposed([str(source)], Wishes(label="click"))
    write_days(read(table, proposal.section, proposal.reading, "2026-01-01"), folder / "events", lambda rows: None)


def one_file(source: Path, folder: Path) -> None:
    """Polars alone: the columns as they are, into one file."""
    pl.scan_csv(source, schema=TYPES).sink_parquet(folder / "events.parquet")


def by_day(source: Path, folder: Path) -> None:
    """Polars alone: times parsed, one folder a day."""
    frame = pl.scan_csv(source, schema=TYPES).with_columns(pl.col("ts").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us"))
    frame.with_columns(day=pl.col("ts").dt.date()).sink_parquet(pl.PartitionBy(folder, key="day"), mkdir=True)


WAYS: dict[str, Callable[[Path, Path], None]] = {"one_file": one_file, "by_day": by_day, "amtl": amtl}


def run_here(way: str, source: Path) -> dict[str, float]:
    """Wall and CPU seconds and peak memory, in bytes, of one way in this process."""
    peaks = {"RssAnon": 0, "VmHWM": 0}
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(peaks, done))
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        watch.start()
        wall, cpu = time.perf_counter(), time.process_time()
        WAYS[way](source, Path(folder))
        spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        done.set()
        watch.join()
    return {**spent, "peak_bytes": peaks["VmHWM"], "peak_anonymous_bytes": peaks["RssAnon"]}


def _watch(peaks: dict[str, int], done: threading.Event) -> None:
    while not done.wait(POLL_SECONDS):
        for name, peak in peaks.items():
            peaks[name] = max(peak, memory_bytes(name))


def measure(way: str, source: Path) -> dict[str, Any]:
    """`run_here` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ingest", "--run", way, "--file", str(source)], check=True, capture_output=True, text=True
    )
    return {"way": way, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    """Measure all ways at two sizes and write the raw results; or, with --run, one way in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="where the file is made and read; a temporary folder if none is given")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--run", choices=WAYS)
    parser.add_argument("--file", type=Path)
    options = parser.parse_args()
    if options.run:
        sys.stdout.write(json.dumps(run_here(options.run, options.file)) + "\n")
        return
    results = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source = Path(folder) / "events.csv"
        for megabytes in (options.megabytes * 2 // 5, options.megabytes):
            size = {"rows": make_csv(source, megabytes), "bytes": source.stat().st_size}
            for _ in range(options.repeats):
                for way in WAYS:
                    results.append({**size, **measure(way, source)})
                    sys.stderr.write(f"{results[-1]}\n")
    if options.out:
        publish_json(options.out, {"machine": describe_machine(), "results": results})


if __name__ == "__main__":
    main()
