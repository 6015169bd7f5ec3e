"""A whole comparison: its runs, in this process or shared by several, and the lines that say how far it is."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from amtl.compare.harness import Job, Kept, Plan, contest
from amtl.compare.results import Comparison, Outcome
from amtl.compare.starts import Problem
from amtl.errors import StageError
from amtl.packing.choice import AUTO
from amtl.packing.layout import dense_bytes
from amtl.processes import die_with

TAKES_UP = "auto"
"""Runs when its candidates at its budget are finished, and takes up what they have trained."""

ProblemOf = Callable[[int], Problem]
"""A seed's problem. With several workers: a module's function, or a `functools.partial` of one, as it is sent to them."""


def run(problem_of: ProblemOf, plan: Plan, cache: Path, log: Callable[[str], None], workers: int = 1) -> Comparison:
    """Run what the plan asks for and is not in the cache; trainings that methods share go as soon as nobody needs them.

    Args:
        problem_of: makes, or reads, the problem of a seed.
        cache: folder of finished runs.
        log: takes a line a run.
        workers: processes that share the runs, a core each.
    """
    problems = {seed: problem_of(seed) for seed in plan.seeds}
    kept = Kept(cache, plan.code)
    jobs = plan.jobs()
    found = {job: outcome for job in jobs if (outcome := kept.read(problems[job.seed], job))}
    missing = in_order([job for job in jobs if job not in found])
    if found:
        log(f"{len(found)} of {len(jobs)} runs are finished already")
    progress = _Progress(len(missing), workers, log)
    for job, outcome in _outcomes(problem_of, problems, missing, workers):
        kept.write(problems[job.seed], job, outcome)
        if job.method == TAKES_UP:
            _remove(problems[job.seed].task.trainings_at(job.precision, job.budget.bytes))
        found[job] = outcome
        progress.say(job, outcome)
    for given in problems.values():
        _remove(given.task.trainings)
    task = problems[plan.seeds[0]].task
    return Comparison(tuple(found[job] for job in jobs), dense_bytes(task.vocabulary.rows, task.config.dim))


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, what takes up trainings last of its seed and budget."""
    places = {(job.seed, job.budget): place for place, job in reversed(list(enumerate(jobs)))}
    return sorted(jobs, key=lambda job: (places[job.seed, job.budget], job.method == TAKES_UP))


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


class _Progress:
    """A line a finished run, with the time that is left."""

    def __init__(self, total: int, workers: int, log: Callable[[str], None]) -> None:
        self.total, self.workers, self.log, self.done, self.begun = total, workers, log, 0, time.monotonic()

    def say(self, job: Job, outcome: Outcome) -> None:
        self.done += 1
        left = (time.monotonic() - self.begun) / self.done * (self.total - self.done) / 60
        result = outcome.failure or f"AUC {outcome.test['auc']:.4f}, {outcome.bytes:,} bytes, {outcome.seconds:.0f} s"
        self.log(f"[{self.done}/{self.total}] {job.name}: {result}; about {left:.0f} min left")


def _outcomes(problem_of: ProblemOf, problems: Mapping[int, Problem], jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Outcome]]:
    """Finished runs as they come.

    Raises:
        StageError: a worker was killed.
    """
    if workers == 1 or len(jobs) < 2:
        yield from ((job, contest(problems[job.seed], job)) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker, initargs=(os.getpid(),)) as pool:
        try:
            yield from _in_pool(pool, workers, problem_of, jobs)
        except BrokenProcessPool:
            raise StageError("a worker was killed, for want of memory perhaps; finished runs are kept, --workers 1 needs less") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _in_pool(pool: Executor, workers: int, problem_of: ProblemOf, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
    """As many at a time as there are workers, the first ones that need not wait."""
    waiting, running = list(jobs), dict[Future[Outcome], Job]()
    while waiting or running:
        unfinished = [*waiting, *running.values()]
        for job in [job for job in waiting if not _waits(job, unfinished)][: workers - len(running)]:
            waiting.remove(job)
            running[pool.submit(_contest_in_worker, problem_of, job)] = job
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


def _waits(job: Job, unfinished: Sequence[Job]) -> bool:
    """Whether a candidate whose trainings a job takes up is not finished."""
    place = (job.seed, job.budget)
    return job.method == TAKES_UP and any(other.method in AUTO and (other.seed, other.budget) == place for other in unfinished)


def _begin_worker(parent: int) -> None:
    """A core a worker; it ends with its parent, and at once when the user interrupts."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    die_with(parent)


_PROBLEMS: dict[int, Problem] = {}
"""Of a worker: the problem of the seed that it is at."""


def _contest_in_worker(problem_of: ProblemOf, job: Job) -> Outcome:
    if job.seed not in _PROBLEMS:
        _PROBLEMS.clear()
        _PROBLEMS[job.seed] = problem_of(job.seed)
    return contest(_PROBLEMS[job.seed], job)
