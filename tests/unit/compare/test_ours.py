from dataclasses import replace

import pytest
from tables import LOOSE, fits
from torch import nn

from amtl.compare.methods import METHODS, OURS
from amtl.compare.ours import auto_enough, by_selectors, paper
from amtl.errors import BudgetError
from amtl.packing.choice import AUTO
from amtl.training.loop import Trainer


def half_of(task):
    return task.vocabulary.rows * task.config.dim * 2


@pytest.mark.parametrize(
    ("method", "precision"), [("uniform", "fp32"), ("rule", "int8"), ("auto", "int8"), ("auto-mixed", "int8"), ("twins-cold", "int8")]
)
def test_a_table_is_within_the_budget_and_served_from_codes(problem, method, precision):
    task = problem.task
    made = METHODS[method](task, half_of(task), precision)
    assert made.bytes <= half_of(task)
    assert isinstance(made.model.embedder.lookup, nn.Embedding)
    sizes, table_VD = made.details["sizes"], made.model.embedding.weight
    assert sizes["mean_size"] == pytest.approx((table_VD != 0).double().sum(1).mean().item(), abs=0.3)


def test_a_method_that_chooses_says_what_it_chose(problem):
    made = OURS["auto"](problem.task, half_of(problem.task), "int8")
    assert made.details["chosen"].split()[0] in AUTO
    assert {entry["selector"] for entry in made.details["judged"]} >= {made.details["chosen"]}
    assert "chosen" not in OURS["rule"](problem.task, half_of(problem.task), "int8").details


def test_a_budget_below_the_least_table_is_refused(problem):
    with pytest.raises(BudgetError):
        by_selectors("rule")(problem.task, 10, "int8")


def test_the_published_layer_has_a_size_of_its_own(problem):
    made = paper(problem.task, 0, "int8")
    assert made.bytes > 0
    assert {"sizes", "sizes_at_initialisation"} <= set(made.details)


def test_auto_trains_nothing_that_its_candidates_have_trained_and_comes_to_the_same(problem, tmp_path, monkeypatch):
    alone = OURS["auto"](problem.task, half_of(problem.task), "int8")
    steps, real = [], Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda self, batch: steps.append(1) or real(self, batch))
    task = replace(problem.task, trainings=tmp_path)
    for name in AUTO:
        OURS[name](task, half_of(task), "int8")
    before = len(steps)
    shared = OURS["auto"](task, half_of(task), "int8")
    assert 0 < before == len(steps)
    assert task.judge(shared.model) == task.judge(alone.model)
    assert shared.details == alone.details


def test_where_a_first_lossless_table_is_enough_no_other_is_trained(problem, monkeypatch):
    given = problem.task.settings
    finetune = given.compress.finetune.model_copy(update={"born_again": True, "distillation": 0.5})
    compress = given.compress.model_copy(update={"finetune": finetune, "tolerance": LOOSE})
    task = replace(problem.task, settings=given.model_copy(update={"compress": compress}))
    trained = fits(monkeypatch)
    assert auto_enough(task, half_of(task), "int8").details["tuned"]
    assert len(trained) == 1
    OURS["auto"](task, half_of(task), "int8")
    assert len(trained) > 1 + len(AUTO)


def test_only_auto_and_its_candidates_leave_trainings(problem, tmp_path):
    task = replace(problem.task, trainings=tmp_path / "trainings")
    for name in ("uniform", "auto-mixed"):
        OURS[name](task, half_of(task), "int8")
    assert not task.trainings.exists()


def test_trainings_that_methods_share_are_made_once(problem, tmp_path, monkeypatch):
    steps, real = [], Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda self, batch: steps.append(1) or real(self, batch))
    task = replace(problem.task, trainings=tmp_path)
    alone, before = OURS["rule"](task, half_of(task), "int8"), len(steps)
    again = OURS["rule"](task, half_of(task), "int8")
    assert before > 0
    assert len(steps) == before
    assert task.judge(again.model) == task.judge(alone.model)
    OURS["rule"](task, half_of(task) // 2, "int8")
    assert len(steps) > before
