"""A training that is killed on the way."""

import pytest

from amtl.training.loop import Trainer


def killed_after(monkeypatch, steps, run):
    """Run until so many steps are made; returns a list with one entry a step, which goes on growing with those that come later."""
    done, real = [], Trainer.step

    def step(self, batch):
        if len(done) == steps:
            raise KeyboardInterrupt
        done.append(1)
        return real(self, batch)

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(Trainer, "step", lambda self, batch: done.append(1) or real(self, batch))
    return done
