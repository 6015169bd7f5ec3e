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
    hours = sum(minutes(experiment, store) for experiment in left) / 60 / jobs
    return f"[{len(wanted) - len(left)}/{len(wanted)}, about {hours:.1f} h left]"


def minutes(experiment: Experiment, store: Store) -> float:
    """How long a run takes: the median of finished ones of its kind on its data, or the plan's guess."""
    alike = [result["seconds"] for result in store.known.values() if effort(result["experiment"]) == effort(experiment.identity)]
    return statistics.median(alike) / 60 if alike else experiment.minutes


def effort(identity: dict[str, Any]) -> tuple[Any, ...]:
    """What runs of about equal length share."""
    return (identity["kind"], identity["data"], *(identity["choice"].get(name) for name in ("method", "share", "start")))
