"""How each data set is trained, searched and compressed in docs/results.md, and how that was chosen (`CHOSEN`).

Only what is named here decides a run's digest (`key_of`): a default that changes in params.yaml does not throw away finished hours.
"""

from __future__ import annotations

from typing import Any

from amtl.params import EventsParams, Params

CHOSEN = (
    "Chosen by validation AUC - log loss / 2 of seed 0 at full width, before any run of this page. Tried: ml-1m, learning rate 1e-3 and "
    "2e-3, dropout 0 and .2, L2 1e-4 and 1e-3, hidden 128-64 and 256-128; frappe, mlp and dlrm, batch norm without and with, dropout 0 "
    "and .3, L2 1e-4, 1e-3 and 3e-3; anime, from ml-1m's: batch 2048 and 4096, dropout .2 and .4, L2 1e-3 and 3e-3 (all within .0006); "
    "ml-100k-random, from ml-1m's: hidden 128-64, dropout .2 and .4, L2 3e-4 to 1e-2 (all within .002), batch 512 and 1024 (512 is .0044 "
    "better), used for the split by time and by day as well. The sample has the settings that amtl ships with it. "
    "Fine-tuning, all on seed 0's validation rows with the table cut to 4% (frappe) or 1% (ml-1m) of its bytes: on frappe, learning rate "
    "2e-4 to 4e-3, 4 to 25 epochs, batch 512, 1024 and 2048, .1, .3 and .6 of an event recombined, dropout kept and not; on ml-1m, "
    "learning rate 2e-4 to 2e-3, 3 to 12 epochs, .3 and .5 recombined, labels beside the teacher or not, 1 to 3 rounds; the others have "
    "ml-1m's. Day by day, no control is born again: a second training from untrained weights is what warm starts are there to avoid."
)

COMMON: dict[str, Any] = {"dim": 64, "epochs": 40, "patience": 2, "init_std": 0.01, "unknown_rate": 0.01, "device": "cpu"}
MOVIES: dict[str, Any] = {
    "backbone": "mlp",
    "hidden": [256, 128],
    "dropout": 0.2,
    "l2": 1e-3,
    "learning_rate": 2e-3,
    "batch_size": 4096,
    "bf16": True,
}
ML_100K: dict[str, Any] = {**MOVIES, "hidden": [128, 64], "batch_size": 512, "bf16": False}
TRAIN: dict[str, dict[str, Any]] = {
    "ml-1m": MOVIES,
    "anime": MOVIES,
    "frappe": {
        "backbone": "dlrm",
        "hidden": [256, 128],
        "dropout": 0.3,
        "batch_norm": True,
        "l2": 3e-3,
        "learning_rate": 1e-3,
        "batch_size": 1024,
        "unknown_rate": 0.0,
    },
    **dict.fromkeys(("ml-100k-random", "ml-100k-time", "ml-100k-days"), ML_100K),
    "sample-days": {**ML_100K, "dim": 16, "hidden": [128, 64], "init_std": 0.05, "batch_size": 512},
}
SEARCH: dict[str, Any] = {"sizes": "auto", "rows": 200_000}
FINETUNE: dict[str, Any] = {
    "epochs": 3,
    "patience": 3,
    "learning_rate": 1e-3,
    "distillation": 0.5,
    "recombined": 0.3,
    "rounds": 1,
    "born_again": True,
}
FINETUNE_OF: dict[str, dict[str, Any]] = {
    "frappe": {"epochs": 20, "patience": 20, "learning_rate": 2e-3},
    **{name: {"born_again": False} for name in ("ml-100k-days", "sample-days")},
}
QUICK = {"epochs": 2}
UNTAUGHT: dict[str, Any] = {"epochs": 0, "distillation": 0.0, "recombined": 0.0, "born_again": False}
"""No training after the first and no teacher: what stands beside a layer that had neither."""


def train_section(name: str, **changes: Any) -> dict[str, Any]:
    """The `train` section of a data set, but for the seed."""
    return {**COMMON, **TRAIN[name], **changes}


def finetune_section(name: str, **changes: Any) -> dict[str, Any]:
    """The `compress.finetune` section of a data set."""
    return {**FINETUNE, **FINETUNE_OF.get(name, {}), **changes}


def key_of(name: str, quick: bool, untaught: bool = False, rounds: int | None = None, **changes: Any) -> dict[str, Any]:
    """The settings that decide a run: JSON-able, part of its digest.

    Args:
        quick: two epochs of everything. untaught: without fine-tuning and teacher.
        rounds: of fine-tuning; None: the data set's.
        changes: entries of the `train` section that are other than the data set's.
    """
    less = QUICK if quick else {}
    again = {} if rounds is None else {"rounds": rounds}
    return {
        "train": train_section(name, **{**less, **changes}),
        "search": SEARCH,
        "finetune": finetune_section(name, **(UNTAUGHT if untaught else less), **again),
    }


def params_of(key: dict[str, Any], events: EventsParams, seed: int) -> Params:
    """params.yaml of a run."""
    return Params.model_validate(
        {
            "events": events.model_dump(),
            "train": {**key["train"], "seed": seed},
            "search": key["search"],
            "compress": {"finetune": key["finetune"]},
            "register": {"name": events.name},
        }
    )
