"""Training checkpoints: tensors in safetensors, the rest in JSON, the manifest last; the newest complete one counts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from amtl.errors import ArtifactError
from amtl.files import publish_folder, publish_json, publish_tensors, read_json, read_tensors, verify_manifest, write_manifest

KEPT = 2


def save(folder: Path, number: int, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
    """Write checkpoint `number` (they must grow) and keep the last two."""
    with publish_folder(folder / f"{number:012d}") as temporary:
        publish_tensors(temporary / "tensors.safetensors", {name: tensor.contiguous() for name, tensor in tensors.items()})
        publish_json(temporary / "progress.json", progress)
        write_manifest(temporary, format=1, kind="checkpoint")
    for old in _numbered(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def latest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest checkpoint that is complete and undamaged; None where there is none."""
    for path in reversed(_numbered(folder)):
        try:
            verify_manifest(path)
        except ArtifactError:
            continue
        return read_tensors(path / "tensors.safetensors"), read_json(path / "progress.json")
    return None


def _numbered(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir()) if folder.is_dir() else []
