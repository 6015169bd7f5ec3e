"""The two recipes that every method trains by."""

from dataclasses import replace

import pytest

from amtl.training.loop import Trainer


@pytest.fixture
def fits(monkeypatch):
    """Settings of the fits from here on, and whether each had a teacher; nothing is trained."""
    found = []
    monkeypatch.setattr(Trainer, "fit", lambda self, *rows: found.append((self.settings, self.teacher is not None)))
    return found


@pytest.mark.parametrize("distilled", [True, False])
def test_what_starts_fresh_gets_the_full_training_and_then_everybodys_fine_tuning(problem, fits, distilled):
    task = problem.task
    weight = task.settings.compress.finetune.distillation if distilled else 0.0
    assert task.settings.compress.finetune.distillation > 0
    recipes = [replace(fit, distillation=weight) for fit in (task.full_fit, task.fine_fit)]
    task.train(task.fresh(), distilled)
    assert fits == [(fit, distilled) for fit in recipes]
    task.finetune(task.control, distilled)
    assert fits[2:] == [(recipes[1], distilled)]


def test_what_starts_fresh_is_fine_tuned_in_as_many_rounds_as_settings_say(problem, fits):
    compress = problem.task.settings.compress
    finetune = compress.finetune.model_copy(update={"rounds": 3})
    settings = problem.task.settings.model_copy(update={"compress": compress.model_copy(update={"finetune": finetune})})
    task = replace(problem.task, settings=settings)
    task.train(task.fresh(), distilled=True)
    once = task.fine_fit
    assert [fit for fit, _ in fits[1:]] == [once, replace(once, seed=once.seed + 1), replace(once, seed=once.seed + 2)]
