"""Frappe, a log of app usage with sampled negatives, in the libfm files in which it is commonly benchmarked.

Published with "Neural Factorization Machines" (He & Chua, 2017) as https://github.com/hexiangnan/neural_factorization_machine,
data/frappe: `frappe.train.libfm`, `frappe.validation.libfm`, `frappe.test.libfm`. A line is a label, 1 or -1, and the ten fields in
a fixed order as `INDEX:1`; the README there gives each field's number of values, so that each field's block of indices is
known. Values are numbered within their field, from 0. The original `frappe.csv` (arXiv 1505.03014) holds no negatives and is
not read. There are no times.
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any

import polars as pl

from amtl.sources.published import lines
from amtl.sources.published.layout import Column, Kind, Layout, coded
from amtl.sources.source import DAY, Source

VALUES = {
    "user": 957,
    "item": 4082,
    "daytime": 7,
    "weekday": 7,
    "isweekend": 2,
    "homework": 3,
    "cost": 2,
    "weather": 9,
    "country": 80,
    "city": 233,
}
"""The fields in their order, with the number of values of each."""

PARTS = ("train", "validation", "test")

FRAPPE: dict[str, Any] = {
    "name": "frappe",
    "label": "used",
    "split": {"kind": "column", "column": "split"},
    "fields": [{"name": name, "type": "integer"} for name in VALUES],
}


def _value(first: int, values: int) -> Kind:
    """`INDEX:1` with an index of the field's block, as the value's number within the field."""

    def parse(text: pl.Expr) -> pl.Expr:
        number = text.str.extract(r"^(\d+):1$").cast(pl.Int64, strict=False) - first
        return pl.when(number.is_between(0, values - 1)).then(number)

    return Kind(f"one of {first}:1 to {first + values - 1}:1", parse)


_FIRST = dict(zip(VALUES, accumulate(VALUES.values(), initial=0), strict=False))
_LAYOUT = Layout(
    "a libfm file of Frappe",
    " ",
    (Column("used", coded({"-1": 0, "1": 1})), *(Column(name, _value(_FIRST[name], VALUES[name])) for name in VALUES)),
)


def read(path: Path, import_day: str) -> Source:
    """Frappe from the folder `path` with the three libfm files; all rows lie in the partition of `import_day`.

    Raises:
        DataError: a file is missing; on collecting: a line does not have the official layout.
    """
    files = [lines.find(path / f"frappe.{part}.libfm", (), "the folder with the three libfm files of Frappe") for part in PARTS]
    parts = [lines.scan(file, _LAYOUT).with_columns(pl.lit(part).alias("split")) for file, part in zip(files, PARTS, strict=True)]
    events = pl.concat(parts).with_columns(pl.lit(import_day).alias(DAY))
    return lines.source(FRAPPE, events, files, lines.count(files, _LAYOUT))
