"""A task on the toy data whose control is the base itself: enough for methods that train from fresh or from the control."""

import pytest
import torch
from toy import silent, toy

from amtl.compare.task import Starts, Task
from amtl.model.ctr_model import weights_of


@pytest.fixture(scope="session")
def task():
    problem = toy()
    weights = weights_of(problem.model(std=0.3))
    starts = Starts(base=weights, control=weights, rotated=weights, front=None)
    return Task(problem.settings, problem.vocabulary, problem.train, problem.validation, starts, torch.device("cpu"), silent)


@pytest.fixture(scope="session")
def rows_F(task):
    return list(task.vocabulary.sizes.values())
