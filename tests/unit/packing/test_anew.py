"""Models that are trained anew at proposed sizes: when, at whose, and when they take the place of a cut."""

import copy
from dataclasses import replace

import pytest
import torch
from scipy.stats import ttest_1samp
from tables import LOOSE, asked, deep_budget, fits, goal, losing
from toy import equal_weights

from amtl.model.ctr_model import weights_of
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing import choice
from amtl.packing.choice import best_cut, in_steps, standard_errors
from amtl.packing.coded_embedding import CodedEmbedding
from amtl.packing.cut import born_again, cut, served
from amtl.sizing.front import COLD
from amtl.training.loop import Trainer


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


def in_three_rounds(table):
    compress = table.settings.compress
    finetune = compress.finetune.model_copy(update={"rounds": 3})
    return replace(table, settings=table.settings.model_copy(update={"compress": compress.model_copy(update={"finetune": finetune})}))


@pytest.fixture
def poor(monkeypatch):
    """Makes cuts worse than any model that is trained anew."""
    real, worst = choice.proposals, {"auc": -9.0, "logloss": 99.0, "score": -9.0}
    monkeypatch.setattr(choice, "proposals", lambda *parts: [replace(proposed, measured=worst) for proposed in real(*parts)])


def test_the_best_of_the_models_trained_anew_goes_on_in_rounds_each_from_the_one_before(reborn, poor, monkeypatch, tmp_path):
    begun, real = [], Trainer.fit

    def fit(self, *parts):
        begun.append((copy.deepcopy(weights_of(self.model)), self.settings.seed, type(self.model.embedder.lookup)))
        progress = real(self, *parts)
        begun[-1] += (copy.deepcopy(weights_of(self.model)),)
        return progress

    monkeypatch.setattr(Trainer, "fit", fit)
    table = in_three_rounds(losing(asked(reborn, precision="int8")))
    found = best_cut(table, ("rule", "curvature"), 1000, tmp_path, tuned=False)
    seeds, fine = [seed for _, seed, _, _ in begun], reborn.tuning.settings.seed
    whole = reborn.tuning.fresh.fit.seed
    assert seeds == [whole, fine, whole, fine, fine + 1, fine + 2]
    (_, _, _, end), (start, _, coded, after) = begun[-2:]
    assert coded is CodedEmbedding
    assert equal_weights(end, start)
    assert not equal_weights(begun[-2][0], end) or not equal_weights(start, after)
    assert found.cut.name == found.judged[-1]["selector"]
    assert found.judged[-1]["score"] == max(entry["score"] for entry in found.judged)
    assert found.cut.born_again
    counts = {folder.name: len(list((folder / "tuned").iterdir())) for folder in tmp_path.iterdir()}
    assert sorted(counts.values()) == [1, 3]
    assert counts[found.cut.name.replace(" ", "-")] == 3


def test_a_cut_that_wins_gets_no_further_rounds(reborn, monkeypatch):
    table = in_three_rounds(goal(asked(reborn, precision="int8"), LOOSE))
    monkeypatch.setattr(choice, "SURE", float("inf"))
    found = best_cut(table, ("rule",), 1000)
    assert not found.cut.born_again
    assert [entry["selector"] for entry in found.judged].count("rule born again") == 1


def test_where_models_are_trained_anew_a_cut_in_steps_is_not_trained_on_the_way(reborn, monkeypatch):
    counted, budget = fits(monkeypatch), deep_budget(reborn)
    assert in_steps(in_three_rounds(reborn), reborn.propose("rule", budget), budget).steps > 1
    assert not counted


def test_one_that_is_enough_gets_no_further_rounds(reborn, poor):
    table = in_three_rounds(goal(asked(reborn, precision="int8"), LOOSE))
    found = best_cut(table, ("rule", "curvature"), 1000, tuned=False, enough=True)
    assert [entry["selector"] for entry in found.judged[2:]] == ["rule born again"]


@pytest.mark.parametrize("tolerated", [losing, lambda table: goal(table, LOOSE)], ids=["something is lost", "nothing is lost"])
def test_all_selectors_sizes_are_trained_anew_cold_ones_first(with_cold, tolerated):
    table = tolerated(with_cold)
    found = best_cut(table, table.selectors, 1000)
    names = [line["selector"] for line in found.judged]
    assert names[-4:] == [f"{name} born again" for name in (COLD, "curvature", "twins", "rule")]


def test_where_all_lose_something_the_best_score_wins(reborn):
    found = best_cut(losing(reborn), reborn.selectors, 1000)
    assert found.cut.measured["score"] == max(line["score"] for line in found.judged)


def test_cold_layouts_owe_nothing_to_what_a_trained_table_would_lose(with_cold):
    """At so few bytes it counts which levels are worth their bucket."""
    table_VD, front = with_cold.model.embedding.weight.detach(), with_cold.front
    random_VL = torch.rand(front.costs_VL1.shape, generator=torch.Generator().manual_seed(0)).flip(1).cumsum(1).flip(1)
    other = replace(front, costs_VL1=random_VL - random_VL[:, -1:])
    for budget in (500, 600, 700):
        mine, theirs = (choice.allocate(one, COLD, table_VD, budget, "int8", False).sizes_V for one in (front, other))
        assert torch.equal(mine, theirs)
        assert all(choice.allocate(front, COLD, table_VD, budget, precision, False).bytes() <= budget for precision in ("int8", "mixed"))


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
    best_cut(losing(reborn), ("rule",), 1500, anew=("twins",), enough=True)
    assert len(counted) == 1 + 1 + 2


def test_proposals_are_not_fine_tuned_where_only_models_of_their_own_are_asked_for(reborn, monkeypatch):
    counted = fits(monkeypatch)
    found = best_cut(losing(reborn), ("rule",), 500, tuned=False)
    assert [line["selector"] for line in found.judged] == ["rule", "rule born again"]
    assert (len(counted), found.anew) == (2, "rule")


def test_models_of_their_own_are_also_made_where_nothing_is_fine_tuned(reborn):
    without = replace(reborn, tuning=replace(reborn.tuning, settings=replace(reborn.tuning.settings, epochs=0)))
    found = best_cut(losing(without), ("rule",), 1500)
    assert [line["selector"] for line in found.judged] == ["rule", "rule born again"]
    assert found.cut.bytes <= 1500


def test_without_a_full_training_asked_for_none_is_made(table):
    lost = losing(table)
    assert not any("born" in line["selector"] for line in best_cut(lost, table.selectors, 1000).judged)


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
