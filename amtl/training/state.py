"""The training state: full-width table, model and optimizer, as the next warm start needs them. No pickle.

manifest.json            format, model, fields; SHA-256 and bytes of every other file
weights.safetensors      every weight and buffer of the full-width model
optimizer.safetensors    Adam's moments (`Optimizers.tensors`)
vocabulary.parquet       which value each row belongs to
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from torch import Tensor

from amtl.data.vocabulary import Vocabulary, read_frame
from amtl.errors import ArtifactError
from amtl.files import publish_folder, publish_tensors, read_tensors, verify_manifest, write_manifest
from amtl.model.ctr_model import TABLE, CTRModel, ModelConfig, restore, weights_of
from amtl.params import EventsParams
from amtl.training.optimizers import Optimizers

FORMAT = 2


@dataclass(frozen=True)
class State:
    """A state in memory.

    Attributes:
        fields: names of the embedded fields in table order, then of the numeric ones.
        vocabulary: columns field, value, row (in the field), count, frequency, as in `Vocabulary.frame`.
        types: embedded field to the type of its values, where the vocabulary says so.
    """

    config: ModelConfig
    fields: tuple[str, ...]
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    vocabulary: pl.DataFrame
    types: dict[str, str] = field(default_factory=dict)

    def model(self) -> CTRModel:
        """The full-width model with these weights."""
        return restore(self.config, self.weights)


def field_names(events: EventsParams) -> tuple[str, ...]:
    """Names of the fields that shape a model, in its order."""
    return tuple(field.name for field in events.embedded + events.numbers)


def write_state(path: Path, model: CTRModel, optimizers: Optimizers, vocabulary: Vocabulary, events: EventsParams) -> None:
    """Write a state; the folder appears whole or not at all."""
    with publish_folder(path) as folder:
        publish_tensors(folder / "weights.safetensors", weights_of(model))
        publish_tensors(folder / "optimizer.safetensors", optimizers.tensors())
        vocabulary.write(folder / "vocabulary.parquet")
        write_manifest(folder, format=FORMAT, kind="state", model=model.config.to_json(), fields=list(field_names(events)))


def read_state(path: Path) -> State:
    """Verify and read a state.

    Raises:
        ArtifactError: it is missing, damaged or of another format.
    """
    manifest = verify_manifest(path)
    if manifest.get("kind") != "state" or manifest.get("format") != FORMAT:
        raise ArtifactError(f"{path} is no training state of format {FORMAT}; this version of amtl cannot read it")
    vocabulary, types = read_frame(path / "vocabulary.parquet")
    try:
        state = State(
            config=ModelConfig.from_json(manifest["model"]),
            fields=tuple(manifest["fields"]),
            weights=read_tensors(path / "weights.safetensors"),
            moments=read_tensors(path / "optimizer.safetensors"),
            vocabulary=vocabulary,
            types=types,
        )
        if state.weights[TABLE].shape != (len(state.vocabulary), state.config.dim):
            raise ValueError("the vocabulary is not the table's")
        return state
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} does not hold what its manifest says ({error}); fetch or make it again") from None
