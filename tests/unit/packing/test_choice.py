"""Which sizes a budget gets: what is proposed, what is fine-tuned or cut in steps, what wins."""

import copy
from dataclasses import replace

import pytest
import torch
from tables import LOOSE, asked, deep_budget, fits, goal, losing, untrained
from toy import toy

from amtl.errors import BudgetError
from amtl.model.ctr_model import weights_of
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing import choice
from amtl.packing.choice import Goal, best_cut, in_steps, proposals
from amtl.packing.coded_embedding import CodedEmbedding
from amtl.packing.cut import cut, decoded, finetuned, propose, served, settled
from amtl.packing.layout import Layout
from amtl.packing.packed_embedding import PackedEmbedding, pack
from amtl.params import ToleranceParams
from amtl.sizing.pricing import rebase
from amtl.training.loop import Trainer


def test_cutting_masks_the_lookup_and_the_stored_rows():
    problem, model = toy(), toy().model()
    sizes = torch.arange(problem.vocabulary.rows) % 7
    before = model.embedding.weight.detach().clone()
    cut(model, sizes)
    kept = torch.arange(6) < sizes.unsqueeze(1)
    assert torch.equal(model.embedding.weight, before * kept)
    assert torch.equal(model.embedder.lookup(torch.arange(len(sizes))), before * kept)
    cut(model, sizes)
    assert torch.equal(model.embedding.weight, before * kept)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_what_is_judged_looks_up_what_a_server_would(precision):
    problem, model = toy(), toy().model()
    sizes, before = torch.arange(problem.vocabulary.rows) % 7, copy.deepcopy(weights_of(model))
    layout = Layout.of_sizes(sizes, torch.from_numpy(problem.vocabulary.fields_V), 6, precision)
    copied = served(model, layout)
    packed = PackedEmbedding(pack(model.embedding.weight, layout), 6)
    _, place = layout.order()
    for row in range(len(sizes)):
        assert torch.equal(copied.embedder.lookup(torch.tensor([row])), packed(place[row : row + 1]))
    assert torch.equal(decoded(model.embedding.weight, layout), copied.embedding.weight)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights_of(model).items())
    copied.backbone.rescale(2.0, 1.0)
    assert torch.equal(weights_of(model)["backbone.layers.3.bias"], before["backbone.layers.3.bias"])


def test_a_proposal_is_judged_as_served_and_leaves_the_table_alone(table):
    before = copy.deepcopy(weights_of(table.model))
    proposed = propose("curvature", table.model, table.front, 900, "mixed", table.tuning)
    assert proposed.bytes <= 900
    assert table.tuning.calibration(served(table.model, proposed.layout)).measured == proposed.measured
    kept = settled(proposed, table.tuning)
    assert isinstance(kept.model.embedder.lookup, MaskedEmbedding)
    assert kept.measured == proposed.measured
    assert table.tuning.judge(served(kept.model, kept.layout)) == pytest.approx(kept.measured, abs=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights_of(table.model).items())


def test_fine_tuning_starts_from_the_cut_table_and_can_only_gain_on_the_masked_model(table):
    proposed = table.propose("rule", 1100)
    tuned = finetuned(proposed, table.model, table.tuning)
    assert tuned.history[0]["epoch"] == 0
    start = copy.deepcopy(table.model)
    cut(start, proposed.layout.sizes_V)
    assert tuned.history[0]["score"] == pytest.approx(table.tuning.calibration(start).measured["score"])
    assert tuned.layout is proposed.layout
    tails = torch.arange(6) >= proposed.layout.sizes_V.unsqueeze(1)
    assert not tuned.model.embedding.weight[tails].any()


@pytest.mark.parametrize(("precision", "kind"), [("fp32", MaskedEmbedding), ("int8", CodedEmbedding), ("mixed", CodedEmbedding)])
def test_fine_tuning_looks_up_what_will_be_served(table, monkeypatch, precision, kind):
    lookups, real = [], Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self, *parts: lookups.append(self.model.embedder.lookup) or real(self, *parts))
    proposed = asked(table, precision=precision).propose("rule", 2000)
    tuned = finetuned(proposed, table.model, untrained(table).tuning)
    assert [type(lookup) for lookup in lookups] == [kind]
    assert tuned.history[0]["score"] == pytest.approx(proposed.measured["score"], abs=1e-5)


def test_the_best_on_validation_wins_and_each_that_was_judged_is_told(table):
    found = best_cut(table, table.selectors, 1000)
    assert table.selectors == ("curvature", "twins", "rule")
    assert {line["selector"] for line in found.judged} >= set(table.selectors)
    assert found.cut.measured["score"] == max(line["score"] for line in found.judged)
    assert found.cut.bytes <= 1000
    scores = [proposed.measured["score"] for proposed in proposals(table, table.selectors, 1000)]
    assert scores == sorted(scores, reverse=True)


def test_a_ruinous_fine_tuning_is_not_what_is_served(table):
    ruinous = replace(table, tuning=replace(table.tuning, settings=replace(table.tuning.settings, learning_rate=50.0)))
    ruined, kept = best_cut(ruinous, ("curvature",), 1200).cut, best_cut(untrained(table), ("curvature",), 1200).cut
    assert torch.equal(ruined.model.embedding.weight, kept.model.embedding.weight)
    assert ruined.measured == pytest.approx(kept.measured, abs=1e-6)


def test_all_candidates_are_trained_only_where_something_is_lost(table, monkeypatch):
    counted = fits(monkeypatch)
    best_cut(goal(table, LOOSE), table.selectors, 1000)
    assert len(counted) == 1
    shallow = losing(table)
    found = best_cut(shallow, table.selectors, 1500)
    assert len(counted) == 1 + sum(line["tuned"] for line in found.judged) == 1 + len(found.judged) // 2
    assert all(taught for _, taught in counted)


def test_one_selector_is_taken_where_one_is_asked_for(table):
    for sizes in ("curvature", "twins", "rule"):
        search = table.settings.search.model_copy(update={"sizes": sizes})
        assert replace(table, settings=table.settings.model_copy(update={"search": search})).selectors == (sizes,)
    assert {line["selector"] for line in best_cut(untrained(table), ("rule",), 1500).judged} == {"rule"}


def test_deep_cuts_are_also_made_in_steps_and_never_exceed_the_budget(table):
    budget = deep_budget(table)
    target = table.propose("curvature", budget)
    assert 0 < target.kept < choice.DEEP
    stepped = in_steps(table, target, budget)
    assert stepped.name == f"curvature in {stepped.steps} steps"
    assert 2 <= stepped.steps <= choice.MOST_STEPS
    assert stepped.bytes <= budget
    assert table.tuning.calibration(served(stepped.model, stepped.layout)).measured == stepped.measured
    assert stepped.model is not table.model


def test_what_is_settled_is_calibrated_for_the_numbers_that_are_served(table):
    overconfident = copy.deepcopy(table.model)
    overconfident.backbone.rescale(3.0, 0.5)
    proposed = propose("curvature", overconfident, table.front, 1500, "int8", table.tuning)
    made = settled(proposed, table.tuning)
    assert table.tuning.judge(served(made.model, made.layout)) == pytest.approx(made.measured, abs=1e-5)
    assert table.tuning.judge(served(overconfident, made.layout))["logloss"] > made.measured["logloss"] + 0.01


def test_on_the_way_down_only_the_selector_itself_is_asked_again(table, monkeypatch):
    asked_again = []
    monkeypatch.setattr(choice, "rebase", lambda *parts: asked_again.append(rebase(*parts)[0]) or (asked_again[-1], {}))
    in_steps(table, table.propose("curvature", deep_budget(table)), deep_budget(table))
    assert asked_again
    assert all("twins" not in front.selectors for front in asked_again)


def test_steps_fall_to_the_budget_in_equal_ratios(table, monkeypatch):
    budget, asked_for, real = deep_budget(table), [], choice.allocate
    monkeypatch.setattr(choice, "DEEP", 0.5)
    monkeypatch.setattr(choice, "allocate", lambda *parts: asked_for.append(parts[3]) or real(*parts))
    target = table.propose("curvature", budget)
    in_steps(table, target, budget)
    ratio = (choice.DEEP / target.kept) ** (1 / len(asked_for))
    assert len(asked_for) > 1
    assert asked_for == [int(budget * ratio**left) for left in range(len(asked_for), 0, -1)]


def test_rounds_are_trainings_on_the_way(table, monkeypatch):
    budget, counted = deep_budget(table), fits(monkeypatch)
    target = table.propose("curvature", budget)
    in_steps(table, target, budget)
    assert counted == []
    finetune = table.settings.compress.finetune.model_copy(update={"rounds": 2})
    in_steps(asked(table, finetune=finetune), target, budget)
    assert [taught for _, taught in counted] == [True]


def test_nothing_below_the_least_table_is_promised(table):
    with pytest.raises(BudgetError, match=r"compress\.budget of 100 bytes"):
        best_cut(table, table.selectors, 100)


def test_what_loses_nothing_comes_before_a_better_score_that_loses_log_loss(table):
    control, proposed = table.goal.control, table.propose("rule", 10**9)
    kept = replace(proposed, measured={"auc": control["auc"], "logloss": control["logloss"], "score": 0.1})
    overconfident = replace(proposed, measured={"auc": control["auc"] + 0.1, "logloss": control["logloss"] + 0.01, "score": 0.9})
    assert max(kept, overconfident, key=table.rank) is kept
    assert max(replace(kept, measured=overconfident.measured), overconfident, key=table.rank).measured["score"] == 0.9


def test_the_losses_of_a_cut_are_those_of_its_log_loss(table):
    proposed = table.propose("rule", 1500)
    for judged in (proposed, settled(proposed, table.tuning), finetuned(proposed, table.model, table.tuning)):
        assert float(judged.losses_N.mean()) == pytest.approx(judged.measured["logloss"])
        assert len(judged.losses_N) == len(table.tuning.validation)


def test_a_goal_is_met_within_its_tolerances_on_both_sides():
    control = {"auc": 0.8, "logloss": 0.4}
    met = Goal(control, ToleranceParams(auc=0.01, logloss=0.02)).met
    assert met({"auc": 0.791, "logloss": 0.419})
    assert met({"auc": 0.9, "logloss": 0.1})
    assert not met({"auc": 0.789, "logloss": 0.4})
    assert not met({"auc": 0.8, "logloss": 0.421})
