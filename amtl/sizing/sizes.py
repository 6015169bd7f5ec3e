"""From a trained model to sizes: rotate and price every size of every row, learn some cold, or train the published layer jointly.

Shapes: V rows of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
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
from amtl.sizing.front import COLD, Front
from amtl.sizing.joint import descend_jointly
from amtl.sizing.paper import train_jointly
from amtl.sizing.pricing import price, rungs_of, twins_worth
from amtl.training.loop import pick_device
from amtl.training.tuning import Fresh


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        model: full width; rotated (budget mode), or as trained jointly with the layer (paper mode).
        front: budget mode: what every size of every row costs and is worth; else None.
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
    also: Collection[str] = (),
) -> Found:
    """Search in the way that params.yaml asks for; `model` is the trained full-width one and is changed.

    Args:
        resume: folder for checkpoints of joint training: in paper mode, and of the cold twins.
        also: further selectors for the front (`pricing.price`, `front.COLD`) beside those that params.yaml asks for.
    """
    shown_V = torch.from_numpy(vocabulary.exposures_V(settings.train.unknown_rate, len(train)))
    field_V = torch.from_numpy(vocabulary.fields_V)
    if settings.search.sizes == "paper":
        sizes_V, report = train_jointly(settings, shown_V, field_V, model, train, validation, resume, log)
        return Found(model, None, sizes_V, report)
    device, search, asked = pick_device(settings.train.device), settings.search, {*also, *_learned(settings)}
    front, report = price(model, field_V, shown_V, train, search, settings.train.seed, device, log, asked)
    if COLD in asked:
        log("learning sizes cold: the twins from frequency alone, together with a fresh model")
        fresh = Fresh.of(settings, len(field_V))
        parts = fresh.build(), shown_V, field_V, train, validation, search, fresh.fit, device, log
        descent = descend_jointly(*parts, resume and resume / COLD)
        front, report = front.with_worth(COLD, twins_worth(descent, front)), {**report, "cold": rungs_of(descent, model.config.dim)}
    return Found(model, front, None, {"mode": "budget", **report})


def _learned(settings: Params) -> tuple[str, ...]:
    """Selectors that must be trained for `search.sizes`: with `auto` cold ones only where models are trained anew, for which they are."""
    sizes, anew = settings.search.sizes, settings.compress.finetune.born_again
    return {"auto": ("twins", COLD) if anew else ("twins",), "twins": ("twins",), COLD: (COLD,)}.get(sizes, ())
