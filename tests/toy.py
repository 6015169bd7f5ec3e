"""A small problem that tests share: events with a signal, their vocabulary, their batches; trained in a fraction of a second."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import torch

from amtl.data.batches import Batch, Scaling, encode
from amtl.data.vocabulary import Vocabulary
from amtl.model.ctr_model import CTRModel, ModelConfig, build
from amtl.packing import bundle
from amtl.packing.layout import Layout
from amtl.params import EventsParams, Params, parse

FIELDS = [
    {"name": "user", "type": "integer"},
    {"name": "item", "optional": True},
    {"name": "tags", "kind": "ids", "optional": True},
    {"name": "age", "kind": "number", "optional": True},
]
EVENTS = {"name": "toy", "label": "click", "split": {"kind": "random"}, "fields": FIELDS}
TRAIN = {"dim": 6, "hidden": [8], "batch_size": 64, "epochs": 3, "patience": 3, "learning_rate": 0.02, "init_std": 0.1, "device": "cpu"}
SEARCH = {"hidden": [8], "buckets": 6, "steps": 40, "learning_rate": 0.05, "ladder": [0.6, 0.3]}
COMPRESS = {"budget": 0.8, "finetune": {"epochs": 2, "patience": 2, "learning_rate": 5e-3}}


def settings(**sections: dict[str, Any]) -> Params:
    """Settings of the problem; keyword arguments are sections whose entries replace the small ones."""
    small = {"events": EVENTS, "train": TRAIN, "search": SEARCH, "compress": COMPRESS, "register": {"name": "toy"}}
    return parse({name: {**small.get(name, {}), **sections.get(name, {})} for name in {**small, **sections}})


def frame(rows: int, seed: int = 0) -> pl.DataFrame:
    """Raw events: 30 users and 12 items of Zipf frequency, up to 3 of 5 tags, an age; users and items decide the click."""
    random = np.random.default_rng(seed)
    taste_U, appeal_I = np.random.default_rng(1).normal(size=31), np.random.default_rng(2).normal(size=13)
    users, items = random.zipf(1.3, rows) % 31, random.zipf(1.5, rows) % 13
    logits = 1.5 * taste_U[users] + 1.5 * appeal_I[items]
    return pl.DataFrame(
        {
            "user": users,
            "item": [f"item {item}" for item in items],
            "tags": [[f"tag {tag}" for tag in random.integers(0, 5, count)] for count in random.integers(0, 4, rows)],
            "age": np.where(random.random(rows) < 0.1, np.nan, random.normal(40, 10, rows)),
            "click": (random.random(rows) < 1 / (1 + np.exp(-logits))).astype(np.int8),
        },
        schema_overrides={"tags": pl.List(pl.String), "click": pl.Int8},
    )


def vocabulary_of(events: EventsParams, rows: pl.DataFrame) -> Vocabulary:
    """The vocabulary that counting these rows makes."""
    lists = {field.name for field in events.multi}
    columns = [
        (rows.select(pl.col(name).explode()) if name in lists else rows.select(name))
        .select(pl.lit(name).alias("field"), pl.col(name).cast(pl.String).alias("value"))
        .group_by("field", "value")
        .len("count")
        .cast({"count": pl.Int64})
        for name in (field.name for field in events.embedded)
    ]
    return Vocabulary.empty(events).grow(pl.concat(columns))


@dataclass(frozen=True)
class Toy:
    """The problem: raw test rows, and encoded train and validation rows."""

    settings: Params
    vocabulary: Vocabulary
    scaling: Scaling
    raw: pl.DataFrame
    train: Batch
    validation: Batch

    @property
    def config(self) -> ModelConfig:
        return ModelConfig.of(self.settings.events, self.settings.train)

    @property
    def unknown_rows_F(self) -> torch.Tensor:
        return torch.tensor(list(self.vocabulary.offsets.values()))

    def model(self, seed: int = 0, std: float = 0.5) -> CTRModel:
        """A model with random weights, large enough that every part of it matters."""
        torch.manual_seed(seed)
        return build(self.config, self.vocabulary.rows, std)

    def layout(self, sizes_V: torch.Tensor, precision: str = "fp32") -> Layout:
        """The layout of sizes for every table row."""
        return Layout.of_sizes(sizes_V, torch.from_numpy(self.vocabulary.fields_V), self.config.dim, precision)

    def contents(self, model: CTRModel, sizes_V: torch.Tensor, precision: str = "fp32") -> bundle.Contents:
        """What a bundle of that model holds."""
        lineage = {"budget": "60%"}
        layout = self.layout(sizes_V, precision)
        return bundle.Contents(model, layout, self.vocabulary, self.settings.events, self.scaling, lineage, "# Toy\n")


@cache
def toy(backbone: str = "mlp", rows: int = 600, dim: int = 6) -> Toy:
    """The problem for a backbone; the same object for the same arguments, so change nothing in it."""
    return problem_of(settings(train={"backbone": backbone, "dim": dim}), rows)


def problem_of(chosen: Params, rows: int) -> Toy:
    """The problem under any settings, whose fields may be fewer."""
    train, held_out = frame(rows), frame(200, seed=1)
    vocabulary = vocabulary_of(chosen.events, train)
    scaling = Scaling({"age": 40.0}, {"age": 10.0})
    encoded = [encode(part, chosen.events, vocabulary.lookup, scaling) for part in (train, held_out)]
    return Toy(chosen, vocabulary, scaling, held_out, *encoded)


def with_settings(problem: Toy, **sections: dict[str, Any]) -> Toy:
    """The same data under other settings."""
    raw = problem.settings.model_dump(mode="json", by_alias=True)
    return replace(problem, settings=parse({name: {**section, **sections.get(name, {})} for name, section in raw.items()}))


def silent(text: str) -> None:
    """A log that nobody reads."""


def equal_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of named tensors are equal bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())
