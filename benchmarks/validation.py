"""Validation of one large day beside a single polars pass that computes the same figures, each in a process of its own.

    python -m benchmarks.validation [--rows 10000000] [--repeats 3] --out benchmarks/results/validation-cpu.json

Eight columns: ids as integers and as text with Zipf-like counts, two more texts, a list of texts, a number, the label, the time. The
peer is one `select` by hand over the streamed file; it is given the thresholds of the samples of values, which validation finds
while it reads. Beside it: the profile alone, and all that validation does with a new day, Great Expectations' import, its judgement of
the profile and of a sample of rows, and the documents included. Read the ratios of CPU seconds (of all threads).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet

from amtl.data.events import partitions
from amtl.data.soundness import DAMAGE
from amtl.files import publish_json
from amtl.params import EventsParams, ValidateParams
from amtl.validation import values
from amtl.validation.figures import HASHED_ROWS, MOJIBAKE, MULTIPLIER
from amtl.validation.profile import profile
from amtl.validation.skipped import SkippedDays
from amtl.validation.suite import Entry, Suite
from amtl.validation.validate import validate
from benchmarks.machine import describe_machine, memory_bytes

DAY = "2026-01-01"
START = datetime.fromisoformat(DAY).replace(tzinfo=UTC).timestamp()
PIECE = 500_000
VALUES = {"user": 10**7, "item": 10**6, "category": 500, "device": 12, "tags": 2000}
FIELDS: list[dict[str, Any]] = [
    {"name": "user", "type": "integer"},
    {"name": "item"},
    {"name": "category"},
    {"name": "device", "optional": True},
    {"name": "tags", "kind": "ids"},
    {"name": "price", "kind": "number", "optional": True, "range": [0, 1000]},
]
EVENTS = EventsParams.model_validate({"name": "large", "label": "click", "time": "at", "fields": FIELDS})
EXPECTED = Suite((Entry("entry 1", "expect_column_values_to_match_regex", {"column": "item", "regex": "^item-[0-9]+$"}),))


def write_day(root: Path, rows: int) -> None:
    """One day of events in one file, row group by row group."""
    path = root / f"date={DAY}" / "events.parquet"
    path.parent.mkdir(parents=True)
    random = np.random.default_rng(0)
    first = _piece(random, 1).to_arrow()
    with pyarrow.parquet.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for start in range(0, rows, PIECE):
            writer.write_table(_piece(random, min(PIECE, rows - start)).to_arrow())


def _piece(random: np.random.Generator, rows: int) -> pl.DataFrame:
    ids = {name: pl.Series(name, _zipf(random, rows, size)) for name, size in VALUES.items()}
    further = pl.Series("further", _zipf(random, rows, VALUES["tags"]))
    micros = np.sort(random.integers(0, 86_400_000_000, rows)) + round(START * 1e6)
    return pl.DataFrame(
        {
            "user": ids["user"],
            "item": "item-" + ids["item"].cast(pl.String),
            "category": "category " + ids["category"].cast(pl.String),
            "device": ("dévice " + ids["device"].cast(pl.String)).set(pl.Series(random.random(rows) < 0.02), None),
            "tags": pl.DataFrame([ids["tags"].cast(pl.String), further.cast(pl.String)]).select(pl.concat_list("tags", "further"))["tags"],
            "price": np.minimum(np.where(random.random(rows) < 0.05, np.nan, random.gamma(2.0, 20.0, rows)), 1000.0),
            "click": (random.random(rows) < 0.03).astype(np.int8),
            "at": pl.Series(micros).cast(pl.Datetime("us", "UTC")),
        }
    )


def _zipf(random: np.random.Generator, rows: int, size: int) -> np.ndarray:
    """Values 1 to `size`, of Zipf's law with exponent 1, nearly."""
    return np.exp(random.random(rows) * np.log(size)).astype(np.int64)


def by_hand(root: Path, thresholds: dict[str, int | None]) -> None:
    """The peer: the figures of the profile, in one select."""
    texts, every = ["item", "category", "device"], pl.lit(max(1, -(-_rows(root) // HASHED_ROWS)), pl.UInt64)
    price, click, at, tags = pl.col("price"), pl.col("click"), pl.col("at"), pl.col("tags")
    second = at.dt.timestamp("us") / 1e6 - START
    mixed = pl.lit(0, pl.UInt64)
    for name in [*VALUES, "price", "click", "at"]:
        mixed = (mixed * pl.lit(MULTIPLIER, pl.UInt64)) ^ pl.col(name).hash()
    repeats = mixed.filter(mixed % every == 0)
    bad = {
        "infinite": price.is_infinite().fill_null(False),
        "out_of_range": (price.is_finite() & ~price.is_between(0, 1000)).fill_null(False),
        "odd": ~click.is_in([0, 1]).fill_null(True),
        "no label": click.is_null(),
        "no time": at.is_null(),
        "off_day": ~second.is_between(-86_400, 2 * 86_400, closed="left").fill_null(True),
        **{f"{name} damaged": pl.col(name).str.contains(DAMAGE).fill_null(False) for name in texts},
        "tags damaged": tags.list.eval(pl.element().str.contains(DAMAGE)).list.any().fill_null(False),
    }
    figures = {
        "rows": pl.len(),
        "quarantined": pl.any_horizontal(bad.values()).sum(),
        **{name: expression.sum() for name, expression in bad.items()},
        **{f"{name} nulls": pl.col(name).null_count() for name in ("user", *texts)},
        "tags nulls": (tags.is_null() | (tags.list.drop_nulls().list.len() == 0)).sum(),
        "price nulls": (price.is_null() | price.is_nan()).sum(),
        "price nan": price.is_nan().sum(),
        **{f"{name} mojibake": pl.col(name).str.contains(MOJIBAKE).sum() for name in texts},
        "tags mojibake": tags.list.eval(pl.element().str.contains(MOJIBAKE)).list.any().sum(),
        **{
            f"{name} lowest": column.min()
            for name, column in (("user", pl.col("user")), ("click", click), ("at", second), ("price", price))
        },
        **{
            f"{name} highest": column.max()
            for name, column in (("user", pl.col("user")), ("click", click), ("at", second), ("price", price))
        },
        "ones": (click == 1).sum(),
        "repeats": repeats.len() - repeats.n_unique(),
        **{f"{name} values": _sampled(name, thresholds[name]) for name in VALUES},
    }
    frame = pl.scan_parquet(root / f"date={DAY}" / "events.parquet")
    frame.select(expression.alias(name) for name, expression in figures.items()).collect(engine="streaming")


def _sampled(name: str, threshold: int | None) -> pl.Expr:
    hashed = pl.col(name).explode().hash() if name == "tags" else pl.col(name).hash()
    return (hashed if threshold is None else hashed.filter(hashed < threshold)).value_counts().implode()


def _rows(root: Path) -> int:
    return int(pl.scan_parquet(root / f"date={DAY}" / "events.parquet").select(pl.len()).collect().item())


def profiled(root: Path, thresholds: dict[str, int | None]) -> None:
    """The profile alone."""
    profile(partitions(root)[0], EVENTS)


def validated(root: Path, thresholds: dict[str, int | None]) -> None:
    """Everything that validation does with a new day."""
    with tempfile.TemporaryDirectory() as folder:
        validate(partitions(root), SkippedDays(), EXPECTED, EVENTS, ValidateParams(), Path(folder) / "cache", Path(folder) / "build")


WAYS: dict[str, Callable[[Path, dict[str, int | None]], None]] = {"by_hand": by_hand, "profile": profiled, "validate": validated}


def run_here(way: str, root: Path) -> dict[str, float]:
    """Wall and CPU seconds and peak memory, in bytes, of one way in this process."""
    thresholds = json.loads((root.parent / "thresholds.json").read_text()) if way == "by_hand" else {}
    wall, cpu = time.perf_counter(), time.process_time()
    WAYS[way](root, thresholds)
    spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    return {**spent, "peak_bytes": memory_bytes("VmHWM")}


def measure(way: str, root: Path) -> dict[str, Any]:
    """`run_here` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.validation", "--run", way, "--folder", str(root)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {"way": way, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    """Measure all ways, interleaved, and write the raw results; or, with --run, one way in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--run", choices=WAYS)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.run:
        sys.stdout.write(json.dumps(run_here(options.run, options.folder)) + "\n")
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "events"
        write_day(root, options.rows)
        samples = profile(partitions(root)[0], EVENTS).samples
        publish_json(Path(folder) / "thresholds.json", {name: values.threshold(sample) for name, sample in samples.items()})
        for _ in range(options.repeats):
            for way in WAYS:
                results.append({"rows": options.rows, **measure(way, root)})
                sys.stderr.write(f"{results[-1]}\n")
    if options.out:
        publish_json(options.out, {"machine": describe_machine(), "results": results})


if __name__ == "__main__":
    main()
