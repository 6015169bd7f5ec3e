"""Run every method at every budget with every seed, each run once: a finished one is kept by digest and never run again.

A run is a function of (problem, method, budget, precision). Test rows are scored once a run, when the method has decided everything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from amtl.compare.methods import CHOICES, METHODS, MIXED, OF_OWN_SIZE, REFERENCES, WIDENED
from amtl.compare.results import LOGISTIC, OWN_SIZE, Budget, Outcome
from amtl.compare.starts import Problem
from amtl.compare.task import Contender
from amtl.errors import AmtlError, ArtifactError, BudgetError
from amtl.files import digest_of, publish_json, read_json
from amtl.release.evaluate import logistic_baseline, score
from amtl.training.loop import predict


@dataclass(frozen=True)
class Job:
    """One run: a method at a budget, in a precision, with a seed."""

    method: str
    budget: Budget
    precision: str
    seed: int

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
        code: what stands for the methods' code in the digest of a run.
    """

    methods: tuple[str, ...]
    budgets: tuple[Budget, ...]
    seeds: tuple[int, ...]
    precision: str
    code: str
    widths: tuple[Budget, ...] = ()

    def jobs(self) -> list[Job]:
        """The runs, each once: those of the methods, and those that choices choose among."""
        return list(dict.fromkeys(job for seed in self.seeds for job in self._jobs_of(seed)))

    def asked(self) -> set[Job]:
        """The runs that are shown: those of the methods that were asked for, but not those that only serve a choice."""
        return {job for job in self.jobs() if job.method in (*self.methods, *REFERENCES) and job.precision in (self.precision, "fp32")}

    def choices(self) -> list[Job]:
        """What is chosen from finished runs."""
        choosing = [method for method in self.methods if method in CHOICES]
        return [Job(method, budget, self.precision, seed) for seed in self.seeds for budget in self.budgets for method in choosing]

    def _jobs_of(self, seed: int) -> Iterator[Job]:
        for method in REFERENCES:
            if method != LOGISTIC or seed == self.seeds[0]:
                yield Job(method, Budget(OWN_SIZE, 0), "fp32", seed)
        for method in self.methods:
            if method in OF_OWN_SIZE:
                yield Job(method, Budget(OWN_SIZE, 0), self.precision, seed)
        for budget in self.budgets:
            for method in self.methods:
                if method in CHOICES:
                    yield from candidates(Job(method, budget, self.precision, seed))
                elif method not in OF_OWN_SIZE:
                    yield Job(method, budget, self.precision, seed)
        if WIDENED in self.methods:
            yield from (Job(WIDENED, budget, self.precision, seed) for budget in self.widths)


def candidates(choice: Job) -> list[Job]:
    """The runs that a choice is made from."""
    precision = "mixed" if choice.method in MIXED else choice.precision
    return [replace(choice, method=method, precision=precision) for method in CHOICES[choice.method]]


def contest(problem: Problem, job: Job) -> Outcome:
    """Run one method and score what it made, once, on the test rows."""
    begun = time.monotonic()
    try:
        outcome = _logistic(problem, job) if job.method == LOGISTIC else _scored(problem, job, _made(problem, job))
    except AmtlError as error:  # no table that small; a training that diverged
        return _failed(job, str(error))
    return replace(outcome, seconds=time.monotonic() - begun)


def _made(problem: Problem, job: Job) -> Contender:
    """What the method makes.

    Raises:
        BudgetError: it is over the budget.
    """
    contender = METHODS[job.method](problem.task, job.budget.bytes, job.precision)
    if contender.bytes > job.budget.bytes and job.method not in OF_OWN_SIZE:
        raise BudgetError(f"its table has {contender.bytes:,} bytes, over the budget of {job.budget.bytes:,}; please report this")
    return contender


def _scored(problem: Problem, job: Job, contender: Contender) -> Outcome:
    """A contender's figures."""
    task, test = problem.task, problem.test_rows
    validation = task.judge(contender.model)
    probabilities_N = predict(contender.model.to(task.device), test, task.device)
    return Outcome(
        method=job.method,
        budget=job.budget.label,
        budget_bytes=job.budget.bytes or contender.bytes,
        precision=job.precision,
        seed=job.seed,
        bytes=contender.bytes,
        validation=validation,
        test=score(test.labels.numpy(), probabilities_N),
        details=contender.details,
    )


def _failed(job: Job, reason: str) -> Outcome:
    return Outcome(job.method, job.budget.label, job.budget.bytes, job.precision, job.seed, None, failure=reason)


def chosen(choice: Job, outcomes: Mapping[Job, Outcome]) -> Outcome:
    """What a method that chooses made: the candidate that is best on validation."""
    found = [outcomes[job] for job in candidates(choice) if not outcomes[job].failure]
    if not found:
        return _failed(choice, outcomes[candidates(choice)[0]].failure)
    best = max(found, key=lambda outcome: outcome.validation["score"])
    details = {**best.details, "chosen": best.method}
    return replace(best, method=choice.method, details=details, seconds=sum(outcome.seconds for outcome in found))


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
        """A finished run; None where there is none, or a damaged one."""
        try:
            return Outcome.from_json(read_json(self._path(problem, job)))
        except (ArtifactError, TypeError):
            return None

    def write(self, problem: Problem, job: Job, outcome: Outcome) -> None:
        """Keep a finished run."""
        publish_json(self._path(problem, job), outcome.to_json())

    def _path(self, problem: Problem, job: Job) -> Path:
        return self.cache / problem.digest[:32] / f"{job.method}-{digest_of([asdict(job), self.code])[:16]}.json"
