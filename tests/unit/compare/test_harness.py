import dataclasses

import numpy as np
import pytest
import torch
from outcomes import outcome

from amtl.compare import harness
from amtl.compare.harness import Job, Kept, Plan, contest
from amtl.compare.methods import REFERENCES
from amtl.compare.results import Budget
from amtl.compare.task import Contender
from amtl.errors import BudgetError
from amtl.release.evaluate import score
from amtl.training.loop import platt

SMALL, LARGE = Budget("5%", 50), Budget("60%", 600)


def plan(*methods, seeds=(0,), widths=()):
    return Plan(methods, (LARGE, SMALL), seeds, "int8", "code", widths)


def names(jobs):
    return [(job.method, job.budget.label, job.precision, job.seed) for job in jobs if job.method not in REFERENCES]


def test_a_plan_holds_each_method_at_each_budget_with_each_seed():
    assert names(plan("rule", "qr", seeds=(3, 4)).jobs()) == [
        (method, budget, "int8", seed) for seed in (3, 4) for budget in ("60%", "5%") for method in ("rule", "qr")
    ]


def test_references_are_always_run_and_logistic_regression_once():
    jobs = plan("rule", seeds=(0, 1)).jobs()
    assert [(job.method, job.seed) for job in jobs if job.method in REFERENCES] == [
        ("base", 0),
        ("control", 0),
        ("logistic", 0),
        ("base", 1),
        ("control", 1),
    ]


def test_some_methods_have_a_precision_of_their_own():
    found = {job.method: job.precision for job in plan("rule", "auto-mixed").jobs()}
    assert found == {"base": "fp32", "control": "fp32", "logistic": "fp32", "rule": "int8", "auto-mixed": "mixed"}


def test_the_published_layer_has_no_budget_and_widths_go_to_fixed_tables_alone():
    assert names(plan("paper", "fixed-distilled", widths=(Budget("width 4", 40),)).jobs()) == [
        ("paper", "", "int8", 0),
        ("fixed-distilled", "60%", "int8", 0),
        ("fixed-distilled", "5%", "int8", 0),
        ("fixed-distilled", "width 4", "int8", 0),
    ]


def test_auto_goes_as_far_down_as_fixed_tables_do():
    widths = (Budget("width 4", 70), Budget("width 2", 40), Budget("width 1", 20))
    jobs = [job for job in plan("auto", widths=widths).jobs() if job.method == "auto"]
    assert names(jobs) == [("auto", label, "int8", 0) for label in ("60%", "5%", "40", "20")]
    assert [job.enough for job in jobs] == [False, False, True, True]


def test_what_is_asked_to_do_no_more_than_enough_does_so(problem, monkeypatch):
    asked = []
    monkeypatch.setitem(harness.METHODS, "auto", lambda *parts: asked.append("all") or harness.METHODS["base"](*parts))
    monkeypatch.setattr(harness, "auto_enough", lambda *parts: asked.append("enough") or harness.METHODS["base"](*parts))
    for enough in (False, True):
        contest(problem, Job("auto", Budget("", 10**9), "fp32", 0, enough))
    assert asked == ["all", "enough"]


@pytest.fixture
def method(monkeypatch):
    """Puts a function in the place of the method `rule`."""
    return lambda function: monkeypatch.setitem(harness.METHODS, "rule", function)


def test_a_contest_scores_what_the_method_made_on_both_parts_calibrated_on_validation(problem, method):
    method(lambda task, budget, precision: Contender(task.control, budget - 1, {"precision": precision}))
    result = contest(problem, Job("rule", LARGE, "fp16", 0))
    task, rows = problem.task, problem.test_rows
    with torch.no_grad():
        logits, validation = (task.control.eval()(part).double() for part in (rows, task.validation_rows))
    scale, shift = platt(validation, task.validation_rows.labels)
    assert (scale, shift) != (1.0, 0.0)
    assert result.test == pytest.approx(score(rows.labels.numpy(), torch.sigmoid(scale * logits + shift).numpy()), abs=1e-5)
    assert result.validation["logloss"] < task.judge(task.control)["logloss"]
    assert (result.bytes, result.budget_bytes, result.details) == (599, 600, {"precision": "fp16"})


def test_a_budget_that_cannot_be_met_is_an_outcome(problem, method):
    def refuse(task, budget, precision):
        raise BudgetError("its smallest table takes 51 bytes")

    method(refuse)
    result = contest(problem, Job("rule", SMALL, "int8", 0))
    assert result.bytes is None
    assert result.failure == "its smallest table takes 51 bytes"


def test_a_table_over_the_budget_is_never_scored(problem, method):
    method(lambda task, budget, precision: Contender(task.control, budget + 1, {}))
    assert "over the budget of 50" in contest(problem, Job("rule", SMALL, "int8", 0)).failure


def test_a_training_that_diverged_does_not_end_the_comparison(problem, method):
    def diverge(task, budget, precision):
        model = task.control
        with torch.no_grad():
            model.embedding.weight.fill_(np.nan)
        return Contender(model, 1, {})

    method(diverge)
    assert "diverged" in contest(problem, Job("rule", SMALL, "int8", 0)).failure


def test_references_are_at_full_width_in_fp32(problem):
    dense = problem.task.vocabulary.rows * problem.task.config.dim * 4
    base, control, logistic = (contest(problem, Job(name, Budget("", 0), "fp32", 0)) for name in REFERENCES)
    assert base.bytes == control.bytes == control.budget_bytes == dense
    assert base.test != control.test
    assert 0.5 < logistic.test["auc"] < 1


def test_kept_runs_come_back_unless_something_that_decides_them_changed(tmp_path, problem):
    kept, job, one = Kept(tmp_path, "code"), Job("rule", SMALL, "int8", 0), outcome("rule", "5%", 50)
    assert kept.read(problem, job) is None
    kept.write(problem, job, one)
    assert kept.read(problem, job) == one
    again = kept.read(problem, dataclasses.replace(job, budget=Budget("0.05", SMALL.bytes)))
    assert again == dataclasses.replace(one, budget="0.05")
    assert kept.read(problem, dataclasses.replace(job, budget=Budget("5%", SMALL.bytes + 1))) is None
    assert Kept(tmp_path, "other code").read(problem, job) is None
    assert kept.read(problem, dataclasses.replace(job, precision="fp16")) is None
    assert kept.read(dataclasses.replace(problem, digest="f" * 64), job) is None


def test_a_damaged_kept_run_is_run_again(tmp_path, problem):
    kept, job = Kept(tmp_path, "code"), Job("rule", SMALL, "int8", 0)
    kept.write(problem, job, outcome("rule"))
    (path,) = tmp_path.rglob("*.json")
    for damaged in ("{", '{"method": "rule"}', "[]"):
        path.write_text(damaged)
        assert kept.read(problem, job) is None
