"""Which function makes a run of which kind."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.results.days import measure_days
from benchmarks.results.experiment import Experiment, Result
from benchmarks.results.measure import Place, measure_baseline, measure_method, measure_smallest, measure_start
from benchmarks.results.paper import measure_frequency, measure_paper

KINDS: dict[str, Callable[[Experiment, Place], Result]] = {
    "start": measure_start,
    "method": measure_method,
    "smallest": measure_smallest,
    "baseline": measure_baseline,
    "paper": measure_paper,
    "frequency": measure_frequency,
    "days": measure_days,
}
