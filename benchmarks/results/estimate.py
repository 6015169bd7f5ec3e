"""What is left to run, and how long it takes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.results.experiment import Experiment, Store


def missing(wanted: Sequence[Experiment], store: Store) -> list[Experiment]:
    """The runs that are not finished."""
    return [experiment for experiment in wanted if store.read(experiment) is None]


def progress(wanted: Sequence[Experiment], store: Store, jobs: int) -> str:
    """How far things are: runs finished and wanted, and the time that the missing ones take in so many processes."""
    left = missing(wanted, store)
    rest = sum(minutes(experiment, store) for experiment in left) / jobs
    written = f"{rest / 60:.1f} h" if rest > 90 else f"{rest:.0f} min"
    return f"[{len(wanted) - len(left)}/{len(wanted)}, about {written} left]"


def minutes(experiment: Experiment, store: Store) -> float:
    """How long a run takes: the median of finished ones of its kind on its data, or the plan's guess."""
    alike = [result["seconds"] for result in store.known.values() if effort(result["experiment"]) == effort(experiment.identity)]
    return statistics.median(alike) / 60 if alike else experiment.minutes


ALIKE = ("method", "share", "start", "backbone")
"""Entries of a choice that decide how long a run takes, beside its kind and its data."""


def effort(identity: dict[str, Any]) -> tuple[Any, ...]:
    """What runs of about equal length share."""
    rounds = identity["settings"].get("finetune", {}).get("rounds", 1)
    return (identity["kind"], identity["data"], rounds, *(identity["choice"].get(name) for name in ALIKE))
