import pytest
import torch
from torch import nn

from amtl.compare.peers import autoemb
from amtl.compare.peers.autoemb import (
    Candidate,
    SoftChoice,
    chosen_widths,
    search,
    step_controllers,
    total_bytes,
    used_blocks,
)
from amtl.compare.peers.blocks import BlockEmbedding
from amtl.errors import BudgetError
from amtl.training.loop import Trainer

WIDTHS = [1, 2, 6]
FIELD_V = torch.tensor([0] * 5 + [1] * 7)


def test_a_candidate_is_linear_norm_and_tanh_as_in_a_naive_loop():
    part = Candidate(9, 2, 3, 0.5)
    places = torch.tensor([1, 4, 7])
    linear = torch.stack([part.linear.weight @ part.table.weight[place] + part.linear.bias for place in places])
    normed = (linear - linear.mean(0)) / torch.sqrt(linear.var(0, correction=0) + part.norm.eps)
    assert torch.allclose(part(places), torch.tanh(normed), atol=1e-5)


def test_a_single_value_can_be_trained_on():
    part = Candidate(9, 2, 3, 0.5)
    part(torch.tensor([1])).sum().backward()
    assert part.table.weight.grad.to_dense()[1].ne(0).all()


def test_folding_the_norm_changes_nothing():
    part = Candidate(9, 2, 3, 0.5)
    for _ in range(20):
        part(torch.randint(9, (6,)))
    part.eval()
    places = torch.arange(9)
    assert torch.allclose(part.served("fp32")(places), part(places), atol=1e-5)


def test_a_soft_choice_weighs_candidates_by_the_controller():
    choice = SoftChoice(torch.tensor([-1.0, 0.0, 1.0]), WIDTHS, 6, 0.5).eval()
    places = torch.tensor([2, 0])
    weights = torch.softmax(choice.controller(torch.tensor([[1.0], [-1.0]])), dim=1)
    wanted = sum(weights[:, index : index + 1] * part(places) for index, part in enumerate(choice.candidates))
    assert torch.allclose(choice(places), wanted, atol=1e-6)


def test_controllers_step_alone(task):
    model = task.fresh()
    choices = [SoftChoice(torch.randn(rows), WIDTHS, 6, 0.5) for rows in task.vocabulary.sizes.values()]
    model.embedder.lookup = BlockEmbedding(task.field_V, choices, 6)
    controllers = [weight for choice in choices for weight in choice.controller.parameters()]
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    step_controllers(model, controllers, torch.optim.Adam(controllers, 0.1), task.validation_rows)
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed
    assert all(".controller." in name for name in changed)


def test_the_search_moves_weights_and_controllers(task):
    log_weights_VW = search(task, WIDTHS)
    assert log_weights_VW.shape == (task.vocabulary.rows, 3)
    assert torch.allclose(log_weights_VW.exp().sum(1), torch.ones(task.vocabulary.rows))


def test_weights_learn_on_training_rows_and_controllers_on_validation_rows(task, monkeypatch):
    seen = {"weights": [], "controllers": []}
    step, step_of_controllers = Trainer.step, autoemb.step_controllers
    monkeypatch.setattr(Trainer, "step", lambda self, batch: seen["weights"].append(batch.ids_BF) or step(self, batch))
    monkeypatch.setattr(autoemb, "step_controllers", lambda *a: seen["controllers"].append(a[-1].ids_BF) or step_of_controllers(*a))
    search(task, WIDTHS)
    for who, rows in (("weights", task.training_rows), ("controllers", task.validation_rows)):
        known, shown = ({tuple(row) for row in ids.tolist()} for ids in (rows.ids_BF, torch.cat(seen[who])))
        assert shown <= known
    assert len(seen["weights"]) == len(seen["controllers"])


def test_blocks_are_the_pairs_that_occur():
    choice_V = torch.tensor([0, 0, 2, 0, 2, 1, 1, 1, 1, 1, 1, 1])
    block_V, blocks = used_blocks(FIELD_V, choice_V, 3)
    assert block_V.tolist() == [0, 0, 1, 0, 1, 2, 2, 2, 2, 2, 2, 2]
    assert blocks == [(3, 0), (2, 2), (7, 1)]


def test_bytes_by_hand():
    choice_V = torch.tensor([0, 0, 2, 0, 2, 1, 1, 1, 1, 1, 1, 1])
    rows, linear = 3 * 1 + 2 * 6 + 7 * 2, (1 + 6 + 2) * 6
    assert total_bytes(FIELD_V, choice_V, WIDTHS, 6, "fp32") == 4 * (rows + linear + 3 * 6) + 3 * 4
    scales = (1 + 6 + 2) + 3 * 6
    assert total_bytes(FIELD_V, choice_V, WIDTHS, 6, "int8") == rows + linear + scales + 3 * 2 * 6 + 3 * 4


@pytest.mark.parametrize("budget", [200, 350, 500, 800])
def test_widths_meet_the_budget_and_grow_with_the_controller_s_weights(budget):
    log_weights_VW = torch.log_softmax(torch.linspace(0, 3, 12).unsqueeze(1) * torch.tensor([0.0, 1.0, 2.0]), dim=1)
    choice_V = chosen_widths(log_weights_VW, torch.zeros(12, dtype=torch.int64), WIDTHS, 6, budget, "fp32")
    assert total_bytes(torch.zeros(12, dtype=torch.int64), choice_V, WIDTHS, 6, "fp32") <= budget
    assert (choice_V.diff() >= 0).all()


def test_without_need_the_controller_decides_alone():
    log_weights_VW = torch.log_softmax(torch.randn(12, 3), dim=1)
    assert torch.equal(chosen_widths(log_weights_VW, FIELD_V, WIDTHS, 6, 10**6, "fp32"), log_weights_VW.argmax(1))


def test_less_than_the_narrowest_is_refused():
    with pytest.raises(BudgetError, match="autoemb"):
        chosen_widths(torch.zeros(12, 3), FIELD_V, WIDTHS, 6, 100, "fp32")


def test_the_made_table_has_the_bytes_it_claims(task):
    made = autoemb.autoemb(task, 900, "fp32")
    parts = made.model.embedder.lookup.parts
    assert made.bytes == sum(weight.numel() for weight in parts.parameters()) * 4 + len(parts) * 4
    assert not any(isinstance(module, nn.BatchNorm1d) for module in parts.modules())
