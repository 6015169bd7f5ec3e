"""What holds for every peer: within the budget, trained, served as stored, the same twice."""

import pytest
import torch
from toy import equal_weights

from amtl.compare.peers import PEERS
from amtl.errors import BudgetError
from amtl.model.ctr_model import weights_of

BUDGETS = {"fp32": 1000, "fp16": 700, "int8": 600}


def _numbers(task, model):
    with torch.no_grad():
        return model.embedder.lookup(torch.arange(task.vocabulary.rows))


@pytest.mark.parametrize("precision", BUDGETS)
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_keeps_within_the_budget_and_scores_events(task, name, precision):
    made = PEERS[name](task, BUDGETS[precision], precision)
    assert 0 < made.bytes <= BUDGETS[precision]
    assert 0.5 < task.judge(made.model)["auc"] <= 1
    vectors_VD = _numbers(task, made.model)
    assert vectors_VD.shape[0] == task.vocabulary.rows
    assert torch.isfinite(vectors_VD).all()


@pytest.mark.parametrize("name", PEERS)
def test_a_budget_of_nothing_is_refused(task, name):
    with pytest.raises(BudgetError, match="allow more bytes"):
        PEERS[name](task, 10, "int8")


@pytest.mark.parametrize("name", PEERS)
def test_the_same_task_gives_the_same_contender(task, name):
    one, other = (PEERS[name](task, 900, "fp32") for _ in range(2))
    assert one.bytes == other.bytes
    assert one.details == other.details
    assert equal_weights(weights_of(one.model), weights_of(other.model))
