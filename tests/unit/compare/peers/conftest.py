"""A task on the toy data whose control is the base, trained as long as all others: enough for what starts fresh or from the control."""

from dataclasses import replace

import pytest
import torch
from toy import silent, toy

from amtl.compare.task import Starts, Task
from amtl.model.ctr_model import weights_of


@pytest.fixture(scope="session")
def task():
    problem = toy()
    untrained = Task(problem.settings, problem.vocabulary, problem.train, problem.validation, None, torch.device("cpu"), silent)
    weights = weights_of(untrained.train(untrained.fresh(), distilled=False))
    return replace(untrained, starts=Starts(base=weights, control=weights, rotated=weights, front=None))


@pytest.fixture(scope="session")
def rows_F(task):
    return list(task.vocabulary.sizes.values())
