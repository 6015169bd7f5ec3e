"""From a search to a bundle: the budget is met, tails are cut, and the control is trained once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import equal_weights, silent, toy, with_settings

import amtl
from amtl.errors import BudgetError
from amtl.files import read_json, read_tensors
from amtl.model.ctr_model import TABLE, weights_of
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing import bundle
from amtl.packing.budget import dense_bytes
from amtl.packing.compress import Tuning, check_budget, compress, contents, cut, tuning_for
from amtl.sizing.sizes import Found, find_sizes
from amtl.training.loop import predict
from amtl.training.state import read_state
from amtl.training.train import train

CPU = torch.device("cpu")


class Trained:
    """A trained state and what a search made of it, to compress again and again under other settings."""

    def __init__(self, folder, backbone="mlp", **search):
        self.problem, self.folder = with_settings(toy(backbone), search={"steps": 20, **search}), folder
        problem = self.problem
        trained = train(problem.settings, problem.vocabulary, problem.train, problem.validation, None, None, silent)
        trained.write(folder / "state")
        self.state = read_state(folder / "state")
        found = find_sizes(problem.settings, problem.vocabulary, trained.model, problem.train, problem.validation, None, silent)
        found.write(folder / "search")

    def compress(self, cache, log=silent, **sections):
        """Compress under settings that differ from the problem's in `sections`."""
        problem = with_settings(self.problem, **sections)
        tuning = tuning_for(problem.settings, problem.vocabulary, problem.train, problem.validation, log)
        found = Found.read(self.folder / "search", self.state.config)
        return problem, compress(problem.settings, found, self.state, problem.vocabulary, tuning, cache)


@pytest.fixture(scope="module", params=["mlp", "dlrm"])
def trained(request, tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("trained"), request.param)


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("mlp"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("control")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("budget", [0.7, "80%", "1 KB"])
def test_the_bundle_meets_the_budget(trained, cache, tmp_path, precision, budget):
    problem, result = trained.compress(cache, compress={"budget": budget, "precision": precision})
    result.write(tmp_path, contents(problem.settings, result, problem.vocabulary, problem.scaling, {}))
    asked = {0.7: 0.7, "80%": 0.8}.get(budget)
    allowed = 1000 if asked is None else int(asked * dense_bytes(problem.vocabulary.rows, 6))
    assert result.report["budget_bytes"] == allowed
    assert (tmp_path / "bundle" / "table.safetensors").stat().st_size <= allowed
    check_budget(tmp_path / "bundle" / "table.safetensors", allowed)
    assert 0 < result.sizes_V.sum() <= 6 * problem.vocabulary.rows


def test_the_bundle_predicts_what_the_cut_model_does(trained, cache, tmp_path):
    problem, result = trained.compress(cache)
    result.write(tmp_path, contents(problem.settings, result, problem.vocabulary, problem.scaling, {"data": "digest"}))
    packed = amtl.load(tmp_path / "bundle")
    assert np.array_equal(packed.predict(problem.raw), predict(result.model, problem.validation, CPU))
    assert packed.manifest["lineage"] == {"data": "digest", "budget": "0.8", "sizes": "auto", "seed": 0, "precision": "fp32"}
    assert "toy" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert equal_weights(read_tensors(tmp_path / "masked.safetensors"), weights_of(result.model))
    assert equal_weights(read_tensors(tmp_path / "control.safetensors"), weights_of(result.control))
    assert read_json(tmp_path / "report.json")["sizes"] == result.report["sizes"]


def test_tails_are_cut_before_and_after_fine_tuning(trained, cache):
    _, result = trained.compress(cache)
    assert isinstance(result.model.embedder.lookup, MaskedEmbedding)
    assert torch.equal(result.model.embedder.lookup.sizes_V, result.sizes_V)
    tails = torch.arange(6) >= result.sizes_V.unsqueeze(1)
    assert tails.any()
    assert not result.model.embedding.weight[tails].any()


def test_fine_tuning_does_not_end_below_its_start(trained, cache):
    _, result = trained.compress(cache)
    scores = [entry["score"] for entry in result.report["finetune"]]
    assert result.report["finetune"][0]["epoch"] == 0
    assert len(scores) > 1
    ruined = trained.compress(cache, compress={"finetune": {"epochs": 1, "patience": 1, "learning_rate": 50.0}})[1]
    untouched = trained.compress(cache, compress={"finetune": {"epochs": 0, "patience": 1, "learning_rate": 1.0}})[1]
    assert torch.equal(ruined.model.embedding.weight, untouched.model.embedding.weight)


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


def runs(monkeypatch):
    """Counts the trainings of fine-tuning from here on."""
    counted, real = [], Tuning.run

    def run(self, model, resume=None):
        counted.append("cut" if isinstance(model.embedder.lookup, MaskedEmbedding) else "control")
        return real(self, model, resume)

    monkeypatch.setattr(Tuning, "run", run)
    return counted


def test_the_control_is_trained_once_for_all_budgets_and_precisions(mlp, tmp_path, monkeypatch):
    counted = runs(monkeypatch)
    first = mlp.compress(tmp_path)[1]
    assert counted == ["control", "cut"]
    others = [mlp.compress(tmp_path, compress=change)[1] for change in ({"budget": 0.7}, {"precision": "int8"}, {})]
    assert counted == ["control", "cut", "cut", "cut", "cut"]
    assert all(equal_weights(weights_of(first.control), weights_of(other.control)) for other in others)
    assert others[0].sizes_V.sum() < first.sizes_V.sum()
    assert equal_weights(weights_of(first.model), weights_of(others[2].model))


@pytest.mark.parametrize(
    "change", [{"train": {"batch_size": 32}}, {"compress": {"finetune": {"epochs": 1, "patience": 1, "learning_rate": 1e-3}}}], ids=str
)
def test_other_fine_tuning_makes_another_control(mlp, tmp_path, monkeypatch, change):
    first, counted = mlp.compress(tmp_path)[1], runs(monkeypatch)
    other = mlp.compress(tmp_path, **change)[1]
    assert counted == ["control", "cut"]
    assert not equal_weights(weights_of(first.control), weights_of(other.control))


def test_other_events_or_another_start_make_another_control(mlp, tmp_path, monkeypatch):
    mlp.compress(tmp_path)
    problem, counted = mlp.problem, runs(monkeypatch)
    fewer = problem.train.take(torch.arange(500))
    relabelled = replace(problem.train, labels_B=1 - problem.train.labels_B)
    found = Found.read(mlp.folder / "search", mlp.state.config)
    with torch.no_grad():
        found.model.embedding.weight[3] += 0.1
    for start, events in ((None, fewer), (None, relabelled), (found, problem.train)):
        tuning = tuning_for(problem.settings, problem.vocabulary, events, problem.validation, silent)
        start = start or Found.read(mlp.folder / "search", mlp.state.config)
        compress(problem.settings, start, mlp.state, problem.vocabulary, tuning, tmp_path)
    assert counted == ["control", "cut"] * 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_a_damaged_control_is_trained_again(mlp, tmp_path, monkeypatch, damage):
    first = mlp.compress(tmp_path)[1]
    (kept,) = tmp_path.glob("*/weights.safetensors")
    content = kept.read_bytes()
    kept.unlink()
    if damage != "missing":
        kept.write_bytes(content[:-1] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 64]))
    counted = runs(monkeypatch)
    again = mlp.compress(tmp_path)[1]
    assert counted == ["control", "cut"]
    assert equal_weights(weights_of(first.control), weights_of(again.control))
    assert kept.read_bytes() == content


def test_the_control_is_full_width_and_starts_where_the_cut_model_does(mlp, tmp_path):
    """With a whole table there is nothing to cut: control and cut model are then one."""
    _, whole = mlp.compress(tmp_path, compress={"budget": "1 MB"})
    assert (whole.sizes_V == 6).all()
    control = weights_of(whole.control)
    model = {name.replace("lookup.embedding.", "lookup."): tensor for name, tensor in weights_of(whole.model).items()}
    del model["embedder.lookup.sizes_V"]
    assert equal_weights(control, model)


def test_a_budget_that_no_table_meets_is_refused(mlp, tmp_path):
    with pytest.raises(BudgetError, match=r"compress\.budget of 100 bytes"):
        mlp.compress(tmp_path, compress={"budget": 100})


def test_a_file_over_the_budget_is_a_defect_and_said_so(tmp_path):
    (tmp_path / "table").write_bytes(bytes(101))
    check_budget(tmp_path / "table", 101)
    check_budget(tmp_path / "table", None)
    with pytest.raises(BudgetError, match="101 bytes, over the budget of 100"):
        check_budget(tmp_path / "table", 100)


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("paper"), sizes="paper", epochs=2, buckets=8)


def test_paper_mode_packs_what_was_trained_jointly(paper, tmp_path, monkeypatch):
    counted = runs(monkeypatch)
    problem, result = paper.compress(tmp_path / "cache")
    assert counted == ["control"]
    found = Found.read(paper.folder / "search", paper.state.config)
    kept = torch.arange(6) < found.sizes_V.unsqueeze(1)
    assert torch.equal(result.sizes_V, found.sizes_V)
    assert torch.equal(result.model.embedding.weight, found.model.embedding.weight * kept)
    assert "budget_bytes" not in result.report
    result.write(tmp_path, contents(problem.settings, result, problem.vocabulary, problem.scaling, {}))
    assert np.array_equal(amtl.load(tmp_path / "bundle").predict(problem.raw), predict(result.model, problem.validation, CPU))
    assert bundle.load(tmp_path / "bundle").manifest["lineage"]["sizes"] == "paper"


def test_paper_mode_s_control_gets_the_same_training_from_the_trained_state(paper, tmp_path):
    problem, result = paper.compress(tmp_path)
    expected = paper.state.model()
    tuning = tuning_for(problem.settings, problem.vocabulary, problem.train, problem.validation, silent)
    assert (tuning.settings.epochs, tuning.settings.keep_last, tuning.settings.keep_start) == (2, True, False)
    tuning.run(expected)
    assert equal_weights(weights_of(result.control), weights_of(expected))
    assert not torch.equal(weights_of(result.control)[TABLE], paper.state.weights[TABLE])
