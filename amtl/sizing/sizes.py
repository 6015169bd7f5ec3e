"""From a trained model to sizes: rotate and search under a ladder of budgets, or train the published layer jointly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amtl.data.dataset import Rows
from amtl.data.vocabulary import Vocabulary
from amtl.errors import ArtifactError
from amtl.files import publish_json, publish_tensors, read_tensors
from amtl.model.ctr_model import CTRModel, ModelConfig, restore, weights_of
from amtl.params import Params
from amtl.sizing.basis import balanced_basis, curvature_FDD, rotate, tail_energies
from amtl.sizing.search import Front, describe_sizes, put_layer_behind, search_under_budget
from amtl.training.loop import Trainer, pick_device
from amtl.training.train import fit_settings

BASIS_ROWS = 200_000


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        model: full width; rotated (budget mode), or as trained jointly with the layer (paper mode).
        front: budget mode: sizes for a ladder of budgets; else None.
        sizes_V: paper mode: the size of every table row; else None.
        report: JSON-able.
    """

    model: CTRModel
    front: Front | None
    sizes_V: Tensor | None
    report: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write model.safetensors, front.safetensors or sizes.safetensors, and report.json."""
        publish_tensors(folder / "model.safetensors", weights_of(self.model))
        if self.front is not None:
            self.front.write(folder / "front.safetensors")
        (folder / "sizes.safetensors").unlink(missing_ok=True)  # of a search in the other mode
        if self.sizes_V is not None:
            publish_tensors(folder / "sizes.safetensors", {"sizes_V": self.sizes_V})
        publish_json(folder / "report.json", self.report)

    @classmethod
    def read(cls, folder: Path, config: ModelConfig) -> Found:
        """Read what `write` wrote.

        Raises:
            ArtifactError: a file is missing or damaged.
        """
        try:
            model = restore(config, read_tensors(folder / "model.safetensors"))
            paper = (folder / "sizes.safetensors").exists()
            sizes_V = read_tensors(folder / "sizes.safetensors")["sizes_V"] if paper else None
        except (ValueError, KeyError) as error:
            raise ArtifactError(f"{folder} holds no search result that can be read ({error}); rerun: dvc repro search") from None
        return cls(model, None if paper else Front.read(folder / "front.safetensors"), sizes_V, {})


def find_sizes(
    settings: Params,
    vocabulary: Vocabulary,
    model: CTRModel,
    train: Rows,
    validation: Rows,
    resume: Path | None,
    log: Callable[[str], None],
) -> Found:
    """Search in the mode that params.yaml asks for; `model` is the trained full-width one and is changed."""
    shown_V = vocabulary.exposures_V(settings.train.unknown_rate, len(train))
    if settings.search.sizes == "paper":
        return _as_published(settings, shown_V, vocabulary.fields_V, model, train, validation, resume, log)
    return _under_budget(settings, shown_V, vocabulary.fields_V, model, train, log)


def _under_budget(
    settings: Params, shown_V: np.ndarray, field_V: np.ndarray, model: CTRModel, train: Rows, log: Callable[[str], None]
) -> Found:
    device, seed = pick_device(settings.train.device), settings.train.seed
    curvature = curvature_FDD(model, train, device, BASIS_ROWS, seed)
    read = rotate(model, balanced_basis(model.embedding.weight.detach(), shown_V, field_V, curvature), field_V)
    energies = tail_energies(model.embedding.weight.detach(), curvature, read, field_V)
    counts, fields = torch.from_numpy(shown_V), torch.from_numpy(field_V)
    front = search_under_budget(model, train, counts, fields, energies, settings.search, seed, device, log)
    model.to("cpu")
    rungs = [{"share": share, "kept": _kept(front, wanted)} for share, wanted in zip(settings.search.ladder, front.wanted_RG, strict=True)]
    return Found(model, front, None, {"mode": "budget", "rungs": rungs, "groups": int((front.values_G > 0).sum())})


def _kept(front: Front, wanted_G: Tensor) -> float:
    return float((wanted_G.round() * front.values_G).sum() / (front.values_G.sum() * front.dim))


def _as_published(
    settings: Params,
    shown_V: np.ndarray,
    field_V: np.ndarray,
    model: CTRModel,
    train: Rows,
    validation: Rows,
    resume: Path | None,
    log: Callable[[str], None],
) -> Found:
    """Joint training for `search.epochs` epochs, all of them: the last weights count, as the sizes belong to them."""
    seed, device = settings.train.seed, pick_device(settings.train.device)
    twins = put_layer_behind(model, torch.from_numpy(shown_V), torch.from_numpy(field_V), settings.search, seed)
    at_start = describe_sizes(twins.sizes(), twins.dim)
    log(f"sizes at initialisation: mean {at_start['mean_size']:.2f} of {twins.dim}, {at_start['distinct_sizes']} different")
    fit = replace(fit_settings(settings, warm=False), epochs=settings.search.epochs, patience=settings.search.epochs, keep_last=True)
    optimizers_rate = {"embedder.lookup.twins": settings.search.learning_rate}
    trainer = Trainer(
        model, fit, device, torch.tensor(np.flatnonzero(np.diff(field_V, prepend=-1))), rates=optimizers_rate, resume=resume, log=log
    )
    trainer.fit(train, validation)
    sizes_V = twins.sizes().cpu()
    model.embedder.lookup = model.embedding
    model.to("cpu")
    at_end = describe_sizes(sizes_V, twins.dim)
    log(f"sizes after training: mean {at_end['mean_size']:.2f} of {twins.dim}, {at_end['distinct_sizes']} different")
    return Found(model, None, sizes_V, {"mode": "paper", "sizes_at_initialisation": at_start, "sizes": at_end})
