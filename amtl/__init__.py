"""Smaller embedding tables at the same AUC: the Adaptively-Masked Twins-based Layer and the workflow around it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_ROOMS = {
    "AdaptivelyMaskedTwins": "amtl.model.twins",
    "compress_model": "amtl.anymodel.compress",
    "load": "amtl.packing.bundle",
    "load_packed": "amtl.anymodel.saving",
    "save_packed": "amtl.anymodel.saving",
}
__all__ = ["AdaptivelyMaskedTwins", "compress_model", "load", "load_packed", "save_packed"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: torch takes a second."""
    if name in _ROOMS:
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module amtl has no attribute {name!r}")
