"""From a search to a bundle: the budget is met, tails are cut, the best of the candidates is served."""

import copy

import numpy as np
import pytest
import torch
from toy import equal_weights, silent, toy, with_settings

import amtl
from amtl.files import read_json, read_tensors
from amtl.model.ctr_model import weights_of
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing.compress import check_budget, compress, contents
from amtl.packing.cut import served
from amtl.packing.layout import dense_bytes
from amtl.sizing.sizes import Found, find_sizes
from amtl.training.control import make_control
from amtl.training.loop import predict
from amtl.training.train import train
from amtl.training.tuning import tuning_for

CPU = torch.device("cpu")
LEAST = 700  # bytes of which every budget below is a table


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
@pytest.mark.parametrize("budget", [0.7, "80%", "1 KB"])
def test_the_bundle_meets_the_budget(trained, tmp_path, precision, budget):
    problem, result = trained.compress(compress={"budget": budget, "precision": precision})
    result.write(tmp_path, contents(problem.settings, result, problem.vocabulary, problem.scaling, {}))
    asked = {0.7: 0.7, "80%": 0.8}.get(budget)
    allowed = 1000 if asked is None else int(asked * dense_bytes(problem.vocabulary.rows, 6))
    assert result.report["budget_bytes"] == allowed
    assert (tmp_path / "bundle" / "table.safetensors").stat().st_size <= allowed
    check_budget(tmp_path / "bundle" / "table.safetensors", allowed)
    assert 0 < result.layout.sizes_V.sum() <= 6 * problem.vocabulary.rows


@pytest.mark.parametrize("precision", ["fp32", "mixed"])
def test_the_bundle_predicts_what_was_judged(trained, tmp_path, precision):
    problem, result = trained.compress(compress={"budget": 0.5, "precision": precision})
    result.write(tmp_path, contents(problem.settings, result, problem.vocabulary, problem.scaling, {"data": "digest"}))
    packed = amtl.load(tmp_path / "bundle")
    read_back = served(result.model, result.layout)
    assert np.array_equal(packed.predict(problem.raw), predict(read_back, problem.validation, CPU))
    tuning = tuning_for(problem.settings, problem.vocabulary, problem.train, problem.validation, silent)
    assert tuning.judge(read_back) == pytest.approx(result.report["validation"], abs=1e-5)
    lineage = {"data": "digest", "budget": "0.5", "sizes": "auto", "selector": result.report["selector"], "seed": 0, "precision": precision}
    assert packed.manifest["lineage"] == lineage
    assert "toy" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert equal_weights(read_tensors(tmp_path / "masked.safetensors"), weights_of(result.model))
    assert read_json(tmp_path / "report.json")["sizes"] == result.report["sizes"]


def test_tails_are_cut_before_and_after_fine_tuning(trained):
    _, result = trained.compress()
    assert isinstance(result.model.embedder.lookup, MaskedEmbedding)
    assert torch.equal(result.model.embedder.lookup.sizes_V, result.layout.sizes_V)
    tails = torch.arange(6) >= result.layout.sizes_V.unsqueeze(1)
    assert tails.any()
    assert not result.model.embedding.weight[tails].any()
