"""A trained table of the toy problem whose sizes are to be chosen."""

from dataclasses import replace

import pytest
from tables import STRICT
from toy import COMPRESS, silent, toy, with_settings

from amtl.packing.choice import Goal, Table
from amtl.sizing.front import COLD
from amtl.sizing.sizes import find_sizes
from amtl.training.control import make_control
from amtl.training.train import train
from amtl.training.tuning import fresh_of, tuning_for


@pytest.fixture(scope="session")
def table():
    """A trained, rotated, priced table of the toy problem, under the default selectors."""
    problem = with_settings(toy(), search={"steps": 10}, train={"epochs": 2}, compress={"finetune": {**COMPRESS["finetune"], "epochs": 1}})
    parts = problem.settings, problem.vocabulary, problem.train, problem.validation
    tuning = tuning_for(*parts, silent)
    control = make_control(train(*parts, None, None, silent).model, tuning)
    found = find_sizes(*parts[:2], control.model, *parts[2:], None, silent)
    return Table.of(problem.settings, found.model, found.front, problem.vocabulary, tuning, Goal(control.measured, STRICT))


@pytest.fixture(scope="session")
def reborn(table):
    """The table with tuning that may train anew, and a goal that deep cuts do not meet."""
    finetune = table.settings.compress.finetune.model_copy(update={"born_again": True, "distillation": 0.5})
    settings = table.settings.model_copy(update={"compress": table.settings.compress.model_copy(update={"finetune": finetune})})
    fresh = fresh_of(settings, len(table.model.embedding.weight))
    return replace(table, settings=settings, tuning=replace(table.tuning, fresh=fresh))


@pytest.fixture(scope="session")
def with_cold(reborn):
    """The same with cold sizes, which keep nothing of the rows that are shown less than the median."""
    front = reborn.front
    shown = (front.lookups_V >= front.lookups_V.median()).float().unsqueeze(1)
    return replace(reborn, front=front.with_worth(COLD, shown * front.worth_of("uniform")))
