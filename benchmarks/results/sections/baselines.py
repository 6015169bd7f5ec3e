"""Section 3: Frappe's fixed tables beside the published figures of the same families."""

from __future__ import annotations

from benchmarks.results.plan import BACKBONES, WIDTHS_OF_BASELINES, Find, Scope, baseline
from benchmarks.results.tables import NOT_RUN, mean, signed, spread, table

PUBLISHED = {"mlp": (0.9833, 0.1622), "deepfm": (0.9842, 0.1482), "dcnv2": (0.9845, 0.1491)}
"""BARS benchmark, official split, D = 10: test AUC and log loss of DNN, DeepFM and DCN-V2."""


HEADER = ("backbone", "D", "AUC", "log loss", "published AUC / log loss (D = 10)", "AUC beside the published")


def values(scope: Scope, find: Find) -> str:
    """A row a backbone and width."""
    return table(HEADER, [_row(scope, backbone, dim, find) for backbone in BACKBONES for dim in WIDTHS_OF_BASELINES])


def _row(scope: Scope, backbone: str, dim: int, find: Find) -> list[str]:
    results = [result for seed in range(scope.seeds) if (result := find(baseline(scope, seed, backbone, dim)))]
    if not results:
        return [backbone, str(dim), NOT_RUN, NOT_RUN, _published(backbone), "-"]
    auc, logloss = ([result["test"][metric] for result in results] for metric in ("auc", "logloss"))
    beside = signed(mean(auc) - PUBLISHED[backbone][0]) if backbone in PUBLISHED else "-"
    return [backbone, str(dim), f"{spread(auc)} (n={len(auc)})", spread(logloss), _published(backbone), beside]


def _published(backbone: str) -> str:
    return "{:.4f} / {:.4f}".format(*PUBLISHED[backbone]) if backbone in PUBLISHED else "none"
