"""From a search to a bundle: the budget is met, tails are cut, the best of the candidates is served."""

import copy

import numpy as np
import pytest
import torch
from kills import killed_after
from scipy.stats import sem
from toy import COMPRESS, equal_weights, silent, toy, with_settings

import amtl
from amtl.errors import BudgetError
from amtl.files import read_json, read_tensors
from amtl.model.ctr_model import weights_of
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing import bundle
from amtl.packing.compress import check_budget, compress, contents, resolution
from amtl.packing.cut import decoded, served
from amtl.packing.layout import dense_bytes
from amtl.sizing.sizes import Found, find_sizes
from amtl.training.control import make_control
from amtl.training.loop import Trainer, predict
from amtl.training.train import train
from amtl.training.tuning import tuning_for

CPU = torch.device("cpu")
CURVATURE, NO_TRAINING = {"sizes": "curvature"}, {**COMPRESS["finetune"], "epochs": 0}


class Trained:
    """A control and what a search made of it, to compress again and again under other settings."""

    def __init__(self, folder, backbone="mlp", **search):
        self.problem, self.folder = with_settings(toy(backbone), search={"steps": 20, **search}), folder
        problem = self.problem
        parts = problem.settings, problem.vocabulary, problem.train, problem.validation
        base = train(*parts, None, None, silent).model
        self.control = make_control(base, tuning_for(*parts, silent))
        start = base if problem.settings.search.sizes == "paper" else copy.deepcopy(self.control.model)
        find_sizes(*parts[:2], start, *parts[2:], None, silent).write(folder / "search")

    @property
    def found(self):
        return Found.read(self.folder / "search", self.problem.config)

    def compress(self, log=silent, resume=None, **sections):
        """Compress under settings that differ from the problem's in `sections`."""
        problem = with_settings(self.problem, **sections)
        tuning = tuning_for(problem.settings, problem.vocabulary, problem.train, problem.validation, log)
        return problem, compress(problem.settings, self.found, self.control.measured, problem.vocabulary, tuning, resume)


@pytest.fixture(scope="module", params=["mlp", "dlrm"])
def trained(request, tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("trained"), request.param)


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("mlp"))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "mixed"])
@pytest.mark.parametrize("budget", [0.7, "1 KB"])
def test_the_bundle_meets_the_budget(trained, tmp_path, precision, budget):
    problem, result = trained.compress(compress={"budget": budget, "precision": precision, "finetune": NO_TRAINING}, search=CURVATURE)
    result.write(tmp_path, contents(problem.settings, result, problem.vocabulary, problem.scaling, {}))
    allowed = {0.7: int(0.7 * dense_bytes(problem.vocabulary.rows, 6)), "1 KB": 1000}[budget]
    assert result.report["budget_bytes"] == allowed
    assert (tmp_path / "bundle" / "table.safetensors").stat().st_size <= allowed
    check_budget(tmp_path / "bundle" / "table.safetensors", allowed)
    assert 0 < result.layout.sizes_V.sum() <= 6 * problem.vocabulary.rows


@pytest.mark.parametrize("precision", ["fp32", "mixed"])
def test_the_bundle_predicts_what_was_judged(trained, tmp_path, precision):
    problem, result = trained.compress(compress={"budget": 0.5, "precision": precision}, search=CURVATURE)
    result.write(tmp_path, contents(problem.settings, result, problem.vocabulary, problem.scaling, {"data": "digest"}))
    packed = amtl.load(tmp_path / "bundle")
    read_back = served(result.model, result.layout)
    assert np.array_equal(packed.predict(problem.raw), predict(read_back, problem.validation, CPU))
    tuning = tuning_for(problem.settings, problem.vocabulary, problem.train, problem.validation, silent)
    assert tuning.judge(read_back) == pytest.approx(result.report["validation"], abs=1e-5)
    lineage = {"data": "digest", "budget": "0.5", "sizes": "curvature", "selector": "curvature", "seed": 0, "precision": precision}
    assert packed.manifest["lineage"] == lineage
    assert "toy" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert equal_weights(read_tensors(tmp_path / "masked.safetensors"), weights_of(result.model))
    assert read_json(tmp_path / "report.json")["sizes"] == result.report["sizes"]


def test_tails_are_cut_before_and_after_fine_tuning(trained):
    _, result = trained.compress(search=CURVATURE)
    assert len(result.report["finetune"]) > 1
    assert isinstance(result.model.embedder.lookup, MaskedEmbedding)
    assert torch.equal(result.model.embedder.lookup.sizes_V, result.layout.sizes_V)
    tails = torch.arange(6) >= result.layout.sizes_V.unsqueeze(1)
    assert tails.any()
    assert not result.model.embedding.weight[tails].any()


def test_auto_is_the_smallest_table_that_loses_nothing(mlp, tmp_path):
    lines = []
    change = {"budget": "auto", "precision": "int8", "tolerance": {"auc": 0.03, "logloss": 0.03}}
    problem, result = mlp.compress(lines.append, compress=change)
    result.write(tmp_path, contents(problem.settings, result, problem.vocabulary, problem.scaling, {}))
    check_budget(tmp_path / "bundle" / "table.safetensors", result.report["budget_bytes"])
    rungs, control = result.report["walk"], mlp.control.measured
    for rung in rungs:
        loses = rung["auc"] < control["auc"] - 0.03 or rung["logloss"] > control["logloss"] + 0.03
        assert rung["passed"] == (not loses)
    assert result.report["loses"] == "nothing"
    assert result.report["budget_bytes"] == min(rung["budget_bytes"] for rung in rungs if rung["passed"])
    assert bundle.load(tmp_path / "bundle").manifest["lineage"]["budget"] == "auto"
    assert lines[-2].startswith(f"chosen: {result.report['selector']}, ")
    assert lines[-1] == result.report["resolution"]


def test_the_whole_table_is_told_from_the_control_exactly(mlp):
    _, whole = mlp.compress(search=CURVATURE, compress={"budget": "1 MB", "finetune": NO_TRAINING})
    assert "to ±0.0000 nats" in whole.report["resolution"]


def test_the_resolution_is_that_of_the_losses_beside_the_control_s(mlp):
    problem, made = mlp.compress(search=CURVATURE, compress={"budget": 0.2, "precision": "int8"})
    tuning = tuning_for(problem.settings, problem.vocabulary, problem.train, problem.validation, silent)
    lost_N = tuning.calibration(served(made.model, made.layout)).losses_N - tuning.calibration(mlp.control.model).losses_N
    assert f"±{sem(lost_N.numpy()):.4f} nats" in made.report["resolution"]


def test_a_tolerance_that_validation_rows_cannot_see_is_told():
    lost_N = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.2
    error = sem(lost_N.numpy())
    assert resolution(lost_N, 0.1) == f"400 validation events tell the mean log loss lost to ±{error:.4f} nats (one standard error)"
    assert resolution(lost_N, 0.001).endswith("coarser than the tolerance of 0.001: other events may lose more")
    assert "coarser" in resolution(lost_N[:1], 0.1)


def test_a_budget_beyond_the_whole_table_is_the_whole_table(mlp):
    _, whole = mlp.compress(search=CURVATURE, compress={"budget": "1 MB", "finetune": NO_TRAINING})
    assert torch.equal(decoded(mlp.found.model.embedding.weight, whole.layout), mlp.found.model.embedding.weight)
    assert whole.report["validation"] == pytest.approx(mlp.control.measured, abs=1e-4)
    assert whole.report["finetune"] == []
    assert whole.report["mean_bits"] == 32


def test_a_budget_that_no_table_meets_is_refused(mlp):
    with pytest.raises(BudgetError, match=r"compress\.budget of 100 bytes"):
        mlp.compress(compress={"budget": 100})


def test_a_file_over_the_budget_is_a_defect_and_said_so(tmp_path):
    (tmp_path / "table").write_bytes(bytes(101))
    check_budget(tmp_path / "table", 101)
    check_budget(tmp_path / "table", None)
    with pytest.raises(BudgetError, match="101 bytes, over the budget of 100"):
        check_budget(tmp_path / "table", 100)


def test_killed_and_resumed_it_ends_as_uninterrupted(mlp, tmp_path, monkeypatch):
    change = {"compress": {"budget": 1000}, "train": {"checkpoint_steps": 3}, "search": CURVATURE}
    whole = mlp.compress(**change)[1]
    done = killed_after(monkeypatch, 8, lambda: mlp.compress(resume=tmp_path, **change))
    resumed = mlp.compress(resume=tmp_path, **change)[1]
    assert len(done) == 8 + 2 * 10 - 6  # two steps since the last checkpoint were done again
    assert equal_weights(weights_of(resumed.model), weights_of(whole.model))
    assert resumed.report == whole.report


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("paper"), sizes="paper", epochs=2, buckets=8)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_published_layer_is_packed_as_it_was_trained(paper, tmp_path, monkeypatch, precision):
    monkeypatch.setattr(Trainer, "fit", lambda *_: pytest.fail("a fit"))
    problem, result = paper.compress(compress={"precision": precision})
    found = paper.found
    kept = torch.arange(6) < found.sizes_V.unsqueeze(1)
    assert torch.equal(result.layout.sizes_V, found.sizes_V)
    assert torch.equal(result.model.embedding.weight, found.model.embedding.weight * kept)
    assert "budget_bytes" not in result.report
    assert result.report["selector"] == "paper"
    result.write(tmp_path, contents(problem.settings, result, problem.vocabulary, problem.scaling, {}))
    expected = predict(served(result.model, result.layout), problem.validation, CPU)
    assert np.array_equal(amtl.load(tmp_path / "bundle").predict(problem.raw), expected)
    assert bundle.load(tmp_path / "bundle").manifest["lineage"]["sizes"] == "paper"


def test_cold_sizes_are_learned_written_and_compressed_by(tmp_path):
    given = Trained(tmp_path, sizes="twins-cold")
    _, result = given.compress(search={"sizes": "twins-cold"}, compress={"finetune": {**COMPRESS["finetune"], "born_again": True}})
    assert {line["selector"] for line in result.report["candidates"]} == {"twins-cold", "twins-cold born again"}
    assert result.report["selector"].startswith("twins-cold")
