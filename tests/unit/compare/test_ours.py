import pytest
import torch
from torch import nn

from amtl.compare.ours import SELECTORS, by_selector, paper, read_back
from amtl.errors import BudgetError
from amtl.packing.allocation import allocate
from amtl.packing.packed_embedding import PackedEmbedding, pack


@pytest.mark.parametrize("selector", ["uniform", "rule", "curvature", "twins"])
@pytest.mark.parametrize("precision", ["fp32", "int8", "mixed"])
def test_a_selectors_table_is_within_the_budget_and_served_from_codes(problem, selector, precision):
    task = problem.task
    budget = task.vocabulary.rows * task.config.dim * 4 // 2
    made = by_selector(SELECTORS[selector])(task, budget, precision)
    assert made.bytes <= budget
    assert isinstance(made.model.embedder.lookup, nn.Embedding)
    assert made.details["sizes"]["mean_size"] > 0


def test_what_is_served_is_what_the_packed_table_looks_up(problem):
    task, front = problem.task, problem.task.found.front
    table_VD = task.found.model.embedding.weight.detach()
    layout = allocate(front, "curvature", table_VD, 1000, "int8", False)
    order_V, _ = layout.order()
    packed = PackedEmbedding(pack(table_VD, layout), layout.dim)
    served_VD = read_back(table_VD, layout)
    for place, row in enumerate(order_V.tolist()):
        assert torch.equal(served_VD[row], packed(torch.tensor([place]))[0])


def test_a_budget_below_the_least_table_is_refused(problem):
    with pytest.raises(BudgetError):
        by_selector("rule")(problem.task, 10, "int8")


def test_the_published_layer_has_a_size_of_its_own(problem):
    made = paper(problem.task, 0, "int8")
    assert made.bytes > 0
    assert {"sizes", "sizes_at_initialisation"} <= set(made.details)
