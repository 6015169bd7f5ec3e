"""From a trained model to sizes: rotate and price every size of every row, or train the published layer jointly.

Shapes: V rows of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amtl.data.dataset import Rows
from amtl.data.vocabulary import Vocabulary
from amtl.errors import ArtifactError
from amtl.files import publish_json, publish_tensors, read_tensors
from amtl.model.ctr_model import CTRModel, ModelConfig, restore, weights_of
from amtl.params import Params
from amtl.sizing import search
from amtl.sizing.basis import balanced_basis, curvature_FDD, rotate, tail_energies
from amtl.sizing.costs import Sample, row_costs, sample_effects
from amtl.sizing.front import UNSEEN, Front, useful_FL
from amtl.sizing.levels import size_levels
from amtl.sizing.paper import train_jointly
from amtl.sizing.twins import Descent, descend, energy_profiles
from amtl.training.loop import pick_device

BASIS_ROWS = 200_000


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        model: full width; rotated (budget mode), or as trained jointly with the layer (paper mode).
        front: budget mode: what every size of every row costs and is worth; else None.
        sizes_V: paper mode: the size of every table row; else None.
        report: JSON-able.
        rungs: until allocation reads the front, what it reads instead.
    """

    model: CTRModel
    front: Front | None
    sizes_V: Tensor | None
    report: dict[str, Any]
    rungs: search.Front | None = None

    def write(self, folder: Path) -> None:
        """Write model.safetensors, front.safetensors or sizes.safetensors, and report.json."""
        publish_tensors(folder / "model.safetensors", weights_of(self.model))
        if self.front is not None:
            self.front.write(folder / "front.safetensors")
        if self.rungs is not None:
            self.rungs.write(folder / "rungs.safetensors")
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
        if paper:
            return cls(model, None, sizes_V, {})
        return cls(model, Front.read(folder / "front.safetensors"), None, {}, search.Front.read(folder / "rungs.safetensors"))


def find_sizes(
    settings: Params,
    vocabulary: Vocabulary,
    model: CTRModel,
    train: Rows,
    validation: Rows,
    resume: Path | None,
    log: Callable[[str], None],
) -> Found:
    """Search in the way that params.yaml asks for; `model` is the trained full-width one and is changed."""
    shown_V = torch.from_numpy(vocabulary.exposures_V(settings.train.unknown_rate, len(train)))
    field_V = torch.from_numpy(vocabulary.fields_V)
    if settings.search.sizes == "paper":
        sizes_V, report = train_jointly(settings, shown_V, field_V, model, train, validation, resume, log)
        return Found(model, None, sizes_V, report)
    return _under_budget(settings, shown_V, field_V, model, train, log)


def _under_budget(settings: Params, shown_V: Tensor, field_V: Tensor, model: CTRModel, train: Rows, log: Callable[[str], None]) -> Found:
    seed, device = settings.train.seed, pick_device(settings.train.device)
    curvature = curvature_FDD(model, train, device, BASIS_ROWS, seed)
    read = rotate(model, balanced_basis(model.embedding.weight.detach(), shown_V.numpy(), field_V.numpy(), curvature), field_V.numpy())
    sample = sample_effects(model, train, field_V, size_levels(model.config.dim), device, settings.search.rows, seed)
    table_VD = model.embedding.weight.detach()
    front = priced(sample, table_VD, shown_V, len(train))
    report: dict[str, Any] = {"mode": "budget", "rows_read": sample.events, "levels": front.size_L1.tolist()}
    energies = tail_energies(table_VD, curvature, read, field_V.numpy())
    old = search.search_under_budget(model, train, shown_V, field_V, energies, settings.search, seed, device, lambda text: None)
    if settings.search.sizes not in ("auto", "twins"):
        return Found(model, front, None, report, old)
    energies_VE = energy_profiles(sample, table_VD)
    descent = descend(shown_V, field_V, energies_VE, front.costs_VL1, front.size_L1, settings.search, seed, log)
    front = front.with_worth("twins", twins_worth(descent, front))
    return Found(model, front, None, {**report, **_rungs(descent, model.config.dim)}, old)


def priced(sample: Sample, table_VD: Tensor, shown_V: Tensor, events: int) -> Front:
    """The front of a table by curvature; `sample` is used up.

    Args:
        shown_V: occurrences of each row in training; a row without any is taken to have `UNSEEN`. events: training events.
    """
    lookups_V = (shown_V.clamp(min=UNSEEN) / max(events, 1)).float()
    costs_VL1 = row_costs(sample, table_VD, lookups_V)
    return Front(sample.size_L1, costs_VL1, sample.noise_FD, lookups_V, sample.field_V, max(events, 1))


def twins_worth(descent: Descent, front: Front) -> Tensor:
    """What level l is worth over level l - 1 to the twins, float32 [V, L]."""
    worth_GL = descent.worth(front.size_L1)
    useful_GL = useful_FL(front.field_V, front.size_L1).repeat_interleave(len(worth_GL) // len(front.noise_FD), dim=0)
    return (worth_GL * useful_GL)[descent.group_V]


def _rungs(descent: Descent, dim: int) -> dict[str, Any]:
    """What the descent reached, for the report."""
    numbers = float(descent.values_G.sum()) * dim
    kept_R = (descent.wanted_RG.round() * descent.values_G).sum(1) / numbers
    rungs = [{"share": share, "kept": kept} for share, kept in zip(descent.share_R.tolist(), kept_R.tolist(), strict=True)]
    return {"rungs": rungs, "groups": int((descent.values_G > 0).sum())}
