"""The real data sets of the benchmarks as encoded batches; the files are named on the command line, never shipped.

ml-1m: random 80/10/10 by a fixed seed (the file has no timestamps). frappe: the official split. `rating` and other columns
that carry the label are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from amtl.data.batches import Batch, Scaling, encode
from amtl.data.vocabulary import Vocabulary
from amtl.params import EventsParams

SPLIT_SEED = 2026


@dataclass(frozen=True)
class Dataset:
    """A data set, split and encoded with the vocabulary of its training rows (minimum count 1)."""

    name: str
    events: EventsParams
    vocabulary: Vocabulary
    train: Batch
    validation: Batch
    test: Batch

    @property
    def unknown_rows_F(self) -> torch.Tensor:
        """Each field's unknown row."""
        return torch.tensor(list(self.vocabulary.offsets.values()))


def load(name: str, folder: Path) -> Dataset:
    """`ml-1m` or `frappe` from the folder that holds `NAME.parquet`."""
    frame, events = {"ml-1m": _ml_1m, "frappe": _frappe}[name](pl.read_parquet(folder / f"{name}.parquet"))
    parts = {part: frame.filter(pl.col("split") == part) for part in ("train", "validation", "test")}
    vocabulary = Vocabulary.empty(events).grow(_counts(parts["train"], events))
    encoded = {part: encode(rows, events, vocabulary.lookup, Scaling()) for part, rows in parts.items()}
    return Dataset(name, events, vocabulary, **encoded)


def _events(name: str, fields: list[dict[str, str]]) -> EventsParams:
    split = {"kind": "column", "column": "split"}
    return EventsParams.model_validate({"name": name, "label": "label", "split": split, "fields": fields})


def _ml_1m(frame: pl.DataFrame) -> tuple[pl.DataFrame, EventsParams]:
    fields = [{"name": name, "type": "integer"} for name in ("user_id", "movie_id", "age", "occupation", "year")]
    fields += [{"name": name} for name in ("gender", "zip")] + [{"name": "genres", "kind": "ids"}]
    draw = np.random.default_rng(SPLIT_SEED).permutation(len(frame)) / len(frame)
    split = pl.Series("split", np.where(draw < 0.8, "train", np.where(draw < 0.9, "validation", "test")))
    return frame.with_columns(pl.col("genres").str.split("|"), split), _events("ml-1m", fields)


def _frappe(frame: pl.DataFrame) -> tuple[pl.DataFrame, EventsParams]:
    features = [name for name in frame.columns if name not in ("label", "split", "train_negative_resampled")]
    fields = [{"name": name, "type": "integer"} for name in features]
    return frame.with_columns(pl.col("split").replace({"valid": "validation"})), _events("frappe", fields)


def _counts(train: pl.DataFrame, events: EventsParams) -> pl.DataFrame:
    columns = []
    for field in events.embedded:
        values = train[field.name].explode() if field.kind == "ids" else train[field.name]
        counted = values.cast(pl.String).alias("value").value_counts()
        columns.append(counted.select(pl.lit(field.name).alias("field"), "value", pl.col("count").cast(pl.Int64)))
    return pl.concat(columns)
