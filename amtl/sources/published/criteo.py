"""Criteo's click logs: the Display Advertising Challenge (Kaggle, 2014) and the terabyte logs, both in the layout of their READMEs.

A line has 40 fields between tabs and no header: the label, 13 integers (mostly counts), 26 hashed values; a missing field is empty.
The integers are kept raw, as numbers that may be missing and negative: no logarithm is taken here.

- `train.txt` (or `.gz`) of the Challenge has rows in order of time but no times: one partition, split by a hash of the row.
- `day_0` ... `day_23` (or `.gz`) of the terabyte logs (https://huggingface.co/datasets/criteo/CriteoClickLogs) are a day each, whose dates
  are not published: `day_0` lies on a day that is named, the others follow. Rows are in order of time: line n gets a time of n
  microseconds after midnight, which says no more than that.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from amtl.errors import DataError
from amtl.sources.published import lines
from amtl.sources.published.layout import FLAG, INTEGER, TEXT, Column, Layout, columns
from amtl.sources.source import DAY, Source

NUMBERS = tuple(f"I{number}" for number in range(1, 14))
CATEGORIES = tuple(f"C{number}" for number in range(1, 27))
TRAIN = ("train.txt", "train.txt.gz")
FIRST_DAY = "2000-01-01"
"""Taken for the date of day_0, unless another is named: plainly not the real one, and the same in every delivery."""
_FIELDS = [
    *({"name": name, "optional": True} for name in CATEGORIES),
    *({"name": name, "kind": "number", "optional": True} for name in NUMBERS),
]

CRITEO: dict[str, Any] = {
    "name": "criteo",
    "label": "label",
    "split": {"kind": "random", "test": 0.1, "validation": 0.1},
    "fields": _FIELDS,
}
CRITEO_TERABYTE: dict[str, Any] = {
    **CRITEO,
    "name": "criteo-terabyte",
    "time": "time",
    "split": {"kind": "time", "test": 0.1, "validation": 0.1},
}

_LAYOUT = Layout(
    "a click log of Criteo",
    "\t",
    (Column("label", FLAG), *columns(INTEGER, NUMBERS, optional=True), *columns(TEXT, CATEGORIES, optional=True)),
)


def read(path: Path, import_day: str) -> Source:
    """The Challenge's train.txt, or the folder that holds it; all rows lie in the partition of `import_day`.

    Raises:
        DataError: it is not there; on collecting: a line does not have the official layout.
    """
    file = lines.find(path, TRAIN, "train.txt of Criteo's Display Advertising Challenge")
    events = lines.scan(file, _LAYOUT).with_columns(pl.lit(import_day).alias(DAY))
    return lines.source(CRITEO, events, [file], lines.count([file], _LAYOUT))


def read_terabyte(path: Path, import_day: str) -> Source:
    """The terabyte logs from the folder of (some of) the day files; `day_0` lies, or would lie, on `import_day`.

    Raises:
        DataError: there are none, or a day twice; on collecting: a line does not have the official layout.
    """
    first_day, days = date.fromisoformat(import_day), _day_files(path)
    frames = [_day(file, str(first_day + timedelta(days=number))) for number, file in days.items()]
    note = f"Criteo does not publish the dates of these days: day_0 is taken for {first_day}, times of day are the order of the lines"
    files = list(days.values())
    return lines.source(CRITEO_TERABYTE, pl.concat(frames), files, lines.count(files, _LAYOUT), [note])


def _day(file: Path, day: str) -> pl.LazyFrame:
    midnight = pl.lit(day).str.to_datetime("%Y-%m-%d", time_unit="us", time_zone="UTC")
    time = midnight + pl.duration(microseconds=pl.col(lines.LINE), time_unit="us")
    return lines.scan(file, _LAYOUT).with_columns(time.alias("time"), pl.lit(day).alias(DAY))


def _day_files(path: Path) -> dict[int, Path]:
    """The day files by their number: `path` itself, or those in the folder `path`."""
    files: dict[int, Path] = {}
    for file in sorted(path.iterdir() if path.is_dir() else [path]):
        match = re.fullmatch(r"day_(\d+)(\.gz)?", file.name)
        if match is None:
            continue
        number = int(match[1])
        if number in files:
            raise DataError(f"{path} holds both {files[number].name} and {file.name}, which are the same day; leave one of them")
        files[number] = file
    if not files:
        raise DataError(f"{path} holds none of day_0 to day_23; give the folder of the terabyte logs' days (.gz or not)")
    return dict(sorted(files.items()))
