import dataclasses
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.reduction import ForkingPickler

import pytest
from outcomes import outcome
from toy import silent

from amtl.compare import execution, harness
from amtl.compare.execution import run
from amtl.compare.harness import Plan
from amtl.compare.results import Budget
from amtl.compare.task import Contender
from amtl.comparison import problem_of_seed
from amtl.errors import StageError
from amtl.packing.choice import AUTO

BUDGETS = (Budget("60%", 600), Budget("5%", 50))
PLAN = Plan(("fixed", "auto"), BUDGETS, (0,), "int8", "code")


@pytest.fixture
def counted(monkeypatch):
    """Puts methods that train nothing in the place of all; a list of the runs."""
    runs = []

    def method(name, task, budget, precision):
        runs.append((name, budget))
        return Contender(task.base, budget, {})

    for name in ("base", "control", "fixed", "auto"):
        monkeypatch.setitem(harness.METHODS, name, functools.partial(method, name))
    return runs


def test_every_run_is_made_once_and_a_second_comparison_makes_none(tmp_path, problem, counted):
    first = run(lambda seed: problem, PLAN, tmp_path, silent)
    assert len(counted) == len(set(counted)) == 2 + 2 * 2
    lines = []
    assert run(lambda seed: problem, PLAN, tmp_path, lines.append) == first
    assert len(counted) == 6
    assert lines == ["7 of 7 runs are finished already"]


def test_an_interrupted_comparison_goes_on_where_it_stopped(tmp_path, problem, counted, monkeypatch):
    def interrupt(task, budget, precision):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(harness.METHODS, "auto", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(lambda seed: problem, PLAN, tmp_path, silent)
    before = len(counted)
    run(lambda seed: problem, PLAN, tmp_path, silent)
    assert 0 < before < 6
    assert len(counted) == 6


@pytest.mark.parametrize("workers", [1, 3])
def test_auto_begins_when_the_selectors_whose_trainings_it_takes_up_are_finished(tmp_path, problem, monkeypatch, workers):
    events, early = [], threading.Barrier(workers - 1, timeout=60) if workers > 1 else None

    def method(name, task, budget, precision):
        if early and name in AUTO[: workers - 1] and budget == BUDGETS[0].bytes:
            early.wait()  # selectors of the first budget, at the same time: nothing that takes them up has a worker
        events.append(("begun", name, budget))
        made = Contender(task.base, budget, {})
        events.append(("finished", name, budget))
        return made

    for name in ("base", "control", "auto", *AUTO):
        monkeypatch.setitem(harness.METHODS, name, functools.partial(method, name))
    monkeypatch.setattr(execution, "ProcessPoolExecutor", lambda workers, **_: ThreadPoolExecutor(workers))
    monkeypatch.setattr(execution, "_PROBLEMS", {})
    run(lambda seed: problem, Plan(("auto", *AUTO), BUDGETS, (0,), "int8", "code"), tmp_path, silent, workers=workers)
    for budget in BUDGETS:
        before = events[: events.index(("begun", "auto", budget.bytes))]
        assert {("finished", name, budget.bytes) for name in AUTO} <= set(before)


def test_trainings_go_when_auto_has_taken_them_up_and_all_with_the_last_run(tmp_path, problem, counted, monkeypatch):
    folder = tmp_path / "trainings"
    with_trainings = dataclasses.replace(problem, task=dataclasses.replace(problem.task, trainings=folder))
    for budget in BUDGETS:
        (folder / f"int8-{budget.bytes}").mkdir(parents=True)

    def interrupt_at_the_second(task, budget, precision):
        if budget == BUDGETS[1].bytes:
            raise KeyboardInterrupt
        return Contender(task.base, budget, {})

    with monkeypatch.context() as patch:
        patch.setitem(harness.METHODS, "auto", interrupt_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            run(lambda seed: with_trainings, PLAN, tmp_path, silent)
    assert [left.name for left in folder.iterdir()] == ["int8-50"]
    run(lambda seed: with_trainings, PLAN, tmp_path, silent)
    assert not folder.exists()


def test_what_is_shown_is_what_was_asked_for_in_order(tmp_path, problem, counted):
    found = run(lambda seed: problem, PLAN, tmp_path, silent)
    shown = [(one.method, one.budget) for one in found.outcomes]
    assert shown == [
        ("base", ""),
        ("control", ""),
        ("logistic", ""),
        ("fixed", "60%"),
        ("auto", "60%"),
        ("fixed", "5%"),
        ("auto", "5%"),
    ]
    assert found.dense_bytes == problem.task.vocabulary.rows * 6 * 4


def test_progress_says_how_far_it_is(tmp_path, problem, counted):
    lines = []
    run(lambda seed: problem, PLAN, tmp_path, lines.append)
    assert lines[0].startswith("[1/7] base, fp32, seed 0: AUC 0.")
    assert lines[-1].endswith("about 0 min left")


def test_workers_make_the_runs_that_one_process_makes(tmp_path, problem, counted, monkeypatch):
    """Threads stand in for the processes, which would import torch anew; that runs can be sent to processes is held below."""
    pool = lambda workers, **_: ThreadPoolExecutor(workers)  # noqa: E731
    monkeypatch.setattr(execution, "ProcessPoolExecutor", pool)
    monkeypatch.setattr(execution, "_PROBLEMS", {})
    shared = run(lambda seed: problem, PLAN, tmp_path / "shared", silent, workers=2)
    assert len(counted) == 6
    alone = run(lambda seed: problem, PLAN, tmp_path / "alone", silent)
    assert [(one.method, one.test, one.bytes) for one in shared.outcomes] == [(one.method, one.test, one.bytes) for one in alone.outcomes]


def test_an_interrupt_cancels_what_workers_have_not_begun(tmp_path, problem, counted, monkeypatch):
    pools = []

    def pool(workers, **_):
        pools.append(ThreadPoolExecutor(1))
        return pools[0]

    def interrupt(line):
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "ProcessPoolExecutor", pool)
    monkeypatch.setattr(execution, "_PROBLEMS", {})
    with pytest.raises(KeyboardInterrupt):
        run(lambda seed: problem, PLAN, tmp_path, interrupt, workers=2)
    assert len(counted) < 6
    assert list(tmp_path.rglob("base-*.json"))


def test_a_worker_that_was_killed_is_told_in_one_line(tmp_path, problem, counted, monkeypatch):
    class Broken(ThreadPoolExecutor):
        def __init__(self, workers, **_):
            super().__init__(workers)

        def submit(self, *_):
            raise BrokenProcessPool

    monkeypatch.setattr(execution, "ProcessPoolExecutor", Broken)
    with pytest.raises(StageError, match="finished runs are kept"):
        run(lambda seed: problem, PLAN, tmp_path, silent, workers=2)


def test_runs_can_be_sent_to_other_processes(problem):
    settings = problem.task.settings
    for thing in (functools.partial(problem_of_seed, settings, True, "code", "methods"), PLAN.jobs()[0], outcome("rule")):
        sent = ForkingPickler.loads(ForkingPickler.dumps(thing))
        assert repr(sent) == repr(thing)


def test_a_worker_remembers_one_seed(problem, counted, monkeypatch):
    made = []

    def problem_of(seed):
        made.append(seed)
        return problem

    monkeypatch.setattr(execution, "_PROBLEMS", {})
    for seed in (0, 0, 1, 1):
        execution._contest_in_worker(problem_of, harness.Job("fixed", BUDGETS[0], "int8", seed))
    assert made == [0, 1]
