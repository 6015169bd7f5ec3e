import os

import pytest
import torch
from toy import equal_weights, silent, toy, with_settings

from amtl.compare import starts
from amtl.compare.starts import Data, problem
from amtl.files import prune
from amtl.training.control import KEPT_DAYS

SMALL = {"train": {"epochs": 1}, "search": {"steps": 4}, "compress": {"finetune": {"epochs": 1}}}


@pytest.fixture(scope="module")
def given():
    small = with_settings(toy(rows=200), **SMALL)
    return small.settings, Data(small.vocabulary, small.train, small.validation, small.validation)


@pytest.fixture(scope="module")
def made(given, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return problem(*given, cache, silent, code="1"), cache


def test_what_is_kept_is_read_and_not_trained_again(given, made, monkeypatch):
    first, cache = made
    monkeypatch.setattr(starts, "train", None)
    second = problem(*given, cache, silent, code="1")
    assert second.digest == first.digest
    for name in ("base", "control", "rotated"):
        assert equal_weights(dict(getattr(first.task.starts, name)), dict(getattr(second.task.starts, name)))
    assert torch.equal(second.task.starts.front.costs_VL1, first.task.starts.front.costs_VL1)


def test_a_damaged_start_is_made_again(given, made):
    first, cache = made
    path = cache / first.digest[:32] / "starts" / "control.safetensors"
    path.write_bytes(path.read_bytes()[:-8] + b"otherbyt")
    again = problem(*given, cache, silent, code="1")
    assert equal_weights(dict(again.task.starts.control), dict(first.task.starts.control))


def test_the_digest_follows_all_that_decides_a_start(given, made, monkeypatch):
    first, cache = made
    settings, data = given
    monkeypatch.setattr(starts, "_kept", lambda folder: first.task.starts)
    finetune = settings.compress.finetune.model_copy(update={"distillation": 0.9})
    taught = settings.model_copy(update={"compress": settings.compress.model_copy(update={"finetune": finetune})})
    others = [
        problem(settings, data, cache, silent, code="2"),
        problem(taught, data, cache, silent, code="1"),
        problem(settings.model_copy(update={"train": settings.train.model_copy(update={"seed": 5})}), data, cache, silent, code="1"),
        problem(settings, Data(data.vocabulary, data.train, data.validation, data.train), cache, silent, code="1"),
    ]
    assert len({first.digest, *(other.digest for other in others)}) == 5
    budget = settings.model_copy(update={"compress": settings.compress.model_copy(update={"budget": 0.01})})
    assert problem(budget, data, cache, silent, code="1").digest == first.digest


def test_starts_that_nobody_asked_for_in_a_month_go(given, tmp_path):
    old, young = tmp_path / "old", tmp_path / "young"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (0, 0))
    opened = problem(*given, tmp_path, silent, code="1")
    os.utime(tmp_path / opened.digest[:32], (0, 0))
    problem(*given, tmp_path, silent, code="1")
    prune(tmp_path, (), KEPT_DAYS)
    assert {folder.name for folder in tmp_path.iterdir()} == {"young", opened.digest[:32]}


def test_the_rotated_model_predicts_what_the_control_predicts(made):
    task = made[0].task
    rows = task.validation_rows
    with torch.no_grad():
        rotated, control = task.found.model.eval()(rows), task.control.eval()(rows)
    assert torch.allclose(rotated, control, atol=1e-4)


def test_what_methods_train_for_each_other_lies_beside_the_starts_and_goes_with_them(given, made):
    first, cache = made
    assert first.task.trainings is None
    shared = problem(*given, cache, silent, code="1", trainings="methods")
    assert shared.digest == first.digest
    assert shared.task.trainings == cache / first.digest[:32] / "trainings-methods"
    shared.task.trainings.mkdir()
    problem(*given, cache, silent, code="1", trainings="methods")
    assert shared.task.trainings.exists()
    (cache / first.digest[:32] / "starts" / "manifest.json").unlink()
    problem(*given, cache, silent, code="1", trainings="methods")
    assert not shared.task.trainings.exists()


def test_models_of_a_task_are_copies(made):
    task = made[0].task
    with torch.no_grad():
        task.control.embedding.weight.zero_()
        task.found.model.embedding.weight.zero_()
    assert task.control.embedding.weight.abs().sum() > 0
    assert task.found.model.embedding.weight.abs().sum() > 0
    assert not equal_weights(task.fresh().state_dict(), task.base.state_dict())
    assert equal_weights(task.fresh(3).state_dict(), task.fresh(3).state_dict())


def test_training_ends_no_worse_than_its_start_and_fine_tuning_keeps_the_control(made):
    task = made[0].task
    start = task.judge(task.control)["score"]
    assert task.judge(task.finetune(task.control, distilled=True))["score"] >= start - 1e-9
    narrow = task.train(task.fresh(2), distilled=True)
    assert task.judge(narrow)["auc"] > 0.5
