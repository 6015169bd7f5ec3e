"""The models that evaluation compares on the same test rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from amtl.data.dataset import Rows
from amtl.errors import ArtifactError
from amtl.files import read_tensors
from amtl.packing.layout import dense_bytes
from amtl.release.evaluate import score

if TYPE_CHECKING:
    from torch import Tensor

    from amtl.model.ctr_model import CTRModel
    from amtl.packing.bundle import Predictor


@dataclass(frozen=True)
class Candidates:
    """The packed bundle, the same model masked but not packed, the fixed-width control, and the parent's bundle."""

    packed: Predictor
    masked: CTRModel
    control: CTRModel
    parent: Predictor | None
    sizes_V: Tensor

    @classmethod
    def read(cls, compressed: Path, control: CTRModel, parent: Path | None) -> Candidates:
        """Read what compress wrote beside its control; `parent` is a bundle, or None.

        Raises:
            ArtifactError: something is missing or damaged.
        """
        from amtl.model.ctr_model import restore
        from amtl.packing.bundle import load

        weights = read_tensors(compressed / "masked.safetensors")
        plain = {name.replace("lookup.embedding.", "lookup."): tensor for name, tensor in weights.items()}
        try:
            return cls(
                sizes_V=plain.pop("embedder.lookup.sizes_V"),
                packed=load(compressed / "bundle"),
                masked=restore(control.config, plain),
                control=control,
                parent=load(parent) if parent else None,
            )
        except (ValueError, KeyError) as error:
            raise ArtifactError(
                f"{compressed} holds another model than params.yaml describes ({error}); rerun: dvc repro compress"
            ) from None


def score_candidates(
    candidates: Candidates, raw: Iterable[pl.DataFrame], test: Rows, batch_size: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metrics, and test probabilities of the packed model (`auc`) and the control (`auc_fixed`).

    Args:
        raw: the test rows as raw values, in chunks: the bundles read them as a server would.
        test: the same rows, encoded.
    """
    import torch

    from amtl.training.loop import predict

    labels, cpu = test.labels.numpy(), torch.device("cpu")
    served = {"packed": candidates.packed} | ({"parent": candidates.parent} if candidates.parent else {})
    guesses = serve(served, raw, batch_size)
    control = predict(candidates.control, test, cpu, batch_size)
    metrics: dict[str, Any] = {**score(labels, guesses["packed"]), "rows": len(test)}
    metrics |= {f"{name}_fixed": value for name, value in score(labels, control).items()}
    others = {"masked": predict(candidates.masked, test, cpu, batch_size)} | {name: guesses[name] for name in guesses if name == "parent"}
    for name, guess in others.items():
        measured = score(labels, guess)
        metrics |= {f"auc_{name}": measured["auc"]} if "auc" in measured else {}
    return metrics, {"auc": guesses["packed"], "auc_fixed": control}


def serve(predictors: Mapping[str, Predictor], raw: Iterable[pl.DataFrame], batch_size: int) -> dict[str, np.ndarray]:
    """Probabilities of bundles by their names, float64 [N], in one pass over chunks of raw rows."""
    guesses: dict[str, list[np.ndarray]] = {name: [np.zeros(0)] for name in predictors}
    for chunk in raw:
        for name, predictor in predictors.items():
            guesses[name].append(predictor.predict(chunk, batch_size))
    return {name: np.concatenate(parts) for name, parts in guesses.items()}


def table_metrics(bundle: Path, predictor: Predictor) -> dict[str, Any]:
    """Bytes of a bundle's table file and of the same rows dense in fp32, share saved, mean and number of sizes."""
    sizes = pl.read_parquet(bundle / "sizes.parquet")["size"]
    described = predictor.manifest["table"]
    packed, dense = (bundle / "table.safetensors").stat().st_size, dense_bytes(described["rows"], described["dim"])
    mean_size = float(sizes.cast(pl.Float64).mean())  # type: ignore[arg-type]
    return {
        "table_bytes": packed,
        "dense_bytes": dense,
        "saved": 1 - packed / dense,
        "mean_size": mean_size,
        "distinct_sizes": sizes.n_unique(),
    }


def bundle_metrics(bundle: Path, raw: Iterable[pl.DataFrame], label: str, batch_size: int = 8192) -> dict[str, Any]:
    """Metrics of any bundle on labelled rows of raw values, in chunks: how the gate scores the champion."""
    from amtl.packing.bundle import load

    predictor = load(bundle)
    labels, guesses = [np.zeros(0)], [np.zeros(0)]
    for chunk in raw:
        labels.append(chunk[label].to_numpy())
        guesses.append(predictor.predict(chunk, batch_size))
    measured = score(np.concatenate(labels), np.concatenate(guesses))
    return {**measured, **table_metrics(bundle, predictor), "rows": sum(map(len, labels))}
