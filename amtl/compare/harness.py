"""Run every method at every budget with every seed, each run once: a finished one is kept by digest and never run again.

A run is a function of (problem, method, budget, precision). Test rows are scored once a run, when the method has decided everything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from amtl.compare.methods import DEEPENED, METHODS, OF_OWN_SIZE, PRECISIONS, REFERENCES, WIDENED
from amtl.compare.ours import auto_enough
from amtl.compare.results import LOGISTIC, OWN_SIZE, Budget, Outcome
from amtl.compare.starts import Problem
from amtl.compare.task import Contender
from amtl.errors import ArtifactError, BudgetError, DataError
from amtl.files import digest_of, publish_json, read_json
from amtl.release.evaluate import logistic_baseline, score
from amtl.training.loop import predict

WHOLE = Budget(OWN_SIZE, 0)
"""The budget of what has a size of its own."""


@dataclass(frozen=True)
class Job:
    """One run: a method at a budget, in a precision, with a seed.

    Attributes:
        enough: the method's first table that loses nothing will do.
    """

    method: str
    budget: Budget
    precision: str
    seed: int
    enough: bool = False

    @property
    def name(self) -> str:
        """For lines of progress."""
        size = f" at {self.budget.label}" if self.budget.label != OWN_SIZE else ""
        return f"{self.method}{size}, {self.precision}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        methods: names; see `amtl.compare.methods`.
        widths: tables of one width that are trained beside those that fill the budgets.
        precision: that all methods write their numbers in, but those whose name says another.
        code: what stands in the digest of a run for the methods' code, and for settings that the problem's digest does not cover.
    """

    methods: tuple[str, ...]
    budgets: tuple[Budget, ...]
    seeds: tuple[int, ...]
    precision: str
    code: str
    widths: tuple[Budget, ...] = ()

    def jobs(self) -> list[Job]:
        """The runs, in the order of the report."""
        return [job for seed in self.seeds for job in self._jobs_of(seed)]

    def _jobs_of(self, seed: int) -> Iterator[Job]:
        for method in REFERENCES:
            if method != LOGISTIC or seed == self.seeds[0]:
                yield self._job(method, WHOLE, seed)
        for method in self.methods:
            if method in OF_OWN_SIZE:
                yield self._job(method, WHOLE, seed)
        for budget in self.budgets:
            yield from (self._job(method, budget, seed) for method in self.methods if method not in OF_OWN_SIZE)
        if WIDENED in self.methods:
            yield from (self._job(WIDENED, budget, seed) for budget in self.widths)
        if DEEPENED in self.methods:
            least = min(budget.bytes for budget in self.budgets)
            sizes = (width.bytes for width in self.widths if width.bytes < least)
            yield from (replace(self._job(DEEPENED, Budget(f"{size}", size), seed), enough=True) for size in sizes)

    def _job(self, method: str, budget: Budget, seed: int) -> Job:
        return Job(method, budget, PRECISIONS.get(method, self.precision), seed)


def contest(problem: Problem, job: Job) -> Outcome:
    """Run one method and score what it made, once, on the test rows."""
    begun = time.monotonic()
    try:
        outcome = _logistic(problem, job) if job.method == LOGISTIC else _scored(problem, job, _made(problem, job))
    except (BudgetError, DataError) as error:  # no table that small; a training that diverged
        return _failed(job, str(error))
    return replace(outcome, seconds=time.monotonic() - begun)


def _made(problem: Problem, job: Job) -> Contender:
    """What the method makes.

    Raises:
        BudgetError: it is over the budget.
    """
    contender = (auto_enough if job.enough else METHODS[job.method])(problem.task, job.budget.bytes, job.precision)
    if contender.bytes > job.budget.bytes and job.method not in OF_OWN_SIZE:
        raise BudgetError(f"its table has {contender.bytes:,} bytes, over the budget of {job.budget.bytes:,}; please report this")
    return contender


def _scored(problem: Problem, job: Job, contender: Contender) -> Outcome:
    """A contender's figures, once its logit is calibrated on validation as it is served, which is done alike for all."""
    task, test = problem.task, problem.test_rows
    calibration = task.tuning.calibration(contender.model)
    contender.model.backbone.rescale(calibration.scale, calibration.shift)
    probabilities_N = predict(contender.model.to(task.device), test, task.device)
    return Outcome(
        method=job.method,
        budget=job.budget.label,
        budget_bytes=job.budget.bytes or contender.bytes,
        precision=job.precision,
        seed=job.seed,
        bytes=contender.bytes,
        validation=calibration.measured,
        test=score(test.labels.numpy(), probabilities_N),
        details=contender.details,
    )


def _failed(job: Job, reason: str) -> Outcome:
    return Outcome(job.method, job.budget.label, job.budget.bytes, job.precision, job.seed, None, failure=reason)


def _logistic(problem: Problem, job: Job) -> Outcome:
    """A one-hot logistic regression, a number a row: what is reachable without embeddings."""
    rows, test = problem.task.vocabulary.rows, problem.test_rows
    measured = score(test.labels.numpy(), logistic_baseline(problem.task.training_rows, test, rows))
    return Outcome(job.method, OWN_SIZE, 4 * rows, job.precision, job.seed, 4 * rows, test=measured)


class Kept:
    """Finished runs on disk: a JSON file each, in the folder of their problem, named by a digest of all that decides them."""

    def __init__(self, cache: Path, code: str) -> None:
        self.cache, self.code = cache, code

    def read(self, problem: Problem, job: Job) -> Outcome | None:
        """A finished run, under the name that its budget has now; None where there is none, or a damaged one."""
        try:
            return replace(Outcome.from_json(read_json(self._path(problem, job))), budget=job.budget.label)
        except (ArtifactError, TypeError):
            return None

    def write(self, problem: Problem, job: Job, outcome: Outcome) -> None:
        """Keep a finished run."""
        publish_json(self._path(problem, job), outcome.to_json())

    def _path(self, problem: Problem, job: Job) -> Path:
        decides = {**asdict(job), "budget": job.budget.bytes}
        return self.cache / problem.digest[:32] / f"{job.method}-{digest_of([decides, self.code])[:16]}.json"
