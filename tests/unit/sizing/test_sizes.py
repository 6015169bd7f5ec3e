"""Searches end to end on a toy, on disk and again: under a budget, and in paper mode."""

import pytest
import torch
from kills import killed_after
from toy import COMPRESS, equal_weights, silent, toy, with_settings

from amtl.errors import ArtifactError
from amtl.model.ctr_model import TABLE, weights_of
from amtl.model.masked_embedding import MaskedEmbedding, TwinsEmbedding
from amtl.model.twins import AdaptivelyMaskedTwins
from amtl.packing.prices import prices
from amtl.sizing import paper
from amtl.sizing.levels import describe_sizes
from amtl.sizing.paper import put_layer_behind
from amtl.sizing.sizes import Found, find_sizes
from amtl.sizing.twins import kept_share
from amtl.training.loop import predict
from amtl.training.train import train

CPU = torch.device("cpu")
SMALL = {"steps": 200, "learning_rate": 0.03, "ladder": [0.6, 0.3, 0.1], "frequency_groups": 4, "energy_groups": 4, "hidden": [16]}


@pytest.fixture(scope="module", params=["mlp", "dlrm"])
def searched(request):
    """A trained model before and after a search under a budget, and what was said on the way."""
    problem, lines = with_settings(toy(request.param, dim=12), search=SMALL, train={"epochs": 4}), []
    trained = train(problem.settings, problem.vocabulary, problem.train, problem.validation, None, None, silent)
    before = predict(trained.model, problem.validation, CPU)
    found = find_sizes(problem.settings, problem.vocabulary, trained.model, problem.train, problem.validation, None, lines.append)
    return problem, before, found, lines


def test_the_search_ends_each_rung_near_its_share(searched):
    _, _, found, lines = searched
    assert [rung["share"] for rung in found.report["rungs"]] == pytest.approx([0.6, 0.3, 0.1])
    for rung in found.report["rungs"]:
        assert rung["kept"] == pytest.approx(rung["share"], abs=0.06)
    assert len(lines) == 3
    assert "rung 60%" in lines[0]


@pytest.mark.parametrize(
    ("sizes", "born_again", "learned"),
    [
        ("auto", False, ["twins"]),
        ("auto", True, ["twins", "twins-cold"]),
        ("twins", True, ["twins"]),
        ("twins-cold", False, ["twins-cold"]),
        ("curvature", True, []),
        ("rule", False, []),
    ],
)
def test_twins_are_trained_where_their_sizes_are_asked_for(sizes, born_again, learned):
    finetune = {**COMPRESS["finetune"], "born_again": born_again}
    problem = with_settings(toy(), search={**SMALL, "steps": 5, "sizes": sizes}, compress={"finetune": finetune})
    parts = problem.settings, problem.vocabulary, problem.model(), problem.train, problem.validation
    found = find_sizes(*parts, None, silent)
    assert [name for name in found.front.selectors if "twins" in name] == learned
    assert ("rungs" in found.report) == ("twins" in learned)
    assert ("cold" in found.report) == ("twins-cold" in learned)


def test_cold_sizes_owe_nothing_to_the_trained_table():
    problem = with_settings(toy(), search={**SMALL, "sizes": "twins-cold"})
    parts = problem.train, problem.validation, None, silent
    fronts = [find_sizes(problem.settings, problem.vocabulary, problem.model(seed=seed), *parts).front for seed in (0, 5)]
    assert torch.equal(*(front.worth_of("twins-cold") for front in fronts))
    assert not torch.equal(*(front.worth_of("curvature") for front in fronts))


def test_a_search_that_is_killed_while_it_learns_sizes_cold_goes_on_there(tmp_path, monkeypatch):
    problem = with_settings(toy(), search={**SMALL, "sizes": "twins-cold"}, train={"checkpoint_steps": 3})
    parts = problem.settings, problem.vocabulary
    whole = find_sizes(*parts, problem.model(), problem.train, problem.validation, None, silent)
    steps = killed_after(monkeypatch, 13, lambda: find_sizes(*parts, problem.model(), problem.train, problem.validation, tmp_path, silent))
    resumed = find_sizes(*parts, problem.model(), problem.train, problem.validation, tmp_path, silent)
    assert len(steps) <= 30 + 2
    assert torch.equal(resumed.front.worth_of("twins-cold"), whole.front.worth_of("twins-cold"))
    assert resumed.report == whole.report


def test_the_searched_model_predicts_at_full_size_what_the_trained_one_did(searched):
    problem, before, found, _ = searched
    tolerance = 1e-4 if problem.config.backbone == "mlp" else 2e-3
    assert predict(found.model, problem.validation, CPU) == pytest.approx(before, abs=tolerance)


def estimated(front, selector, numbers):
    """Estimated cost of the sizes of a selector that keep about so many numbers a row."""
    price_VL = prices(front.worth_of(selector), front.size_L1)
    order = torch.argsort(price_VL.flatten(), descending=True, stable=True)
    kept = torch.zeros(price_VL.numel(), dtype=torch.int64).index_fill_(0, order[: int(numbers * len(price_VL))], 1).view_as(price_VL)
    return float(front.costs_VL1.gather(1, kept.sum(1, keepdim=True)).sum())


@pytest.mark.parametrize("numbers", [2, 4])
def test_curvature_s_sizes_cost_less_than_one_size_for_all(searched, numbers):
    front = searched[2].front
    assert estimated(front, "curvature", numbers) < 0.5 * estimated(front, "uniform", numbers)


def test_a_search_survives_the_disk(searched, tmp_path):
    problem, _, found, _ = searched
    found.write(tmp_path)
    again = Found.read(tmp_path, problem.config)
    assert again.sizes_V is None
    assert equal_weights(weights_of(again.model), weights_of(found.model))
    assert again.front.selectors == found.front.selectors
    for selector in found.front.selectors:
        assert torch.equal(again.front.worth_of(selector), found.front.worth_of(selector))


def test_a_search_whose_front_is_missing_is_refused(searched, tmp_path):
    problem, _, found, _ = searched
    found.write(tmp_path)
    (tmp_path / "front.safetensors").unlink()
    with pytest.raises(ArtifactError):
        Found.read(tmp_path, problem.config)


def test_a_search_is_a_function_of_its_inputs():
    problem = with_settings(toy(), search=SMALL | {"steps": 10})
    both = [
        find_sizes(problem.settings, problem.vocabulary, problem.model(), problem.train, problem.validation, None, silent) for _ in range(2)
    ]
    assert torch.equal(both[0].front.worth_of("twins"), both[1].front.worth_of("twins"))
    assert torch.equal(both[0].front.costs_VL1, both[1].front.costs_VL1)
    assert torch.equal(both[0].model.embedding.weight, both[1].model.embedding.weight)


PAPER = {"sizes": "paper", "epochs": 2, "buckets": 8, "learning_rate": 0.05}


@pytest.fixture(scope="module")
def published():
    """Paper mode from a trained model on a toy."""
    problem, lines = with_settings(toy(), search=PAPER), []
    trained = train(problem.settings, problem.vocabulary, problem.train, problem.validation, None, None, silent)
    start = {name: tensor.clone() for name, tensor in weights_of(trained.model).items()}
    found = find_sizes(problem.settings, problem.vocabulary, trained.model, problem.train, problem.validation, None, lines.append)
    return problem, start, found, lines


def test_paper_mode_reports_sizes_at_initialisation_beside_the_found_ones(published):
    problem, _, found, lines = published
    assert found.front is None
    assert found.report["mode"] == "paper"
    assert found.report["sizes_at_initialisation"] == describe_sizes(torch.full((problem.vocabulary.rows,), 6), 6)
    assert found.report["sizes"] == describe_sizes(found.sizes_V, 6)
    assert "initialisation: mean 6.00 of 6" in lines[0]


def test_paper_mode_trains_model_and_layer_jointly(published):
    problem, start, found, _ = published
    assert found.sizes_V.shape == (problem.vocabulary.rows,)
    assert found.sizes_V.min() >= 1
    weights = weights_of(found.model)
    assert weights.keys() == start.keys()
    assert not torch.equal(weights[TABLE], start[TABLE])


def test_paper_mode_s_sizes_are_the_layer_s_last_ones():
    """The model that is handed on, cut to the sizes that are handed on, is the jointly trained model."""
    problem = with_settings(toy(), search=PAPER)
    model, kept = problem.model(), []
    with pytest.MonkeyPatch.context() as patch:

        def watched(*arguments):
            kept.append(put_layer_behind(*arguments))
            with torch.no_grad():
                for twin in (kept[0].high, kept[0].low):
                    twin.biases[-1].zero_()
            return kept[0]

        patch.setattr(paper, "put_layer_behind", watched)
        found = find_sizes(problem.settings, problem.vocabulary, model, problem.train, problem.validation, None, silent)
    joint, cut = problem.model(), problem.model()
    for other in (joint, cut):
        other.load_state_dict(weights_of(found.model))
        other.eval()
    joint.embedder.lookup = TwinsEmbedding(joint.embedding, kept[0])
    cut.embedder.lookup = MaskedEmbedding(cut.embedding, found.sizes_V)
    assert len(found.sizes_V.unique()) > 1
    assert torch.equal(joint(problem.validation), cut(problem.validation))


def test_paper_mode_survives_the_disk(published, tmp_path):
    problem, _, found, _ = published
    found.write(tmp_path)
    again = Found.read(tmp_path, problem.config)
    assert torch.equal(again.sizes_V, found.sizes_V)
    assert again.front is None
    assert equal_weights(weights_of(again.model), weights_of(found.model))


def test_a_search_in_the_other_mode_replaces_what_was_there(published, searched, tmp_path):
    for found in (published[2], searched[2], published[2]):
        found.write(tmp_path)
        again = Found.read(tmp_path, searched[0].config if found.front else published[0].config)
        assert (again.front is None) == (found.front is None)


def test_the_layer_goes_behind_the_model_s_own_table():
    problem, model = toy(), toy().model()
    table = model.embedding
    counts, fields = torch.tensor(problem.vocabulary.counts_V), torch.tensor(problem.vocabulary.fields_V)
    twins = put_layer_behind(model, counts, fields, problem.settings.search, seed=3)
    assert isinstance(twins, AdaptivelyMaskedTwins)
    assert model.embedding is table
    assert model.embedder.lookup.twins is twins
    assert kept_share(twins) == 1.0
