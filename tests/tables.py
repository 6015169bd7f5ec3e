"""Tables under other goals and settings, for tests of what is chosen."""

from dataclasses import replace

from amtl.packing.choice import Goal
from amtl.params import ToleranceParams
from amtl.training.loop import Trainer

STRICT, LOOSE = ToleranceParams(auc=0.0, logloss=0.0), ToleranceParams(auc=0.5, logloss=9.0)


def goal(table, tolerance):
    return replace(table, goal=Goal(table.goal.control, tolerance))


def losing(table):
    """The table where everything loses something."""
    return replace(table, goal=Goal({**table.goal.control, "auc": 2.0}, STRICT))


def asked(table, **compress):
    """The table under other settings of the section compress, and tuning that goes with them."""
    settings = table.settings.model_copy(update={"compress": table.settings.compress.model_copy(update=compress)})
    return replace(table, settings=settings)


def untrained(table):
    return replace(table, tuning=replace(table.tuning, settings=replace(table.tuning.settings, epochs=0)))


def deep_budget(table):
    """Bytes at which a tenth of the table's numbers, in fp32, is kept."""
    return table.propose("curvature", 10**9).bytes - int(0.9 * 4 * table.model.embedding.weight.numel())


def fits(monkeypatch):
    """Counts the sizes that are trained from here on, and whether each had a teacher."""
    counted, real = [], Trainer.fit

    def fit(self, *parts):
        counted.append((int(self.model.embedder.lookup.sizes_V.sum()), self.teacher is not None))
        return real(self, *parts)

    monkeypatch.setattr(Trainer, "fit", fit)
    return counted
