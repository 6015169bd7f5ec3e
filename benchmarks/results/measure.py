"""Runs of the kinds that stand on the harness. Test rows are scored once, when everything is decided."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from amtl.budgets import AUTO
from amtl.compare.harness import Job, contest
from amtl.compare.peers.fixed import width_bytes
from amtl.compare.results import BASE, CONTROL, LOGISTIC, Budget
from amtl.compare.starts import Data, Problem, problem
from amtl.files import code_digest, digest_of
from amtl.model.ctr_model import CTRModel
from amtl.packing.compress import compress
from amtl.packing.cut import served
from amtl.params import Params
from amtl.release.evaluate import score
from amtl.training.loop import judge, predict
from amtl.training.train import train
from amtl.training.tuning import tuning_for
from benchmarks import datasets, settings
from benchmarks.results.experiment import Experiment, Result

CPU = torch.device("cpu")
STARTS = "results 3"
"""What stands for the code in the digest of what all methods start from: since 3 the front has cold sizes."""
TRAINING = ("amtl.data", "amtl.model", "amtl.packing", "amtl.sizing", "amtl.training")
"""Code that decides what a training that methods share comes to: finished runs survive another, half of one must not."""

_PROBLEM: dict[str, Problem] = {}
"""The problem that this process is at."""
_CONTROL: dict[str, Result] = {}
"""Its control's figures."""


@dataclass(frozen=True)
class Place:
    """Where data are read from and what may be kept: the folder of the data sets, and a cache outside git."""

    data: Path
    cache: Path
    log: Callable[[str], None] = lambda line: None

    def digest(self, name: str) -> str:
        """Hex SHA-256 that the data set's files decide."""
        return datasets.source_digest(name, self.data)


def prepare(experiment: Experiment, place: Place) -> None:
    """Train what all methods start from, where the run is of a kind that needs it and the cache does not hold it."""
    if experiment.kind in FROM_STARTS:
        problem_of(experiment, place)


def data_of(experiment: Experiment, place: Place) -> datasets.Dataset:
    """The data set of a run, at its minimum count and share of rows."""
    return _dataset(experiment.data, place.data, experiment.choice.get("min_count", 1), experiment.choice.get("share", 1.0))


@functools.lru_cache(maxsize=1)
def _dataset(name: str, folder: Path, min_count: int, share: float) -> datasets.Dataset:
    return datasets.load(name, folder, min_count, share)


def problem_of(experiment: Experiment, place: Place) -> Problem:
    """What all methods start from, trained now if the cache does not hold it."""
    data = data_of(experiment, place)
    wanted = settings.params_of(experiment.key, data.events, experiment.seed)
    key = digest_of([data.digest, wanted.model_dump(mode="json")])
    if key not in _PROBLEM:
        _PROBLEM.clear()
        rows = Data(data.vocabulary, data.train, data.validation, data.test)
        once = _of_one_round(wanted)
        given = problem(once, rows, place.cache / "starts", place.log, code=STARTS)
        shared = digest_of([given.digest, once.model_dump(mode="json"), code_digest(*TRAINING)])
        trainings = place.cache / "trainings" / shared[:32]
        _PROBLEM[key] = replace(given, task=replace(given.task, settings=wanted, trainings=trainings))
    return _PROBLEM[key]


def _of_one_round(settings: Params) -> Params:
    """The settings that starts and first trainings are made with: what is run in more rounds goes on from what all others have."""
    finetune = settings.compress.finetune.model_copy(update={"rounds": 1})
    return settings.model_copy(update={"compress": settings.compress.model_copy(update={"finetune": finetune})})


def control_figures(given: Problem) -> Result:
    """Figures of the control that a problem's methods start from: with the same seed, another machine may train another one."""
    if given.digest not in _CONTROL:
        _CONTROL.clear()
        outcome = contest(given, Job(CONTROL, Budget("", 0), "fp32", given.task.seed))
        _CONTROL[given.digest] = {"validation": outcome.validation, "test": outcome.test}
    return _CONTROL[given.digest]


def judged(model: CTRModel, data: datasets.Dataset) -> dict[str, Any]:
    """Validation and test figures of a model."""
    validation = judge(torch.from_numpy(predict(model, data.validation, CPU)).logit(), data.validation.labels)
    return {"validation": validation, "test": score(data.test.labels.numpy(), predict(model, data.test, CPU))}


def measure_start(experiment: Experiment, place: Place) -> Result:
    """The fixed table as trained, the control, and one-hot logistic regression."""
    data, given = data_of(experiment, place), problem_of(experiment, place)
    outcomes = {name: contest(given, Job(name, Budget("", 0), "fp32", experiment.seed)) for name in (BASE, CONTROL, LOGISTIC)}
    return {
        **{name: {"validation": outcome.validation, "test": outcome.test} for name, outcome in outcomes.items()},
        "rows": {"table": data.vocabulary.rows, "train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
        "dense_bytes": dense_bytes(data, experiment),
    }


def measure_method(experiment: Experiment, place: Place) -> Result:
    """A method within a budget; `failure` says why there are no figures, where it has no table that small."""
    data, choice, given = data_of(experiment, place), experiment.choice, problem_of(experiment, place)
    budget = Budget(experiment.title, budget_bytes(experiment, data))
    outcome = contest(given, Job(choice["method"], budget, choice["precision"], experiment.seed))
    if outcome.bytes is None:
        return {"budget_bytes": budget.bytes, "failure": outcome.failure}
    return {
        "validation": outcome.validation,
        "test": outcome.test,
        CONTROL: control_figures(given),
        "budget_bytes": budget.bytes,
        "bytes": outcome.bytes,
        "saved": 1 - outcome.bytes / dense_bytes(data, experiment),
        "details": outcome.details,
    }


def measure_smallest(experiment: Experiment, place: Place) -> Result:
    """What `compress.budget: auto` comes to: the table as it would be served, and the walk to it."""
    data, given = data_of(experiment, place), problem_of(experiment, place)
    task = given.task
    asked = task.settings.compress.model_copy(update={"budget": AUTO, "precision": experiment.choice["precision"]})
    wanted = task.settings.model_copy(update={"compress": asked})
    tuning = tuning_for(wanted, data.vocabulary, data.train, data.validation, place.log)
    made = compress(wanted, task.found, task.judge(task.control), data.vocabulary, tuning)
    stored = made.layout.bytes(made.model.embedder.basis_FDD is not None)
    return {
        **judged(served(made.model, made.layout), data),
        CONTROL: control_figures(given),
        "budget_bytes": made.report["budget_bytes"],
        "bytes": stored,
        "saved": 1 - stored / dense_bytes(data, experiment),
        "details": made.report,
    }


def dense_bytes(data: datasets.Dataset, experiment: Experiment) -> int:
    """Bytes of the table in fp32 at full width."""
    return data.vocabulary.rows * int(experiment.key["train"]["dim"]) * 4


def budget_bytes(experiment: Experiment, data: datasets.Dataset) -> int:
    """The budget of a share saved, of a fixed width at the precision, or as it is given."""
    choice = experiment.choice
    if "saved" in choice:
        return round((1 - choice["saved"]) * dense_bytes(data, experiment))
    if "width" in choice:
        return width_bytes(list(data.vocabulary.sizes.values()), choice["width"], choice["precision"])
    return int(choice["bytes"])


def measure_baseline(experiment: Experiment, place: Place) -> Result:
    """A fixed table as trained: nothing but the `train` section."""
    data = data_of(experiment, place)
    wanted = settings.params_of(experiment.key, data.events, experiment.seed)
    made = train(wanted, data.vocabulary, data.train, data.validation, None, None, place.log)
    return {**judged(made.model, data), "history": made.report["history"]}


FROM_STARTS = {"start", "method", "smallest", "paper", "frequency"}
"""Kinds that begin with `problem_of`."""
