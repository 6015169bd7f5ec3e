"""The real data sets of the benchmarks, split and encoded; the folder that holds them is named on the command line, they are never shipped.

| name | file | split |
|---|---|---|
| ml-1m | ml-1m.parquet | random 80/10/10 by a fixed seed (the file has no times) |
| anime | anime.parquet | random 80/10/10 by a fixed seed |
| frappe | frappe.parquet | official; the items of most train negatives were drawn anew |
| ml-100k-random | ml-100k/ in its official layout | random 80/10/10 by a fixed seed |
| ml-100k-time | ml-100k/ in its official layout | the newest 10% test, the newest 10% of the rest validation |

Columns that carry the label, the split or the order of rows are no features. Of the movies' two columns of genres the whole list is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from amtl.data.batches import Batch, Scaling, encode
from amtl.data.vocabulary import Vocabulary
from amtl.errors import DataError
from amtl.files import digest_of, sha256
from amtl.params import EventsParams
from amtl.sources.published.movielens import MOVIELENS_100K, read_100k

SPLIT_SEED = 2026
PARTS = ("train", "validation", "test")
SHARES = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class Table:
    """A data set as it was read: features, label and the column `split`, in order of time where there are times."""

    name: str
    events: EventsParams
    frame: pl.DataFrame

    def part(self, part: str) -> pl.DataFrame:
        """The rows of train, validation or test."""
        return self.frame.filter(pl.col("split") == part)


@dataclass(frozen=True)
class Dataset:
    """A data set, split and encoded with the vocabulary of its training rows."""

    name: str
    events: EventsParams
    vocabulary: Vocabulary
    train: Batch
    validation: Batch
    test: Batch

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all encoded rows."""
        return digest_of([self.train.digest, self.validation.digest, self.test.digest])


def load(name: str, folder: Path, min_count: int = 1, share: float = 1.0) -> Dataset:
    """The data set `name`, encoded; of every part the first `share` of its rows (in their shuffled or timely order)."""
    return encoded(read(name, folder), min_count, share)


def read(name: str, folder: Path) -> Table:
    """The data set `name` from the folder that holds its file.

    Raises:
        DataError: there is no such data set, or its file is not in the folder.
    """
    if name not in READERS:
        raise DataError(f"there is no data set {name}; there are {', '.join(READERS)}")
    try:
        frame, events = READERS[name](folder)
    except OSError as error:
        raise _absent(name, folder, error) from None
    return Table(name, EventsParams.model_validate({**events, "name": name}), frame)


def source_digest(name: str, folder: Path) -> str:
    """Hex SHA-256 that the files of a data set decide.

    Raises:
        DataError: they are not in the folder.
    """
    try:
        return digest_of([sha256(folder / file) for file in FILES[name]])
    except OSError as error:
        raise _absent(name, folder, error) from None


def _absent(name: str, folder: Path, error: OSError) -> DataError:
    return DataError(f"the data set {name} is not in {folder} ({error}); name another folder with --data or AMTL_DATA")


def encoded(table: Table, min_count: int = 1, share: float = 1.0) -> Dataset:
    """Split and encode a table: the vocabulary is that of the training rows which are kept."""
    parts = {part: _first(table.part(part), share) for part in PARTS}
    counts = count_values(parts["train"], table.events)
    vocabulary = Vocabulary.empty(table.events).grow(counts, min_count)
    scaling = scaling_of(parts["train"], table.events)
    return Dataset(table.name, table.events, vocabulary, *(encode(parts[part], table.events, vocabulary.lookup, scaling) for part in PARTS))


def count_values(train: pl.DataFrame, events: EventsParams) -> pl.DataFrame:
    """Occurrences of every value in the training rows: columns field, value (text), count."""
    columns = []
    for field in events.embedded:
        values = train[field.name].explode() if field.kind == "ids" else train[field.name]
        counted = values.cast(pl.String).alias("value").value_counts()
        columns.append(counted.select(pl.lit(field.name).alias("field"), "value", pl.col("count").cast(pl.Int64)))
    return pl.concat(columns)


def scaling_of(train: pl.DataFrame, events: EventsParams) -> Scaling:
    """Mean and standard deviation of the numeric fields over the training rows."""
    names = [field.name for field in events.numbers]
    numbers = train.select(pl.col(names).cast(pl.Float64))
    rows = (numbers.mean().row(0), numbers.std().row(0))
    mean, std = (dict(zip(names, figures, strict=True)) for figures in rows)
    return Scaling(mean, std)


def random_split(rows: int) -> pl.Series:
    """A random 80/10/10 split by the fixed seed, as the column `split`."""
    draw = np.random.default_rng(SPLIT_SEED).permutation(rows) / rows
    return pl.Series("split", np.where(draw < SHARES[0], "train", np.where(draw < SHARES[0] + SHARES[1], "validation", "test")))


def split_by_time(rows: int) -> pl.Series:
    """The oldest 80% train, the next 10% validate, the newest test, of rows in order of time."""
    position = np.arange(rows) / rows
    return pl.Series("split", np.where(position < SHARES[0], "train", np.where(position < SHARES[0] + SHARES[1], "validation", "test")))


def _first(rows: pl.DataFrame, share: float) -> pl.DataFrame:
    return rows.head(round(len(rows) * share)) if share < 1 else rows


def _integers(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "type": "integer"} for name in names]


def _section(fields: list[dict[str, str]]) -> dict[str, Any]:
    return {"label": "label", "split": {"kind": "column", "column": "split"}, "fields": fields}


def _ml_1m(folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    frame = pl.read_parquet(folder / "ml-1m.parquet")
    fields = [
        *_integers("user_id", "movie_id", "age", "occupation", "year"),
        *[{"name": name} for name in ("gender", "zip")],
        {"name": "genres", "kind": "ids"},
    ]
    return frame.with_columns(pl.col("genres").str.split("|"), random_split(len(frame))), _section(fields)


def _anime(folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    frame = pl.read_parquet(folder / "anime.parquet")
    fields = [*_integers("user_id", "anime_id"), {"name": "type"}, {"name": "episodes"}, {"name": "genres", "kind": "ids"}]
    return frame.with_columns(pl.col("genres").str.split(", "), random_split(len(frame))), _section(fields)


def _frappe(folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    frame = pl.read_parquet(folder / "frappe.parquet")
    features = [name for name in frame.columns if name not in ("label", "split", "train_negative_resampled")]
    return frame.with_columns(pl.col("split").replace({"valid": "validation"})), _section(_integers(*features))


def _ml_100k(split: Callable[[int], pl.Series]) -> Callable[[Path], tuple[pl.DataFrame, dict[str, Any]]]:
    def reader(folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
        frame = read_100k(folder / "ml-100k", "1970-01-01").frame.collect()
        return frame.with_columns(split(len(frame))), {**_section(MOVIELENS_100K["fields"]), "label": MOVIELENS_100K["label"]}

    return reader


READERS: dict[str, Callable[[Path], tuple[pl.DataFrame, dict[str, Any]]]] = {
    "ml-1m": _ml_1m,
    "anime": _anime,
    "frappe": _frappe,
    "ml-100k-random": _ml_100k(random_split),
    "ml-100k-time": _ml_100k(split_by_time),
}

_MOVIELENS_FILES = ("ml-100k/u.data", "ml-100k/u.user", "ml-100k/u.item")
FILES: dict[str, tuple[str, ...]] = {
    **{name: (f"{name}.parquet",) for name in ("ml-1m", "anime", "frappe")},
    **dict.fromkeys(("ml-100k-random", "ml-100k-time", "ml-100k-days"), _MOVIELENS_FILES),
    "sample-days": (),
}
"""The files of each data set, those that are read day by day among them."""
