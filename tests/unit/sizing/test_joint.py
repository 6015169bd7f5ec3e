"""The cold start: model and twins trained together down a ladder."""

import pytest
import torch
from toy import toy, with_settings

from amtl.model.ctr_model import TABLE, weights_of
from amtl.sizing.joint import descend_jointly, first_rows
from amtl.training.train import fit_settings

CPU = torch.device("cpu")
SEARCH = {"ladder": [0.5, 0.2], "learning_rate": 0.05, "hidden": [8], "buckets": 6}


def test_model_and_twins_are_trained_together_and_the_shares_of_the_ladder_are_met():
    problem = with_settings(toy(dim=12), search=SEARCH, train={"epochs": 12, "patience": 1})
    model, lines = problem.model(std=0.1), []
    before = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    shown_V, field_V = torch.from_numpy(problem.vocabulary.frequencies_V), torch.from_numpy(problem.vocabulary.fields_V)
    fit = fit_settings(problem.settings, warm=False)
    found = descend_jointly(model, shown_V, field_V, problem.train, problem.validation, problem.settings.search, fit, CPU, lines.append)
    assert model.embedder.lookup is model.embedding
    assert weights_of(model).keys() == before.keys()
    assert not torch.equal(weights_of(model)[TABLE], before[TABLE])
    assert sum(line.startswith("epoch") for line in lines) == 12
    for share, wanted_G in zip(found.share_R, found.wanted_RG, strict=True):
        kept = float((wanted_G.round() * found.values_G).sum() / found.values_G.sum()) / 12
        assert kept == pytest.approx(float(share), abs=0.08)
    worth = found.worth(torch.arange(13))
    assert worth.shape == (len(found.values_G), 12)
    assert worth.isfinite().all()


def test_a_field_s_first_row_is_where_its_number_changes():
    assert first_rows(torch.tensor([0, 0, 0, 1, 2, 2])).tolist() == [0, 3, 4]
