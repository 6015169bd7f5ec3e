"""What cutting costs, against a loop and against finite differences; the way down the ladder; paper mode on a toy."""

from dataclasses import replace

import pytest
import torch
from toy import Toy, equal_weights, silent, toy, with_settings

from amtl.errors import ArtifactError
from amtl.files import publish_tensors, read_tensors
from amtl.model.ctr_model import TABLE, weights_of
from amtl.model.masked_embedding import MaskedEmbedding, TwinsEmbedding
from amtl.model.twins import AdaptivelyMaskedTwins
from amtl.sizing import sizes
from amtl.sizing.basis import balanced_basis, curvature_FDD, rotate
from amtl.sizing.search import Front, _Controller, cutting_costs_GO, describe_sizes, kept_share, put_layer_behind
from amtl.sizing.sizes import Found, find_sizes
from amtl.training.loop import predict
from amtl.training.train import train

CPU = torch.device("cpu")
ALL = 10**9


def test_pressure_rises_while_too_much_is_kept_and_falls_to_nothing_below():
    controller = _Controller()
    rising = [controller.pressure(0.1) for _ in range(5)]
    assert rising == sorted(rising)
    assert rising[0] > 0
    assert len(set(rising)) == 5
    assert controller.pressure(-10.0) == 0.0
    assert 0 < controller.pressure(0.1) < rising[-1]
    assert all(controller.pressure(-1.0) == 0.0 for _ in range(3))


SMALL = {"steps": 80, "learning_rate": 0.03, "ladder": [0.6, 0.3, 0.1], "frequency_groups": 4, "energy_groups": 4, "hidden": [16]}


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
    for rung in found.report["rungs"]:
        assert rung["kept"] == pytest.approx(rung["share"], abs=0.06)
    assert len(found.report["rungs"]) == 3
    assert len(lines) == 3
    assert "rung 60%" in lines[0]


def test_the_front_fits_the_table(searched):
    problem, _, found, _ = searched
    front = found.front
    assert front.dim == 12
    assert front.fields == 3
    assert torch.equal(front.values_G, torch.bincount(front.group_V, minlength=len(front.values_G)))
    assert front.wanted_RG.shape == (3, len(front.values_G))
    assert front.wanted_RG.min() >= 0
    assert front.wanted_RG.max() <= 12
    a_field = len(front.values_G) // 3
    assert (front.group_V // a_field).tolist() == problem.vocabulary.fields_V.tolist()
    assert front.limit_G.view(3, a_field)[:, 0].tolist() == [min(12, rows) for rows in problem.vocabulary.sizes.values()]


def test_the_searched_model_predicts_at_full_size_what_the_trained_one_did(searched):
    problem, before, found, _ = searched
    tolerance = 1e-4 if problem.config.backbone == "mlp" else 2e-3
    assert predict(found.model, problem.validation, CPU) == pytest.approx(before, abs=tolerance)


def test_what_the_search_cuts_costs_less_than_cutting_all_alike(searched):
    problem, _, found, _ = searched
    front = found.front
    costs = cutting_costs_GO(found.model, problem.train, front.group_V, len(front.values_G), CPU, ALL, seed=0)
    wanted = front.wanted_RG[1].round().long()
    kept = float((wanted * front.values_G).sum() / front.values_G.sum())
    alike = costs.sum(0)
    assert float(costs.gather(1, wanted.unsqueeze(1)).sum()) < 0.8 * float(torch.lerp(alike[int(kept)], alike[int(kept) + 1], kept % 1))


def test_a_search_survives_the_disk(searched, tmp_path):
    problem, _, found, _ = searched
    found.write(tmp_path)
    again = Found.read(tmp_path, problem.config)
    assert again.sizes_V is None
    assert equal_weights(weights_of(again.model), weights_of(found.model))
    assert vars(again.front).keys() == vars(found.front).keys()
    for name, value in vars(found.front).items():
        other = getattr(again.front, name)
        assert torch.equal(other, value) if torch.is_tensor(value) else other == value


def test_a_search_is_a_function_of_its_inputs():
    problem = with_settings(toy(), search=SMALL | {"steps": 10})
    both = [
        find_sizes(problem.settings, problem.vocabulary, problem.model(), problem.train, problem.validation, None, silent) for _ in range(2)
    ]
    assert torch.equal(both[0].front.wanted_RG, both[1].front.wanted_RG)
    assert torch.equal(both[0].model.embedding.weight, both[1].model.embedding.weight)


def test_a_front_that_lacks_a_tensor_is_refused(searched, tmp_path):
    searched[2].front.write(tmp_path / "front.safetensors")
    tensors = read_tensors(tmp_path / "front.safetensors")
    for name in tensors:
        publish_tensors(tmp_path / "damaged", {key: tensor for key, tensor in tensors.items() if key != name})
        with pytest.raises(ArtifactError, match="dvc repro"):
            Front.read(tmp_path / "damaged")


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

        patch.setattr(sizes, "put_layer_behind", watched)
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


def test_sizes_are_described():
    described = describe_sizes(torch.tensor([0, 4, 4, 2]), 4)
    assert described == {"mean_size": 2.5, "distinct_sizes": 3, "kept_share": 0.625, "histogram": {"0": 1, "2": 1, "4": 2}}
