"""Optimizer state leaves as named tensors and comes back without a trace."""

import pytest
import torch
from toy import equal_weights, toy

from amtl.model.ctr_model import TABLE, weights_of
from amtl.model.masked_embedding import TwinsEmbedding
from amtl.model.twins import AdaptivelyMaskedTwins
from amtl.training.optimizers import Optimizers


def steps(model, optimizers, first, last):
    """Train on batches `first` ... `last - 1`."""
    batches = list(toy().train.shuffled(50, 0, 0))
    for batch in batches[first:last]:
        optimizers.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(batch), batch.labels_B).backward()
        optimizers.step()


@pytest.fixture
def trained():
    model = toy().model()
    optimizers = Optimizers(model, 0.01)
    steps(model, optimizers, 0, 5)
    return model, optimizers


def test_state_that_went_through_tensors_continues_bit_equal(trained):
    model, optimizers = trained
    other = toy().model(seed=1)
    other.load_state_dict({name: tensor.clone() for name, tensor in weights_of(model).items()})
    moved = Optimizers(other, 0.01)
    moved.load({name: tensor.clone() for name, tensor in optimizers.tensors().items()})
    assert equal_weights(moved.tensors(), optimizers.tensors())
    steps(model, optimizers, 5, 10)
    steps(other, moved, 5, 10)
    assert equal_weights(weights_of(other), weights_of(model))
    assert equal_weights(moved.tensors(), optimizers.tensors())
    fresh = toy().model(seed=1)
    assert not equal_weights(weights_of(fresh), weights_of(model))


def test_state_is_needed_to_continue(trained):
    model, optimizers = trained
    other = toy().model(seed=1)
    other.load_state_dict({name: tensor.clone() for name, tensor in weights_of(model).items()})
    steps(model, optimizers, 5, 10)
    steps(other, Optimizers(other, 0.01), 5, 10)
    assert not equal_weights(weights_of(other), weights_of(model))


def test_moments_are_shaped_like_weights_and_named_like_them(trained):
    model, optimizers = trained
    tensors, weights = optimizers.tensors(), dict(model.named_parameters())
    assert tensors.keys() == {f"{name}.{part}" for name in weights for part in ("exp_avg", "exp_avg_sq", "step")}
    for name, weight in weights.items():
        assert tensors[f"{name}.exp_avg"].shape == tensors[f"{name}.exp_avg_sq"].shape == weight.shape
        assert float(tensors[f"{name}.step"]) == 5


def test_loaded_tensors_are_copied(trained):
    _, optimizers = trained
    held = optimizers.tensors()
    model = toy().model()
    other = Optimizers(model, 0.01)
    other.load(held)
    before = {name: tensor.clone() for name, tensor in held.items()}
    steps(model, other, 0, 2)
    assert equal_weights(
        {name: tensor for name, tensor in held.items() if "step" not in name}, {k: v for k, v in before.items() if "step" not in k}
    )


def test_weights_that_are_not_named_start_without_state(trained):
    _, optimizers = trained
    table_only = {name: tensor for name, tensor in optimizers.tensors().items() if name.startswith(TABLE)}
    model = toy().model()
    other = Optimizers(model, 0.01)
    other.load(table_only)
    assert other.tensors().keys() == table_only.keys()
    steps(model, other, 0, 1)


def test_before_a_step_there_is_no_state():
    assert Optimizers(toy().model(), 0.01).tensors() == {}


def test_a_frozen_table_has_no_optimizer_and_does_not_move():
    model = toy().model()
    model.embedding.weight.requires_grad_(False)
    before, optimizers = model.embedding.weight.clone(), Optimizers(model, 0.01)
    steps(model, optimizers, 0, 2)
    assert torch.equal(model.embedding.weight, before)
    assert not any(name.startswith(TABLE) for name in optimizers.tensors())


def test_a_rate_of_its_own_goes_by_the_prefix_of_the_name():
    def moved(rates):
        model = toy().model()
        torch.manual_seed(0)
        twins = AdaptivelyMaskedTwins(torch.arange(toy().vocabulary.rows), 6, hidden=(4,))
        model.embedder.lookup = TwinsEmbedding(model.embedding, twins)
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        steps(model, Optimizers(model, 0.01, rates), 0, 1)
        return {name: float((weight.detach() - before[name]).abs().max()) for name, weight in model.named_parameters()}

    plain, raised = moved(None), moved({"embedder.lookup.twins": 0.1})
    for name, distance in plain.items():
        factor = 10 if name.startswith("embedder.lookup.twins") else 1
        assert raised[name] == pytest.approx(factor * distance, rel=1e-3)
    assert plain["embedder.lookup.twins.high.weights.0"] == pytest.approx(0.01, rel=1e-2)


def test_the_first_step_is_adam_s_on_the_rows_of_the_batch():
    """After one step of Adam every touched number has moved by the learning rate, against its gradient."""
    model = toy().model()
    before, batch = model.embedding.weight.detach().clone(), next(iter(toy().train.shuffled(50, 0, 0)))
    torch.nn.functional.binary_cross_entropy_with_logits(model(batch), batch.labels_B).backward()
    gradient = model.embedding.weight.grad.to_dense()
    model = toy().model()
    steps(model, Optimizers(model, 0.01), 0, 1)
    clear = gradient.abs() > 1e-4
    moved = model.embedding.weight.detach() - before
    torch.testing.assert_close(moved[clear], -0.01 * gradient[clear].sign(), rtol=1e-2, atol=1e-6)
    assert not moved[gradient == 0].any()


class TwoTables(torch.nn.Module):
    """Two sparse tables in different places, a dense one, and a layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.users = torch.nn.Embedding(9, 3, sparse=True)
        self.parts = torch.nn.ModuleDict({"bag": torch.nn.EmbeddingBag(7, 3, sparse=True), "plain": torch.nn.Embedding(5, 3)})
        self.last = torch.nn.Linear(9, 1)

    def forward(self, rows):
        return self.last(torch.cat([self.users(rows), self.parts["bag"](rows.unsqueeze(1)), self.parts["plain"](rows)], 1)).sum()


def test_every_sparse_table_is_trained_lazily_wherever_it_is():
    model, rows = TwoTables(), torch.tensor([0, 2, 4])
    optimizers, before = Optimizers(model, 0.01, {"parts.bag": 0.1}), weights_of(model)
    before = {name: weight.clone() for name, weight in before.items()}
    assert [type(part).__name__ for part in optimizers.parts] == ["Adam", "SparseAdam"]
    for step in range(2):
        optimizers.zero_grad()
        model(rows if step == 0 else rows[:1]).backward()
        optimizers.step()
    moved = {name: (weight - before[name]).abs() for name, weight in weights_of(model).items()}
    assert moved["users.weight"].max() == pytest.approx(0.02, rel=1e-3)
    assert moved["parts.bag.weight"].max() == pytest.approx(0.2, rel=1e-3)
    for name in ("users.weight", "parts.bag.weight"):
        assert not moved[name][[1, 3, 5, 6]].any()
        torch.testing.assert_close(moved[name][2], moved[name][0] / 2, rtol=0.1, atol=1e-6)  # only in the first batch: it moved once
    assert optimizers.tensors().keys() == {f"{name}.{part}" for name in before for part in ("exp_avg", "exp_avg_sq", "step")}
