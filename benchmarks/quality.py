"""AUC at 60% of the table's fp32 bytes saved, beside the fixed table with identical fine-tuning; paper mode beside it.

    python -m benchmarks.quality --data FOLDER --set ml-1m --set frappe --seeds 3 --out RESULTS.json

FOLDER holds ml-1m.parquet and frappe.parquet. Settings were chosen on validation rows; test rows are scored once a run.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amtl.data.batches import Scaling
from amtl.files import publish_json
from amtl.packing import bundle
from amtl.packing.compress import compress, contents, tuning_for
from amtl.params import Params
from amtl.release.candidates import table_metrics
from amtl.release.evaluate import logistic_baseline, score
from amtl.sizing.sizes import find_sizes
from amtl.stages import say
from amtl.training.loop import pick_device, predict
from amtl.training.state import State, field_names
from amtl.training.train import train
from benchmarks import datasets
from benchmarks.machine import describe_machine

TRAIN: dict[str, dict[str, Any]] = {
    "ml-1m": {"backbone": "mlp", "dim": 64, "hidden": [256, 128], "dropout": 0.2, "l2": 1e-3, "learning_rate": 2e-3, "batch_size": 4096},
    "frappe": {
        "backbone": "dlrm",
        "dim": 64,
        "hidden": [256, 128],
        "dropout": 0.3,
        "batch_norm": True,
        "l2": 3e-3,
        "batch_size": 2048,
        "unknown_rate": 0.0,
    },
}
COMMON = {"epochs": 40, "patience": 2, "init_std": 0.01, "unknown_rate": 0.01}


def settings_for(data: datasets.Dataset, sizes: str, seed: int, device: str) -> Params:
    """params.yaml of one run."""
    return Params.model_validate(
        {
            "events": data.events.model_dump(),
            "train": {**COMMON, **TRAIN[data.name], "seed": seed, "device": device},
            "search": {"sizes": sizes},
            "compress": {"budget": 0.4, "precision": "fp32", "finetune": {"epochs": 5, "patience": 2, "learning_rate": 5e-4}},
            "register": {"name": data.name},
        }
    )


def run(data: datasets.Dataset, seed: int, device: str) -> dict[str, Any]:
    """Base training once, then budget mode and paper mode from the same weights."""
    settings = settings_for(data, "auto", seed, device)
    base = train(settings, data.vocabulary, data.train, data.validation, None, None, say)
    labels = data.test.labels_B.numpy()
    result: dict[str, Any] = {"set": data.name, "seed": seed, "rows": data.vocabulary.rows}
    result["base"] = score(labels, predict(base.model, data.test, pick_device("cpu")))
    for mode, sizes in (("budget", "auto"), ("paper", "paper")):
        state = State(
            base.model.config,
            field_names(data.events),
            {k: v.clone() for k, v in base.model.state_dict().items()},
            {},
            data.vocabulary.frame,
        )
        result[mode] = _compressed(data, settings_for(data, sizes, seed, device), state, labels)
        say(f"{data.name} seed {seed} {mode}: {result[mode]}")
    return result


def _compressed(data: datasets.Dataset, settings: Params, state: State, labels: np.ndarray) -> dict[str, Any]:
    found = find_sizes(settings, data.vocabulary, state.model(), data.train, data.validation, None, say)
    tuning = tuning_for(settings, data.vocabulary, data.train, data.validation, say)
    with tempfile.TemporaryDirectory() as folder:
        made = compress(settings, found, state, data.vocabulary, tuning, Path(folder) / "control")
        path = Path(folder) / "bundle"
        bundle.write(path, contents(settings, made, data.vocabulary, Scaling(), {}))
        predictor = bundle.load(path)
        cpu = torch.device("cpu")
        return {
            **score(labels, predict(made.model, data.test, cpu)),
            "fixed": score(labels, predict(made.control, data.test, cpu)),
            **table_metrics(path, predictor),
            "search": found.report,
        }


def main() -> None:
    """Run what the command line asks for and write the raw results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", action="append", choices=sorted(TRAIN), dest="sets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    for name in options.sets or sorted(TRAIN):
        data = datasets.load(name, options.data)
        logistic = score(data.test.labels_B.numpy(), logistic_baseline(data.train, data.test, data.vocabulary.rows, most=len(data.train)))
        for seed in range(options.seeds):
            results.append({**run(data, seed, options.device), "logistic": logistic})
            publish_json(options.out, {"machine": describe_machine(), "results": results})


if __name__ == "__main__":
    main()
