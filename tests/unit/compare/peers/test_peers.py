"""What holds for every peer: within the budget, trained, served as stored, the same twice."""

import pytest
import torch
from toy import equal_weights

from amtl.compare.peers import PEERS
from amtl.errors import BudgetError
from amtl.model.ctr_model import weights_of


@pytest.mark.parametrize(("name", "precision"), [*((name, "int8") for name in PEERS), ("magnitude", "fp16")])
def test_a_peer_keeps_within_the_budget_scores_events_and_is_the_same_twice(task, name, precision):
    made, again = (PEERS[name](task, 600, precision) for _ in range(2))
    assert 0 < made.bytes <= 600
    assert 0.5 < task.judge(made.model)["auc"] <= 1
    vectors_VD = made.model.embedder.lookup(torch.arange(task.vocabulary.rows))
    assert vectors_VD.shape == (task.vocabulary.rows, made.model.config.dim)
    assert torch.isfinite(vectors_VD).all()
    assert (again.bytes, again.details) == (made.bytes, made.details)
    assert equal_weights(weights_of(again.model), weights_of(made.model))


@pytest.mark.parametrize("name", PEERS)
def test_a_budget_of_nothing_is_refused(task, name):
    with pytest.raises(BudgetError, match="allow more bytes"):
        PEERS[name](task, 10, "int8")
