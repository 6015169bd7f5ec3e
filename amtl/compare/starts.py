"""What is trained once a seed, before any method begins: the full-width table, its control, and the search; kept by digest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from amtl.compare.task import Starts, Task, Weights
from amtl.data.dataset import Rows
from amtl.data.vocabulary import Vocabulary
from amtl.errors import ArtifactError
from amtl.files import (
    digest_of,
    digest_of_tensors,
    publish_folder,
    publish_tensors,
    read_tensors,
    verify_manifest,
    write_manifest,
)
from amtl.model.ctr_model import CTRModel, weights_of
from amtl.params import Params
from amtl.sizing.front import COLD, Front
from amtl.sizing.sizes import find_sizes
from amtl.training.control import make_control
from amtl.training.loop import pick_device
from amtl.training.train import train
from amtl.training.tuning import tuning_for

CODE = ("amtl.data", "amtl.model", "amtl.training", "amtl.sizing", "amtl.packing", "amtl.release.evaluate")
"""Rooms, and a module, whose code decides what a training gives."""
TRAININGS = "trainings"
"""How folders begin, beside a problem's finished runs, of what its methods have trained and may take up."""


@dataclass(frozen=True)
class Data:
    """Encoded rows of the three parts, and what their table rows mean."""

    vocabulary: Vocabulary
    train: Rows
    validation: Rows
    test: Rows

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that methods and scores read."""
        shown = {"counts_V": torch.from_numpy(self.vocabulary.frequencies_V), "field_V": torch.from_numpy(self.vocabulary.fields_V)}
        return digest_of([digest_of_tensors(shown), *(part.digest for part in (self.train, self.validation, self.test))])


@dataclass(frozen=True)
class Problem:
    """One seed's task, the rows that judge at the end, and a digest of all that decides a method's result on it."""

    task: Task
    test_rows: Rows
    digest: str


def problem(
    settings: Params,
    data: Data,
    cache: Path,
    log: Callable[[str], None],
    *,
    code: str,
    trainings: str = "",
) -> Problem:
    """The problem of `settings.train.seed`; what it starts from is trained, or read from the cache.

    Args:
        cache: folder; the starts of a problem lie in a folder named by its digest.
        log: takes lines of progress of what is trained here.
        code: what stands for the code in the digest.
        trainings: what stands for the methods' code in the name of the folder of what they train for each other; empty: there is none.
    """
    trained = settings.model_dump(mode="json", include={"events", "train", "search"})
    key = digest_of([trained, settings.compress.finetune.model_dump(mode="json"), data.digest, code])
    folder, device = cache / key[:32] / "starts", pick_device(settings.train.device)
    starts = _kept(folder)
    if starts is None:
        for old in folder.parent.glob(f"{TRAININGS}-*"):
            shutil.rmtree(old, ignore_errors=True)
        starts = _trained(settings, data, log)
        _keep(starts, folder)
    shared = folder.parent / f"{TRAININGS}-{trainings[:16]}" if trainings else None
    task = Task(settings, data.vocabulary, data.train, data.validation, starts, device, _silent, shared)
    return Problem(task, data.test, key)


def _trained(settings: Params, data: Data, log: Callable[[str], None]) -> Starts:
    log(f"seed {settings.train.seed}: training the full-width table")
    base = train(settings, data.vocabulary, data.train, data.validation, None, None, log).model
    weights = _copied(base)
    log(f"seed {settings.train.seed}: fine-tuning the full-width control")
    tuning = tuning_for(settings, data.vocabulary, data.train, data.validation, log)
    control = make_control(base, tuning).model
    log(f"seed {settings.train.seed}: what every value is worth at every size")
    taught = _copied(control)
    found = find_sizes(settings, data.vocabulary, control, data.train, data.validation, None, log, also=("magnitude", "single", COLD))
    assert found.front is not None, "a comparison searches with search.sizes: auto"
    return Starts(weights, taught, _copied(found.model), found.front)


def _copied(model: CTRModel) -> Weights:
    return {name: tensor.clone() for name, tensor in weights_of(model).items()}


def _silent(text: str) -> None:
    """The log of a run: of so many, epochs tell nobody anything."""


def _keep(starts: Starts, folder: Path) -> None:
    with publish_folder(folder) as temporary:
        for name in ("base", "control", "rotated"):
            publish_tensors(temporary / f"{name}.safetensors", dict(getattr(starts, name)))
        starts.front.write(temporary / "front.safetensors")
        write_manifest(temporary, format=1, kind="starts of a comparison")


def _kept(folder: Path) -> Starts | None:
    """What `_keep` wrote, used now; None where there is none, or a damaged one."""
    try:
        verify_manifest(folder)
        weights = {name: read_tensors(folder / f"{name}.safetensors") for name in ("base", "control", "rotated")}
        os.utime(folder.parent)
        return Starts(front=Front.read(folder / "front.safetensors"), **weights)
    except ArtifactError:
        return None
