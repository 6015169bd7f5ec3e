"""Smaller embedding tables at the same AUC: the Adaptively-Masked Twins-based Layer and the workflow around it."""

from __future__ import annotations

from typing import Any

__all__ = ["AdaptivelyMaskedTwins", "compress_model", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: torch takes a second."""
    if name == "AdaptivelyMaskedTwins":
        from amtl.model.twins import AdaptivelyMaskedTwins

        return AdaptivelyMaskedTwins
    if name == "compress_model":
        from amtl.anymodel.compress import compress_model

        return compress_model
    if name == "load":
        from amtl.packing.bundle import load

        return load
    raise AttributeError(f"module amtl has no attribute {name!r}")
