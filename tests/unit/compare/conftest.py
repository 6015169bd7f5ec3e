"""A problem on the toy data whose weights are random and whose costs are made up: enough for all that is not about quality."""

import pytest
import torch
from toy import silent, toy

from amtl.compare.starts import Problem
from amtl.compare.task import Starts, Task
from amtl.model.ctr_model import weights_of
from amtl.sizing.front import Front
from amtl.sizing.levels import size_levels


def made_up_front(problem):
    dim, field_V = problem.config.dim, torch.from_numpy(problem.vocabulary.fields_V)
    sizes_L1, rows, fields = size_levels(dim), len(field_V), problem.config.fields
    falling_VL = torch.rand(rows, len(sizes_L1) - 1, generator=torch.Generator().manual_seed(0)).flip(1).cumsum(1).flip(1)
    costs_VL1 = torch.cat([falling_VL, torch.zeros(rows, 1)], dim=1)
    front = Front(sizes_L1, costs_VL1, torch.ones(fields, dim), torch.full((rows,), 0.1), field_V, len(problem.train))
    return front.with_worth("twins", front.worth_of("rule")).with_worth("twins-cold", front.worth_of("uniform"))


@pytest.fixture(scope="session")
def problem():
    given = toy()
    weights = weights_of(given.model(std=0.3))
    starts = Starts(base=weights, control=weights_of(given.model(seed=1, std=0.3)), rotated=weights, front=made_up_front(given))
    task = Task(given.settings, given.vocabulary, given.train, given.validation, starts, torch.device("cpu"), silent)
    return Problem(task, given.train.newest(100), "0123456789abcdef" * 4)
