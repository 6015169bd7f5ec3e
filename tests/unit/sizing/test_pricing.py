"""From a model to its front, and again from a cut one: nothing changes before the next cut, and the next cut costs less."""

import pytest
import torch
from toy import silent, toy, with_settings

from amtl.model.masked_embedding import MaskedEmbedding
from amtl.sizing.costs import Sample
from amtl.sizing.front import UNSEEN
from amtl.sizing.pricing import front_of, price, rebase
from amtl.training.loop import predict
from amtl.training.train import train

CPU = torch.device("cpu")
SMALL = {"steps": 30, "learning_rate": 0.03, "ladder": [0.6, 0.3], "frequency_groups": 4, "energy_groups": 4, "hidden": [16]}


def priced(problem, model, how=price, also=()):
    settings = with_settings(problem, search=SMALL).settings.search
    shown_V = torch.from_numpy(problem.vocabulary.exposures_V(0.01, len(problem.train)))
    return how(model, torch.from_numpy(problem.vocabulary.fields_V), shown_V, problem.train, settings, 0, CPU, silent, also)


def trained(backbone, dim=12):
    problem = toy(backbone, dim=dim)
    return problem, train(problem.settings, problem.vocabulary, problem.train, problem.validation, None, None, silent).model


@pytest.mark.parametrize("backbone", ["mlp", "dlrm"])
def test_the_front_fits_the_table(backbone):
    problem, model = trained(backbone)
    front, report = priced(problem, model, also=("twins",))
    rows, fields = problem.vocabulary.rows, len(problem.vocabulary.sizes)
    assert front.size_L1.tolist() == report["levels"] == list(range(13))
    assert front.costs_VL1.shape == (rows, 13)
    assert front.costs_VL1.diff(dim=1).max() <= 0
    assert not front.costs_VL1[:, -1].any()
    assert front.noise_FD.shape == (fields, 12)
    assert (front.noise_FD > 0).all()
    assert front.field_V.tolist() == problem.vocabulary.fields_V.tolist()
    shown_V = problem.vocabulary.exposures_V(0.01, len(problem.train)).clip(min=UNSEEN)
    torch.testing.assert_close(front.lookups_V * len(problem.train), torch.from_numpy(shown_V).float())
    assert front.events == report["rows_read"] == len(problem.train)
    for selector in ("curvature", "rule", "uniform", "twins"):
        worth = front.worth_of(selector)
        assert worth.shape == (rows, 12)
        assert worth.min() >= 0


def test_a_row_without_history_counts_as_half_an_occurrence_of_its_own_trained_row():
    sample = Sample(torch.zeros(3, dtype=torch.int64), 1, torch.tensor([0, 1, 2]))
    sample.gram_FDD[0], sample.lookups_F[0] = torch.eye(2).double(), 1
    front = front_of(sample, torch.tensor([[3.0, 0.0], [2.0, 1.0], [0.0, 1.0]]), torch.tensor([4.0, 0.0, 1.0]), 10)
    torch.testing.assert_close(front.lookups_V, torch.tensor([0.4, 0.05, 0.1]))
    torch.testing.assert_close(front.costs_VL1[1], 0.05 * torch.tensor([2.5, 0.5, 0.0]))


def test_further_selectors_are_added_on_demand():
    problem, model = trained("mlp")
    front, _ = priced(problem, model, also=("magnitude", "single"))
    assert set(front.selectors) == {"curvature", "rule", "uniform", "magnitude", "single"}
    assert torch.equal(front.worth_of("magnitude"), model.embedding.weight.detach().square())
    assert (front.worth_of("single") >= 0).all()
    assert not torch.equal(front.worth_of("single"), priced(problem, model, also=("twins",))[0].worth_of("twins"))


def cut_to(front, model, worth_a_number):
    """Mask the model at a threshold of what a level is worth a number."""
    price_VL = (front.worth_of("curvature") / front.size_L1.diff()).cummin(1).values
    sizes_V = front.size_L1[(price_VL >= worth_a_number).sum(1)]
    model.embedder.lookup = MaskedEmbedding(model.embedding, sizes_V)
    return sizes_V


@pytest.mark.parametrize("backbone", ["mlp", "dlrm"])
def test_rebasing_a_cut_model_changes_no_prediction_and_makes_rows_whole_again(backbone):
    problem, model = trained(backbone, dim=6)
    front, _ = priced(problem, model)
    sizes_V = cut_to(front, model, 1e-6)
    assert 0 < float(sizes_V.double().mean()) < 4
    before = predict(model, problem.validation, CPU)
    again, _ = priced(problem, model, how=rebase)
    assert model.embedder.lookup is model.embedding
    assert predict(model, problem.validation, CPU) == pytest.approx(before, abs=2e-4)
    assert not torch.equal(again.costs_VL1, front.costs_VL1)
    cut_to(again, model, 0.0)
    assert predict(model, problem.validation, CPU) == pytest.approx(before, abs=2e-4)


def test_a_rebased_front_is_that_of_the_cut_table():
    """Rows that were cut to nothing are worth nothing afterwards."""
    problem, model = trained("mlp", dim=6)
    priced(problem, model)
    gone = torch.arange(problem.vocabulary.rows) % 2 == 0
    model.embedder.lookup = MaskedEmbedding(model.embedding, torch.where(gone, 0, 6))
    again, _ = priced(problem, model, how=rebase)
    assert not again.costs_VL1[gone].any()
    assert (again.costs_VL1[~gone, 0] > 0).all()
