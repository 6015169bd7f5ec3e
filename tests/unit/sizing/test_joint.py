"""The cold start: model and twins trained together down a ladder, and a training that was killed on the way."""

from dataclasses import replace

import pytest
import torch
from kills import killed_after
from toy import silent, toy, with_settings

from amtl.model.ctr_model import TABLE, weights_of
from amtl.sizing import joint
from amtl.sizing.joint import descend_jointly, first_rows
from amtl.training.train import fit_settings

CPU = torch.device("cpu")
SEARCH = {"ladder": [0.5, 0.2], "learning_rate": 0.05, "hidden": [8], "buckets": 6}


def descended(problem, model, log=silent, resume=None, **changes):
    """The descent of a problem's settings, and the fit that it was given."""
    shown_V, field_V = torch.from_numpy(problem.vocabulary.frequencies_V), torch.from_numpy(problem.vocabulary.fields_V)
    fit = replace(fit_settings(problem.settings, warm=False), **changes)
    parts = shown_V, field_V, problem.train, problem.validation, problem.settings.search, fit, CPU
    return descend_jointly(model, *parts, log, resume)


def test_model_and_twins_are_trained_together_and_the_shares_of_the_ladder_are_met(monkeypatch):
    monkeypatch.setattr(joint, "EPOCHS_A_RUNG", 6)
    problem = with_settings(toy(dim=12), search=SEARCH, train={"epochs": 12, "patience": 1})
    model, lines = problem.model(std=0.1), []
    before = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    found = descended(problem, model, lines.append)
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


@pytest.mark.parametrize(
    ("epochs", "rungs", "trained"), [(40, 3, 3), (2, 3, 2), (1, 12, 2)], ids=["an epoch a rung", "fewer", "a step a rung"]
)
def test_every_rung_has_a_share_of_the_epochs_and_at_least_a_step(epochs, rungs, trained):
    ladder, lines = [0.9**rung for rung in range(1, rungs + 1)], []
    problem = with_settings(toy(), search={**SEARCH, "ladder": ladder}, train={"batch_size": 64})
    found = descended(problem, problem.model(), lines.append, epochs=epochs)
    assert len(problem.train) // 64 == 9
    assert sum(line.startswith("epoch") for line in lines) == trained
    assert len(found.wanted_RG) == len(found.share_R) == rungs
    assert found.worth(torch.arange(7)).isfinite().all()


@pytest.mark.parametrize("killed", [2, 8, 14, 29])
def test_a_descent_that_is_killed_and_resumed_comes_to_the_same(tmp_path, monkeypatch, killed):
    problem = with_settings(toy(), search={**SEARCH, "ladder": [0.8, 0.5, 0.2]})
    whole = descended(problem, problem.model(), epochs=3)
    steps = killed_after(monkeypatch, killed, lambda: descended(problem, problem.model(), resume=tmp_path, epochs=3, checkpoint_steps=2))
    lines = []
    resumed = descended(problem, problem.model(seed=4), lines.append, tmp_path, epochs=3, checkpoint_steps=2)
    assert any(line.startswith("resumed") for line in lines)
    assert len(steps) <= 30 + 1
    assert torch.equal(resumed.wanted_RG, whole.wanted_RG)


def test_a_field_s_first_row_is_where_its_number_changes():
    assert first_rows(torch.tensor([0, 0, 0, 1, 2, 2])).tolist() == [0, 3, 4]
