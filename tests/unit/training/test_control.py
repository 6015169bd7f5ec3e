"""The control: the best of its candidates, made once, and whole again after a kill or a damage."""

import copy
from dataclasses import replace

import pytest
import torch
from kills import killed_after
from toy import equal_weights, silent, toy, with_settings

from amtl.errors import ArtifactError
from amtl.model.ctr_model import weights_of
from amtl.training.control import BORN_AGAIN, DISTILLED, TRAINED, TUNED, Control, control_of, make_control
from amtl.training.loop import Trainer
from amtl.training.train import train
from amtl.training.tuning import Tuning, tuning_for

FINETUNE = {"epochs": 2, "patience": 2, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def trained():
    problem = toy()
    return train(problem.settings, problem.vocabulary, problem.train, problem.validation, None, None, silent).model


def tuning(problem=None, **sections):
    problem = with_settings(problem or toy(), **sections)
    return tuning_for(problem.settings, problem.vocabulary, problem.train, problem.validation, silent)


def fits(monkeypatch):
    """Counts fits from here on: whether each had a teacher."""
    counted, real = [], Trainer.fit

    def fit(self, *parts):
        counted.append(self.teacher is not None)
        return real(self, *parts)

    monkeypatch.setattr(Trainer, "fit", fit)
    return counted


def test_the_best_on_validation_is_chosen_and_said(trained):
    before, made = copy.deepcopy(weights_of(trained)), make_control(trained, tuning())
    assert equal_weights(weights_of(trained), before)
    histories = [made.report["tuned"], made.report["distilled"]]
    assert [history[0]["epoch"] for history in histories] == [0, 0]
    best = max(entry["score"] for history in histories for entry in history)
    assert tuning().judge(made.model) == pytest.approx(made.measured)
    assert made.measured["score"] == pytest.approx(best, abs=1e-4)
    named = {TRAINED: histories[0][:1], TUNED: histories[0][1:], DISTILLED: histories[1][1:]}
    assert best == max(entry["score"] for entry in named[made.report["chosen"]])


@pytest.mark.parametrize(
    ("finetune", "chosen", "teachers"),
    [
        ({"learning_rate": 50.0}, TRAINED, [False, True]),
        ({"distillation": 0.0}, TUNED, [False]),
        ({"epochs": 0}, TRAINED, [False]),
        ({"distillation": 1.0}, None, [False, True]),
    ],
    ids=str,
)
def test_what_ruins_the_model_is_not_chosen(trained, monkeypatch, finetune, chosen, teachers):
    counted = fits(monkeypatch)
    made = make_control(trained, tuning(compress={"finetune": {**FINETUNE, **finetune}}))
    assert counted == teachers
    assert made.report["chosen"] == (chosen or made.report["chosen"])
    if chosen == TRAINED:
        changed = {name for name, weight in weights_of(made.model).items() if not torch.equal(weight, weights_of(trained)[name])}
        assert changed <= {"backbone.layers.3.weight", "backbone.layers.3.bias"}  # calibrated


def test_the_control_s_own_copy_learns_from_whole_events(trained, monkeypatch):
    """Of recombined events a copy already says what its teacher does: labels and teacher together are all that can teach it."""
    settings, real = [], Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self, *parts: settings.append(self.settings) or real(self, *parts))
    make_control(trained, tuning(compress={"finetune": {**FINETUNE, "epochs": 1, "recombined": 0.3, "distillation": 0.5}}))
    assert [(fit.distillation, fit.recombined) for fit in settings[1:]] == [(0.5, 0.0)]


def test_the_distilled_candidate_learns_from_the_fine_tuned_one(trained, monkeypatch):
    seen = []
    real = Tuning.run

    def run(self, model, teacher=None, resume=None):
        before = None if teacher is None else equal_weights(weights_of(teacher), weights_of(model))
        seen.append((self.settings.distillation, before))
        return real(self, model, teacher, resume)

    monkeypatch.setattr(Tuning, "run", run)
    make_control(trained, tuning(compress={"finetune": {**FINETUNE, "distillation": 0.4}}))
    assert seen == [(0.0, None), (0.4, True)]


def test_the_control_of_the_published_layer_trains_as_long_and_keeps_the_last_weights(trained):
    made = make_control(trained, tuning(search={"sizes": "paper", "epochs": 2}))
    assert [entry["epoch"] for entry in made.report["tuned"]] == [1, 2]
    assert "distilled" not in made.report
    expected, settings = copy.deepcopy(trained), tuning(search={"sizes": "paper", "epochs": 2})
    assert (settings.settings.keep_last, settings.settings.keep_start, settings.settings.distillation) == (True, False, 0.0)
    settings.run(expected)
    assert equal_weights(weights_of(made.model), weights_of(expected))


@pytest.mark.parametrize("epochs", [3, 0])
def test_a_born_again_one_must_be_better(trained, monkeypatch, epochs):
    """Trained anew by labels and teacher, then fine-tuned by the teacher's word on recombined events; the better one stays."""
    again = tuning(compress={"finetune": {**FINETUNE, "born_again": True, "distillation": 0.5, "recombined": 0.3}})
    fresh = replace(again.fresh, fit=replace(again.fresh.fit, epochs=epochs))
    if not epochs:  # what was never trained and hardly fine-tuned
        again = replace(again, settings=replace(again.settings, learning_rate=1e-6))
    without, real, fits = make_control(trained, replace(again, fresh=None)), Trainer.fit, []

    def fit(self, *parts):
        fits.append((self.settings.epochs, self.settings.distillation, self.settings.recombined, self.teacher is not None))
        return real(self, *parts)

    monkeypatch.setattr(Trainer, "fit", fit)
    made = make_control(trained, replace(again, fresh=fresh))
    assert fits[2:] == [(epochs, 0.5, 0.0, True), (2, 0.5, 0.3, True)]
    assert made.measured == again.judge(made.model)
    born, other = max(entry["score"] for entry in made.report["born_again"]["tuned"]), without.measured["score"]
    assert (made.report["chosen"] == BORN_AGAIN) == (born > other)
    assert made.measured["score"] == pytest.approx(max(born, other), abs=1e-4)
    if not epochs:
        assert made.report["chosen"] == without.report["chosen"]
        assert equal_weights(weights_of(made.model), weights_of(without.model))


def test_a_born_again_one_begins_from_untrained_weights(trained, monkeypatch):
    """From those that the start began from."""
    problem, begun, real = with_settings(toy(), compress={"finetune": {**FINETUNE, "born_again": True}}), [], Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self, *parts: begun.append(copy.deepcopy(weights_of(self.model))) or real(self, *parts))
    train(problem.settings, problem.vocabulary, problem.train, problem.validation, None, None, silent)
    again = tuning(problem)
    assert equal_weights(weights_of(again.fresh.build()), begun[0])
    make_control(trained, again)
    assert equal_weights(begun[3], begun[0])


def test_a_born_again_one_is_fine_tuned_in_as_many_rounds_as_what_is_cut(trained, monkeypatch):
    counted = fits(monkeypatch)
    finetune = {**FINETUNE, "born_again": True, "distillation": 0.5}
    again = tuning(compress={"finetune": {**finetune, "rounds": 3}})
    assert again.fresh.rounds == 3
    make_control(trained, tuning(compress={"finetune": finetune}))
    once = len(counted)
    make_control(trained, again)
    assert len(counted) - once == once + 2


def test_the_published_layer_s_control_is_not_born_again():
    assert tuning(search={"sizes": "paper"}, compress={"finetune": {**FINETUNE, "born_again": True}}).fresh is None


def test_it_is_made_once_for_the_same_start_data_and_settings(trained, tmp_path, monkeypatch):
    first, counted = control_of(trained, tuning(), tmp_path), fits(monkeypatch)
    again = control_of(trained, tuning(compress={"budget": 0.1, "precision": "int8"}), tmp_path)
    assert equal_weights(weights_of(first.model), weights_of(again.model))
    assert first.report == again.report
    assert counted == []


def test_another_start_other_events_or_other_training_make_another(trained, tmp_path, monkeypatch):
    control_of(trained, tuning(), tmp_path)
    problem, counted = toy(), fits(monkeypatch)
    moved = copy.deepcopy(trained)
    with torch.no_grad():
        moved.embedding.weight[3] += 0.1
    fewer = replace(problem, train=problem.train.take(torch.arange(500)))
    relabelled = replace(problem, train=replace(problem.train, labels_B=1 - problem.train.labels_B))
    control_of(moved, tuning(), tmp_path)
    for other in (fewer, relabelled):
        control_of(trained, tuning(other), tmp_path)
    control_of(trained, tuning(compress={"finetune": {**FINETUNE, "epochs": 1}}), tmp_path)
    control_of(trained, tuning(train={"batch_size": 32}), tmp_path)
    assert counted == [False, True] * 5
    for changed in ({}, {"init_std": 0.2}, {"learning_rate": 1e-4}):  # of the training of a born-again one
        control_of(trained, tuning(train=changed, compress={"finetune": {**FINETUNE, "born_again": True}}), tmp_path)
    assert counted[10:] == [False, True, True, True] * 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_a_damaged_one_is_made_again(trained, tmp_path, monkeypatch, damage):
    first = control_of(trained, tuning(), tmp_path)
    (kept,) = tmp_path.glob("*/control.safetensors")
    content = kept.read_bytes()
    kept.unlink()
    if damage != "missing":
        kept.write_bytes(content[:-1] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 64]))
    counted = fits(monkeypatch)
    assert equal_weights(weights_of(first.model), weights_of(control_of(trained, tuning(), tmp_path).model))
    assert counted == [False, True]
    assert kept.read_bytes() == content


@pytest.mark.parametrize("steps", [4, 14, 24, 34, 44, 74])
def test_killed_and_resumed_it_ends_as_uninterrupted(trained, tmp_path, monkeypatch, steps):
    """Ten steps an epoch, two epochs, first fine-tuned and then distilled; three anew, and two more."""
    settings = tuning(train={"checkpoint_steps": 3, "epochs": 3}, compress={"finetune": {**FINETUNE, "born_again": True}})
    whole = make_control(trained, settings)
    killed_after(monkeypatch, steps, lambda: make_control(trained, settings, tmp_path))
    resumed = make_control(trained, settings, tmp_path)
    assert equal_weights(weights_of(resumed.model), weights_of(whole.model))
    assert resumed.report == whole.report


def test_what_cannot_be_read_is_refused(trained, tmp_path):
    make_control(trained, tuning()).write(tmp_path)
    assert Control.read(tmp_path, trained.config).report["chosen"] in {TRAINED, TUNED, DISTILLED}
    with pytest.raises(ArtifactError, match="dvc repro search"):
        Control.read(tmp_path, replace(trained.config, hidden=(5,)))
    (tmp_path / "control.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ArtifactError):
        Control.read(tmp_path, trained.config)
