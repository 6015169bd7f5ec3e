"""The walk of `compress.budget: auto` down to the smallest table that loses nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tables import asked, goal

from amtl.errors import BudgetError
from amtl.packing import choice, walk
from amtl.packing.choice import Table
from amtl.packing.cut import served
from amtl.packing.walk import RATIO, STRIDE, smallest_cut
from amtl.params import ToleranceParams
from amtl.sizing.front import COLD
from amtl.training.loop import predict

CPU = torch.device("cpu")


def scripted(monkeypatch, table, loses_below, tuned_below, anew_by=None):
    """A walk whose proposals lose something below one number of bytes, and the best cuts below another."""
    calls = []

    def judged(budget, end):
        if budget < 100:
            raise BudgetError("too small")
        auc = table.goal.control["auc"] - (budget < end)
        return replace(table.propose("rule", 2000), measured={**table.goal.control, "auc": auc})

    def proposed(table, selectors, budget):
        calls.append(("untrained", budget, selectors))
        return [judged(budget, loses_below)]

    def best(table, selectors, budget, resume=None, *, anew=None, tuned=True, enough=False):
        calls.append(("anew", enough, anew))
        calls.append(("tuned", budget, selectors))
        return choice.Choice(judged(budget, tuned_below), [], anew_by)

    monkeypatch.setattr(walk, "proposals", proposed)
    monkeypatch.setattr(walk, "best_cut", best)
    return calls


def ladder(whole, rungs):
    found = [whole]
    for _ in range(rungs - 1):
        found.append(int(found[-1] * RATIO))
    return found


@pytest.mark.parametrize(
    ("loses_below", "tuned_below", "kept"),
    [(900, 500, "tuned"), (900, 901, "untrained"), (0, 0, "least"), (10**9, 500, "tuned"), (10**9, 10**9, "whole")],
    ids=["training goes on where proposals end", "training does not help", "nothing is ever lost", "all need training", "all lose"],
)
def test_the_walk_goes_down_while_nothing_is_lost_and_keeps_the_last(table, monkeypatch, loses_below, tuned_below, kept):
    whole = table.propose("curvature", 10**9).bytes
    calls, steps = scripted(monkeypatch, table, loses_below, tuned_below), ladder(whole, 30)
    end = smallest_cut(table)
    passing = {"tuned": tuned_below, "untrained": loses_below, "least": 100, "whole": whole}[kept]
    tried = [rung["budget_bytes"] for rung in end.rungs]
    assert len(set(tried)) == len(tried)
    assert end.budget_bytes == min([budget for budget in tried if budget >= passing], default=whole)
    lost = [rung["budget_bytes"] for rung in end.rungs if not rung["passed"]]
    if kept == "tuned":
        above, below = (next(step for step in steps if step < tuned_below) / RATIO, next(step for step in steps if step < tuned_below))
        assert tried[-2:] == [below, int((above * below) ** 0.5)]
    assert all(rung["passed"] == (rung["auc"] == table.goal.control["auc"]) for rung in end.rungs)
    first_tuned = [selectors for kind, _, selectors in calls if kind == "tuned"]
    assert first_tuned[0] == table.selectors
    if kept == "tuned":
        assert set(first_tuned[1:]) == {("rule",)}
        assert lost == tried[-2:] if tried[-1] < tuned_below else lost == tried[-2:-1]
    if kept == "least":
        assert lost == []


@pytest.mark.parametrize("loses_below", [1300, 1100, 900, 720, 580, 460, 370, 300, 240, 190, 150, 120, 0])
def test_strides_end_where_a_walk_rung_by_rung_would(table, monkeypatch, loses_below):
    calls, steps = scripted(monkeypatch, table, loses_below, 10**9), ladder(table.propose("curvature", 10**9).bytes, 30)
    end, lossless = smallest_cut(table), [step for step in steps if step >= max(loses_below, 100)]
    assert end.budget_bytes == lossless[-1]
    looks = [budget for kind, budget, _ in calls if kind == "untrained"]
    assert len(looks) == len(set(looks)) <= -(-len(lossless) // STRIDE) + STRIDE
    untrained = [rung["budget_bytes"] for rung in end.rungs if rung["passed"]]
    assert untrained == sorted(untrained, reverse=True)


def test_down_the_walk_all_are_trained_anew_once_and_then_the_best_of_these(table, monkeypatch):
    calls = scripted(monkeypatch, table, 10**9, 500, anew_by="twins")
    smallest_cut(table)
    asked_for = [(enough, anew) for kind, enough, anew in calls if kind == "anew"]
    assert asked_for[0] == (True, table.selectors)
    assert len(asked_for) > 2
    assert set(asked_for[1:]) == {(True, ("twins",))}


def test_down_the_walk_cold_sizes_go_on_where_others_would_have_ended_it(with_cold, monkeypatch):
    """All that is fine-tuned loses something; trained anew curvature loses nothing down to 1200 bytes, cold sizes down to 900."""
    control, least = with_cold.goal.control, {"curvature": 1200, COLD: 900}
    tried, real = [], with_cold.propose

    def judged(selector, budget, again):
        lossless = again and budget >= least.get(selector, 10**9)
        measured = {**control, "auc": control["auc"] - (not lossless)}
        return replace(real(selector, budget), born_again=again, measured=measured, history=[measured] if again else [])

    def anew(selector, layout, fresh, teacher, tuning, resume=None):
        tried.append((selector, layout.bytes()))
        return judged(selector, layout.bytes(), True)

    monkeypatch.setattr(Table, "propose", lambda table, selector, budget: judged(selector, budget, False))
    monkeypatch.setattr(choice, "in_steps", lambda table, target, *parts: target)
    monkeypatch.setattr(choice, "finetuned", lambda proposed, *parts: proposed)
    monkeypatch.setattr(choice, "born_again", anew)
    end = smallest_cut(with_cold)
    assert end.choice.cut.name == f"{COLD} born again"
    assert 900 <= end.choice.cut.bytes < 1200
    assert tried[0][0] == COLD


def test_the_smallest_table_passes_and_the_next_one_on_the_ladder_does_not(table):
    loose = asked(goal(table, ToleranceParams(auc=0.02, logloss=0.02)), precision="int8")
    end = smallest_cut(loose)
    assert loose.goal.met(end.choice.cut.measured)
    assert end.choice.cut.bytes <= end.budget_bytes
    tuned = [rung for rung in end.rungs if rung["budget_bytes"] < end.budget_bytes]
    assert all(not rung["passed"] for rung in tuned)
    assert np.isfinite(predict(served(end.choice.cut.model, end.choice.cut.layout), table.tuning.validation, CPU)).all()
