"""The front of a data set: test AUC against bytes, a line a method."""

from __future__ import annotations

import statistics
from typing import Any

from amtl.release.figures import against_bytes
from benchmarks.results.plan import OURS, Find, Scope, contestants, peer_savings, start
from benchmarks.results.sections.peers import runs_of
from benchmarks.results.tables import mean

LOWEST = 0.02
"""AUC below the control's from which nothing is drawn: hashing would press all others into a line."""


def front(scope: Scope, name: str, find: Find) -> str | None:
    """The picture as SVG; None where nothing was run."""
    starts = [result for seed in range(scope.seeds) if (result := find(start(scope, name, seed)))]
    labels = dict.fromkeys((*OURS, *contestants(scope, name, find)))
    lines = [line for label in labels if (line := _line(scope, name, label, find))]
    if not starts or not lines:
        return None
    control = mean([result["control"]["test"]["auc"] for result in starts])
    return against_bytes(lines, control, "AUC", (control - LOWEST, control + LOWEST / 5))


def _line(scope: Scope, name: str, label: str, find: Find) -> dict[str, Any] | None:
    found = [runs_of(scope, name, label, saved, find) for saved in peer_savings(scope)]
    drawn = [(mean([run["bytes"] for run in runs.values()]), [run["test"]["auc"] for run in runs.values()]) for runs in found if runs]
    marks = [(size, mean(auc), statistics.stdev(auc) if len(auc) > 1 else 0.0) for size, auc in drawn]
    return {"method": label, "points": marks, "strong": label in OURS} if marks else None
