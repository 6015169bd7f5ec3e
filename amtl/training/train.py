"""Train the full-width model: cold, or warm from a parent's state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from amtl.data.dataset import Rows
from amtl.data.vocabulary import Vocabulary
from amtl.model.ctr_model import CTRModel, ModelConfig, build
from amtl.params import EventsParams, Params
from amtl.training.loop import FitSettings, Trainer, pick_device
from amtl.training.optimizers import Optimizers
from amtl.training.state import field_names, read_state, write_state
from amtl.training.warm_start import warm_start


@dataclass(frozen=True)
class Trained:
    """A trained model with its optimizers, and the report {"warm_start", "history", "device"}."""

    model: CTRModel
    optimizers: Optimizers
    vocabulary: Vocabulary
    events: EventsParams
    report: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write the training state."""
        write_state(path, self.model, self.optimizers, self.vocabulary, self.events)


def train(
    settings: Params,
    vocabulary: Vocabulary,
    train: Rows,
    validation: Rows,
    parent_state: Path | None,
    resume: Path | None,
    log: Callable[[str], None],
) -> Trained:
    """Fit the model that params.yaml describes.

    Args:
        parent_state: folder of the parent's state; None: cold start.
        resume: folder for checkpoints; None: none are written.
    """
    wanted = settings.train
    torch.manual_seed(wanted.seed)
    model = build(ModelConfig.of(settings.events, wanted), vocabulary.rows, wanted.init_std)
    optimizers = Optimizers(model, wanted.learning_rate)
    report: dict[str, Any] = {"warm_start": {"parent": "none", "fields": _all_new(vocabulary)}}
    if parent_state is not None:
        carried = warm_start(model, optimizers, read_state(parent_state), vocabulary, field_names(settings.events))
        report["warm_start"] = {"parent": "pinned", **carried}
        log(f"warm start: {sum(tally['carried'] for tally in carried['fields'].values()):,} rows carried, backbone {carried['backbone']}")
    device = pick_device(wanted.device)
    trainer = Trainer(
        model,
        fit_settings(settings, warm=parent_state is not None),
        device,
        torch.tensor(list(vocabulary.offsets.values())),
        optimizers=optimizers,
        resume=resume,
        log=log,
    )
    progress = trainer.fit(train, validation)
    model.to("cpu")
    return Trained(model, optimizers, vocabulary, settings.events, {**report, "history": progress.history, "device": device.type})


def fit_settings(settings: Params, warm: bool) -> FitSettings:
    """The `train` section as settings of one fit; a warm start's weights compete with what training makes of them."""
    wanted = settings.train
    return FitSettings(
        epochs=wanted.epochs,
        patience=wanted.patience,
        batch_size=wanted.batch_size,
        learning_rate=wanted.learning_rate,
        seed=wanted.seed,
        l2=wanted.l2,
        unknown_rate=wanted.unknown_rate,
        bf16=wanted.bf16,
        keep_start=warm,
        checkpoint_steps=wanted.checkpoint_steps,
    )


def _all_new(vocabulary: Vocabulary) -> dict[str, dict[str, int]]:
    return {field: {"carried": 0, "new": rows, "dropped": 0, "rows": rows} for field, rows in vocabulary.sizes.items()}
