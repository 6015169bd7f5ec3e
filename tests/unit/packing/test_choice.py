"""Which sizes a budget gets: what is proposed, what is trained, what wins; and the walk down to the smallest table that loses nothing."""

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp
from toy import COMPRESS, equal_weights, silent, toy, with_settings

from amtl.errors import BudgetError
from amtl.model.ctr_model import weights_of
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing import choice, walk
from amtl.packing.choice import Goal, Table, best_cut, in_steps, proposals, standard_errors
from amtl.packing.coded_embedding import CodedEmbedding
from amtl.packing.cut import born_again, cut, decoded, finetuned, propose, served, settled
from amtl.packing.layout import Layout
from amtl.packing.packed_embedding import PackedEmbedding, pack
from amtl.packing.walk import RATIO, smallest_cut
from amtl.params import ToleranceParams
from amtl.sizing.joint import COLD
from amtl.sizing.pricing import rebase
from amtl.sizing.sizes import find_sizes
from amtl.training.control import make_control
from amtl.training.loop import Trainer, predict
from amtl.training.train import train
from amtl.training.tuning import fresh_of, tuning_for

CPU = torch.device("cpu")
STRICT, LOOSE = ToleranceParams(auc=0.0, logloss=0.0), ToleranceParams(auc=0.5, logloss=9.0)


@pytest.fixture(scope="module")
def table():
    """A trained, rotated, priced table of the toy problem, under the default selectors."""
    problem = with_settings(toy(), search={"steps": 10}, train={"epochs": 2}, compress={"finetune": {**COMPRESS["finetune"], "epochs": 1}})
    parts = problem.settings, problem.vocabulary, problem.train, problem.validation
    tuning = tuning_for(*parts, silent)
    control = make_control(train(*parts, None, None, silent).model, tuning)
    found = find_sizes(*parts[:2], control.model, *parts[2:], None, silent)
    return Table.of(problem.settings, found.model, found.front, problem.vocabulary, tuning, Goal(control.measured, STRICT))


def goal(table, tolerance):
    return replace(table, goal=Goal(table.goal.control, tolerance))


def asked(table, **compress):
    """The table under other settings of the section compress, and tuning that goes with them."""
    settings = table.settings.model_copy(update={"compress": table.settings.compress.model_copy(update=compress)})
    return replace(table, settings=settings)


def untrained(table):
    return replace(table, tuning=replace(table.tuning, settings=replace(table.tuning.settings, epochs=0)))


def deep_budget(table):
    """Bytes at which a tenth of the table's numbers, in fp32, is kept."""
    return table.propose("curvature", 10**9).bytes - int(0.9 * 4 * table.model.embedding.weight.numel())


def fits(monkeypatch):
    """Counts the sizes that are trained from here on, and whether each had a teacher."""
    counted, real = [], Trainer.fit

    def fit(self, *parts):
        counted.append((int(self.model.embedder.lookup.sizes_V.sum()), self.teacher is not None))
        return real(self, *parts)

    monkeypatch.setattr(Trainer, "fit", fit)
    return counted


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
    shallow = replace(table, goal=Goal({**table.goal.control, "auc": 2.0}, STRICT))
    found = best_cut(shallow, table.selectors, 1500)
    assert len(counted) == 1 + sum(line["tuned"] for line in found.judged) == 1 + len(found.judged) // 2
    assert all(taught for _, taught in counted)


@pytest.fixture(scope="module")
def reborn(table):
    """The table with tuning that may train anew, and a goal that deep cuts do not meet."""
    finetune = table.settings.compress.finetune.model_copy(update={"born_again": True, "distillation": 0.5})
    settings = table.settings.model_copy(update={"compress": table.settings.compress.model_copy(update={"finetune": finetune})})
    fresh = fresh_of(settings, len(table.model.embedding.weight))
    return replace(table, settings=settings, tuning=replace(table.tuning, fresh=fresh))


@pytest.fixture(scope="module")
def with_cold(reborn):
    """The same with cold sizes, which keep nothing of the rows that are shown less than the median."""
    front = reborn.front
    shown = (front.lookups_V >= front.lookups_V.median()).float().unsqueeze(1)
    return replace(reborn, front=front.with_worth(COLD, shown * front.worth_of("uniform")))


def test_sizes_are_trained_anew_from_untrained_weights_under_their_mask_and_served_within_the_budget(reborn, monkeypatch):
    begun, real = [], Trainer.fit

    def fit(self, *parts):
        begun.append((copy.deepcopy(weights_of(self.model)), self.model.embedder.lookup, self.settings))
        return real(self, *parts)

    monkeypatch.setattr(Trainer, "fit", fit)
    mixed, budget = asked(reborn, precision="mixed"), 500
    parts = mixed.front, "rule", mixed.model.embedding.weight.detach(), budget, "mixed"
    layout = choice.allocate(*parts, False)
    made = born_again("rule", layout, mixed.tuning.fresh, mixed.model, mixed.tuning)
    (first, masked, full), (_, coded, fine) = begun
    untrained = mixed.tuning.fresh.build()
    cut(untrained, layout.sizes_V)
    assert all(torch.equal(tensor, first[name]) for name, tensor in weights_of(untrained).items())
    assert (full, fine) == (mixed.tuning.fresh.fit, mixed.tuning.settings)
    assert isinstance(masked, MaskedEmbedding)
    assert isinstance(coded, CodedEmbedding)
    assert made.name == "rule born again"
    assert made.bytes <= budget
    assert made.model.embedder.basis_FDD is None
    assert not made.model.embedding.weight[torch.arange(6) >= layout.sizes_V.unsqueeze(1)].any()
    assert mixed.tuning.judge(served(made.model, made.layout)) == pytest.approx(made.measured, abs=1e-5)


def test_a_model_that_is_trained_anew_is_fine_tuned_in_rounds_each_from_the_one_before(reborn, monkeypatch, tmp_path):
    begun, real = [], Trainer.fit

    def fit(self, *parts):
        begun.append((copy.deepcopy(weights_of(self.model)), self.settings.seed))
        progress = real(self, *parts)
        begun[-1] += (copy.deepcopy(weights_of(self.model)),)
        return progress

    monkeypatch.setattr(Trainer, "fit", fit)
    table = goal(asked(reborn, precision="int8"), LOOSE)
    table = replace(table, tuning=replace(table.tuning, fresh=replace(table.tuning.fresh, rounds=3)))
    found = best_cut(table, ("rule",), 1000, tmp_path)
    (_, *rounds) = begun[-4:]
    fine = reborn.tuning.settings
    assert [seed for _, seed, _ in rounds] == [fine.seed, fine.seed + 1, fine.seed + 2]
    for (before, _, end), (start, _, after) in pairwise(rounds):
        assert equal_weights(end, start)
        assert not equal_weights(before, end) or not equal_weights(start, after)
    assert found.judged[-1]["selector"] == "rule born again"
    assert len(list((tmp_path / "rule-born-again" / "tuned").iterdir())) == 3


def test_all_selectors_sizes_are_trained_anew_where_proposals_lose_and_the_best_alone_where_none_is_lost(reborn):
    found = best_cut(replace(reborn, goal=Goal({**reborn.goal.control, "auc": 2.0}, STRICT)), reborn.selectors, 1000)
    names = [line["selector"] for line in found.judged]
    assert names[-3:] == [f"{name} born again" for name in reborn.selectors]
    assert found.cut.measured["score"] == max(line["score"] for line in found.judged)
    one = best_cut(goal(reborn, LOOSE), reborn.selectors, 1000)
    assert [name for name in (line["selector"] for line in one.judged) if "born" in name] == [f"{one.judged[0]['selector']} born again"]


def test_cold_sizes_are_what_is_trained_anew_where_none_is_lost(with_cold):
    assert with_cold.selectors == ("curvature", "twins", "rule", COLD)
    found = best_cut(goal(with_cold, LOOSE), with_cold.selectors, 1000)
    assert found.judged[0]["selector"] != COLD
    assert [name for name in (line["selector"] for line in found.judged) if "born" in name] == [f"{COLD} born again"]


def test_cold_sizes_are_the_first_that_are_trained_anew_where_something_is_lost(with_cold):
    lost = replace(with_cold, goal=Goal({**with_cold.goal.control, "auc": 2.0}, STRICT))
    names = [line["selector"] for line in best_cut(lost, lost.selectors, 1000).judged]
    assert names[-4:] == [f"{name} born again" for name in (COLD, "curvature", "twins", "rule")]


@pytest.mark.parametrize("precision", ["int8", "mixed"])
def test_cold_layouts_owe_nothing_to_what_a_trained_table_would_lose(with_cold, precision):
    """At so few bytes it counts which levels are worth their bucket."""
    table_VD, front = with_cold.model.embedding.weight.detach(), with_cold.front
    random_VL = torch.rand(front.costs_VL1.shape, generator=torch.Generator().manual_seed(0)).flip(1).cumsum(1).flip(1)
    other = replace(front, costs_VL1=random_VL - random_VL[:, -1:])
    for budget in (500, 600, 700):
        mine, theirs = (choice.allocate(one, COLD, table_VD, budget, "int8", False).sizes_V for one in (front, other))
        assert torch.equal(mine, theirs)
        assert choice.allocate(front, COLD, table_VD, budget, precision, False).bytes() <= budget


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


def test_auto_has_cold_sizes_only_where_models_are_trained_anew(with_cold):
    without = replace(with_cold, tuning=replace(with_cold.tuning, fresh=None))
    assert without.selectors == ("curvature", "twins", "rule")
    search = without.settings.search.model_copy(update={"sizes": COLD})
    asked_for = replace(without, settings=without.settings.model_copy(update={"search": search}))
    assert asked_for.selectors == (COLD,)
    assert best_cut(asked_for, asked_for.selectors, 1000).cut.bytes <= 1000


def test_on_the_way_down_cold_sizes_stay_what_frequencies_made_of_them(with_cold):
    stepped = in_steps(with_cold, with_cold.propose(COLD, deep_budget(with_cold)), deep_budget(with_cold))
    rare_V = with_cold.front.lookups_V < with_cold.front.lookups_V.median()
    assert stepped.name.startswith("twins-cold in ")
    assert not stepped.layout.sizes_V[rare_V].any()
    assert stepped.layout.sizes_V.any()


def test_where_a_first_training_is_enough_no_other_is_made(reborn, monkeypatch):
    counted = fits(monkeypatch)
    best_cut(goal(reborn, LOOSE), reborn.selectors, 1000, enough=True)
    assert len(counted) == 1
    best_cut(replace(reborn, goal=Goal({**reborn.goal.control, "auc": 2.0}, STRICT)), ("rule",), 1500, anew=("twins",), enough=True)
    assert len(counted) == 1 + 1 + 2


def test_proposals_are_not_fine_tuned_where_only_models_of_their_own_are_asked_for(reborn, monkeypatch):
    counted = fits(monkeypatch)
    found = best_cut(replace(reborn, goal=Goal({**reborn.goal.control, "auc": 2.0}, STRICT)), ("rule",), 500, tuned=False)
    assert [line["selector"] for line in found.judged] == ["rule", "rule born again"]
    assert (len(counted), found.anew) == (2, "rule")


def test_models_of_their_own_are_also_made_where_nothing_is_fine_tuned(reborn):
    without = replace(reborn, tuning=replace(reborn.tuning, settings=replace(reborn.tuning.settings, epochs=0)))
    found = best_cut(replace(without, goal=Goal({**reborn.goal.control, "auc": 2.0}, STRICT)), ("rule",), 1500)
    assert [line["selector"] for line in found.judged] == ["rule", "rule born again"]
    assert found.cut.bytes <= 1500


def test_without_a_full_training_asked_for_none_is_made(table):
    lost = replace(table, goal=Goal({**table.goal.control, "auc": 2.0}, STRICT))
    assert not any("born" in line["selector"] for line in best_cut(lost, table.selectors, 1000).judged)


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


@pytest.mark.parametrize(("gain", "better"), [(0.05, True), (0.01, False), (-0.05, False)], ids=["surely", "by chance", "worse"])
def test_a_model_of_its_own_replaces_one_that_loses_nothing_only_if_surely_better(table, gain, better):
    kept = replace(table.propose("rule", 10**9), measured=dict(table.goal.control))
    noise_N = torch.linspace(-1, 1, len(kept.losses_N), dtype=torch.float64).mul(0.3)
    measured = {**kept.measured, "score": kept.measured["score"] + gain}
    another = replace(kept, born_again=True, measured=measured, losses_N=kept.losses_N - gain - noise_N)
    assert (table.better(kept, another) is another) == better
    assert (table.better(kept, replace(another, born_again=False)) is not kept) == (gain > 0)
    lossy = replace(kept, measured={**kept.measured, "auc": 0.0, "score": 0.0})
    assert table.better(lossy, another) is another


def test_standard_errors_are_those_of_a_paired_t_test():
    gains_N = torch.randn(50, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.2
    assert standard_errors(gains_N) == pytest.approx(ttest_1samp(gains_N.numpy(), 0.0).statistic)
    assert [standard_errors(gains_N[:1]), standard_errors(torch.ones(9))] == [0.0, 0.0]


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
    untrained_calls = [budget for kind, budget, _ in calls if kind == "untrained"]
    assert untrained_calls == steps[: len(untrained_calls)]
    first_tuned = [selectors for kind, _, selectors in calls if kind == "tuned"]
    assert first_tuned[0] == table.selectors
    if kept == "tuned":
        assert set(first_tuned[1:]) == {("rule",)}
        assert lost == tried[-2:] if tried[-1] < tuned_below else lost == tried[-2:-1]
    if kept == "least":
        assert lost == []


def test_down_the_walk_all_are_trained_anew_once_and_then_the_best_of_these(table, monkeypatch):
    calls = scripted(monkeypatch, table, 10**9, 500, anew_by="twins")
    smallest_cut(table)
    asked_for = [(enough, anew) for kind, enough, anew in calls if kind == "anew"]
    assert asked_for[0] == (True, table.selectors)
    assert len(asked_for) > 2
    assert set(asked_for[1:]) == {(True, ("twins",))}


def test_the_smallest_table_passes_and_the_next_one_on_the_ladder_does_not(table):
    loose = asked(goal(table, ToleranceParams(auc=0.02, logloss=0.02)), precision="int8")
    end = smallest_cut(loose)
    assert loose.goal.met(end.choice.cut.measured)
    assert end.choice.cut.bytes <= end.budget_bytes
    tuned = [rung for rung in end.rungs if rung["budget_bytes"] < end.budget_bytes]
    assert all(not rung["passed"] for rung in tuned)
    assert np.isfinite(predict(served(end.choice.cut.model, end.choice.cut.layout), table.tuning.validation, CPU)).all()
