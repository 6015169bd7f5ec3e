"""Platt's calibration: the best scale and shift, judged with the model and folded into it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import equal_weights, silent, toy

from amtl.model.ctr_model import weights_of
from amtl.release.evaluate import score
from amtl.training.loop import FitSettings, Trainer, platt, predict

CPU = torch.device("cpu")
FIT = FitSettings(epochs=2, patience=2, batch_size=64, learning_rate=0.05, seed=0, calibrate=True)


def cross_entropy(logits, labels):
    return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.double()))


def drawn(seed, scale, shift, rows=400):
    """Logits, and labels whose chance is sigmoid(scale * logit + shift)."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, generator=random, dtype=torch.float64) * 2
    labels = (torch.rand(rows, generator=random, dtype=torch.float64) < torch.sigmoid(scale * logits + shift)).float()
    return logits, labels


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.4, 3), shift=st.floats(-2, 2))
def test_no_other_scale_and_shift_fit_better(seed, scale, shift):
    logits, labels = drawn(seed, scale, shift)
    found = platt(logits, labels)
    least = cross_entropy(logits * found[0] + found[1], labels)
    assert least <= cross_entropy(logits, labels) + 1e-9
    for step in (0.05, -0.05):
        assert least <= cross_entropy(logits * (found[0] + step) + found[1], labels) + 1e-9
        assert least <= cross_entropy(logits * found[0] + found[1] + step, labels) + 1e-9


def test_an_overconfident_model_is_calmed():
    logits, labels = drawn(0, 1.0, 0.0, rows=20_000)
    assert platt(logits * 4 + 1, labels) == pytest.approx((0.25, -0.25), abs=0.05)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.zeros(0), torch.zeros(0)),
        (torch.randn(9), torch.zeros(9)),
        (torch.randn(9), torch.ones(9)),
        (torch.tensor([0.0, float("nan")]), torch.tensor([0.0, 1.0])),
        (torch.tensor([0.0, float("inf")]), torch.tensor([0.0, 1.0])),
        (torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([1.0, 1.0, 0.0])),
    ],
    ids=["no rows", "no positive", "no negative", "nan", "infinite", "backwards"],
)
def test_where_there_is_nothing_to_fit_the_model_stays_as_it_is(logits, labels):
    assert platt(logits.double(), labels) == (1.0, 0.0)


def test_perfectly_separated_rows_give_a_finite_answer():
    scale, shift = platt(torch.tensor([-1.0, -0.5, 0.5, 1.0]).double(), torch.tensor([0.0, 0.0, 1.0, 1.0]))
    assert np.isfinite([scale, shift]).all()


@pytest.mark.parametrize("backbone", ["mlp", "dlrm"])
def test_the_model_ends_calibrated_and_judged_as_such(backbone):
    problem, model = toy(backbone), toy(backbone).model()
    trainer = Trainer(model, FIT, CPU, problem.unknown_rows_F, log=silent)
    progress = trainer.fit(problem.train, problem.validation)
    found = score(problem.validation.labels_B.numpy(), predict(model, problem.validation, CPU))
    best = max(progress.history, key=lambda entry: entry["score"])
    assert found["logloss"] == pytest.approx(best["logloss"], abs=1e-6)
    assert found["auc"] == pytest.approx(best["auc"], abs=1e-3)
    assert found["calibration"] == pytest.approx(1.0, abs=1e-3)
    plain = Trainer(problem.model(), replace(FIT, calibrate=False), CPU, problem.unknown_rows_F, log=silent)
    plain.fit(problem.train, problem.validation)
    assert best["logloss"] < max(plain.progress.history, key=lambda entry: entry["score"])["logloss"]


def test_a_resumed_run_is_calibrated_once(tmp_path):
    problem, ends = toy(), []
    for seed in (0, 0, 9):
        model = problem.model(seed=seed)
        resume = tmp_path / "resume" if ends else None
        Trainer(model, FIT, CPU, problem.unknown_rows_F, resume=resume, log=silent).fit(problem.train, problem.validation)
        ends.append(weights_of(model))
    assert equal_weights(ends[0], ends[1])
    assert equal_weights(ends[0], ends[2])


def test_a_start_that_competes_is_calibrated_too():
    problem, model = toy(), toy().model()
    Trainer(model, FIT, CPU, problem.unknown_rows_F, log=silent).fit(problem.train, problem.validation)
    with torch.no_grad():
        model.backbone.layers[-1].weight.mul_(3)
    before = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    ruinous = replace(FIT, learning_rate=50.0, keep_start=True)
    trainer = Trainer(model, ruinous, CPU, problem.unknown_rows_F, log=silent)
    trainer.fit(problem.train, problem.validation)
    changed = {name for name, tensor in weights_of(model).items() if not torch.equal(tensor, before[name])}
    assert changed == {"backbone.layers.3.weight", "backbone.layers.3.bias"}
