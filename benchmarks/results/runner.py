"""Make the runs that are missing: several processes at a time, each run by one of them, the most important first.

A process takes a run by locking its digest, so that any number of them, started together or not, never make one twice. What all
methods of a data set and seed start from is locked while it is trained: another process turns to other runs meanwhile. A process that is
killed loses its run, no more.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from amtl.files import digest_of
from benchmarks.machine import describe_machine
from benchmarks.results.estimate import missing, progress
from benchmarks.results.experiment import Experiment, Result, Store
from benchmarks.results.kinds import KINDS
from benchmarks.results.measure import Place, prepare

PATIENCE = 10.0
"""Seconds between looks for a run that no other process is at."""


@dataclass
class Work:
    """What a process does, and which runs failed in it.

    Attributes:
        plan: the runs that are wanted as things stand.
        until: moment (`time.monotonic`) after which no run is begun.
        jobs: processes that share the work, for estimates.
    """

    plan: Callable[[], list[Experiment]]
    store: Store
    place: Place
    log: Callable[[str], None]
    until: float = float("inf")
    jobs: int = 1
    failed: set[str] = field(default_factory=set)


def work(given: Work) -> None:
    """Make runs until none is missing or time is up; waits for those that other processes are making, as more may follow from them."""
    while time.monotonic() < given.until:
        wanted = given.plan()
        open_ones = [experiment for experiment in missing(wanted, given.store) if experiment.digest not in given.failed]
        if not open_ones:
            return
        if not any(attempt(experiment, wanted, given) for experiment in open_ones):
            time.sleep(PATIENCE)


def attempt(experiment: Experiment, wanted: Sequence[Experiment], given: Work) -> bool:
    """Make a run, unless another process is making it, or training what it starts from."""
    store = given.store
    with contextlib.ExitStack() as held:
        if not held.enter_context(store.lock(experiment.digest)) or store.read(experiment) is not None:
            return False
        with store.lock(start_lock(experiment)) as free:
            if not free:
                return False
            given.log(f"{progress(wanted, store, given.jobs)} {experiment.title}")
            began = time.process_time()
            made = guarded(lambda: prepare(experiment, given.place), experiment, given)
        return made and guarded(lambda: keep(experiment, given, began), experiment, given)


def keep(experiment: Experiment, given: Work, began: float) -> None:
    """Measure a run that began at a moment (`time.process_time`: seconds of one core), and write it down."""
    result = KINDS[experiment.kind](experiment, given.place)
    seconds = round(time.process_time() - began, 1)
    origin = {"machine": describe_machine(), "data_digest": given.place.digest(experiment.data)}
    given.store.write(experiment, {**result, **origin, "seconds": seconds})
    given.log(f"   {experiment.title}: {headline(result)}, {seconds:.0f} s")


def guarded(step: Callable[[], None], experiment: Experiment, given: Work) -> bool:
    """Run a step; what fails is said and not tried again by this process, so that one run's defect does not cost a night's."""
    try:
        step()
    except Exception:
        given.log(f"FAILED {experiment.title}\n{traceback.format_exc()}")
        given.failed.add(experiment.digest)
        return False
    return True


def start_lock(experiment: Experiment) -> str:
    """Name of the lock on what a run starts from."""
    choice = {name: experiment.choice.get(name) for name in ("min_count", "share")}
    key = {**experiment.key, "finetune": {**experiment.key.get("finetune", {}), "rounds": 1}}
    return f"start-{digest_of([experiment.data, experiment.seed, choice, key])[:16]}"


def headline(result: Result) -> str:
    """What came out, in a few words."""
    test = result.get("test")
    return f"test AUC {test['auc']:.4f}, log loss {test['logloss']:.4f}" if test else str(result.get("failure", "done"))
