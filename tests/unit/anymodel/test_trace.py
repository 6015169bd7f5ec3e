import re

import pytest
import torch
from torch import nn
from torch_models import batches, events, two_tables

from amtl.anymodel.calls import default_forward
from amtl.anymodel.tables import find_tables
from amtl.anymodel.trace import Trace, bag_items
from amtl.errors import DataError, ParamsError


def trace_of(model, loader, forward=default_forward, output=None, rows=10**6):
    return Trace(model, loader, find_tables(model), forward, output, rows, seed=0)


def gram_of(model, loader, position=0, **options):
    """Sum over lookups of a table of p (1 - p) J J'."""
    found = [lookups for lookups in trace_of(model, loader, **options).lookups() if lookups.table == position]
    return sum(lookups.gradient_MD.T @ lookups.gradient_MD for lookups in found)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_gradients_are_those_of_single_lookups(mode):
    """Against one backward pass an event, with every looked-up vector moved on its own."""
    model = two_tables(mode).eval()
    loader = batches(count=12, size=5)
    found = [lookups for lookups in trace_of(model, loader).lookups() if lookups.table == 3]
    gradients = torch.cat([lookups.gradient_MD for lookups in found])
    rows = torch.cat([lookups.rows_M for lookups in found])
    users, items, tags, _ = events(count=12)
    expected, expected_rows = [], []
    for user, item, own in zip(users, items, tags, strict=True):
        named = own[own != 0]
        vectors = model.tags.weight[named].detach().requires_grad_()
        pooled = vectors.sum(0) if mode == "sum" else vectors.mean(0) if len(named) else torch.zeros(5)
        logit = model.net(torch.cat([model.user(user), model.item(item), pooled])) + model.weight(user)
        if len(named):
            (gradient,) = torch.autograd.grad(logit.sum(), vectors)
            p = torch.sigmoid(logit.detach())
            expected.append(gradient * (p * (1 - p)).sqrt())
            expected_rows.append(named)
    assert torch.equal(rows, torch.cat(expected_rows))
    torch.testing.assert_close(gradients, torch.cat(expected))


def test_values_of_one_event_in_one_call_are_one_group():
    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(9, 3)

        def forward(self, ids_BT):
            return self.table(ids_BT).sum((1, 2))

    loader = [(torch.tensor([[1, 2, 3], [4, 5, 6]]), None)]
    (lookups,) = trace_of(Sequence(), loader).lookups()
    assert lookups.rows_M.tolist() == [1, 2, 3, 4, 5, 6]
    assert lookups.group_M.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_probability_is_taken_back_to_its_logit():
    model = two_tables()
    as_probability = gram_of(model, batches(), forward=lambda model, batch: torch.sigmoid(model(*batch[0])).unsqueeze(1))
    torch.testing.assert_close(as_probability, gram_of(model, batches()), rtol=1e-4, atol=1e-6)


def test_outputs_between_0_and_1_that_leave_no_sigmoid_have_to_be_named():
    def forward(model, batch):
        return torch.stack([model(*batch[0]), torch.zeros(len(batch[1]))], dim=1).softmax(1)[:, 0]

    with pytest.raises(ParamsError, match="pass output='probability'"):
        list(trace_of(two_tables(), batches(), forward=forward).lookups())
    assert list(trace_of(two_tables(), batches(), forward=forward, output="probability").lookups())


def test_what_is_told_to_be_a_probability_must_be_one():
    with pytest.raises(ParamsError, match="outside \\[0, 1\\]; pass output='logit'"):
        list(trace_of(two_tables(), batches(), output="probability").lookups())


def test_a_certain_probability_in_half_precision_has_a_finite_gradient():
    """The nearest bfloat16 to 1 - 1e-7 is 1."""

    class Certain(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(9, 3, dtype=torch.bfloat16)

        def forward(self, ids_B):
            return torch.sigmoid(100 * self.table(ids_B).sum(1))

    model = Certain()
    nn.init.constant_(model.table.weight, 1.0)
    (lookups,) = trace_of(model, [torch.tensor([1, 2])]).lookups()
    assert torch.isfinite(lookups.gradient_MD).all()


def test_an_empty_batch_is_passed_over():
    model, loader = two_tables(), batches()
    empty = tuple(part[:0] for part in loader[0][0]) if isinstance(loader[0][0], tuple | list) else None
    assert empty is not None
    torch.testing.assert_close(gram_of(model, [(empty, loader[0][1][:0]), *loader]), gram_of(model, loader))
    with pytest.raises(DataError, match="no batches"):
        list(trace_of(model, [(empty, loader[0][1][:0])]).lookups())


def test_several_outputs_add_up():
    model = two_tables()
    single = gram_of(model, batches())
    double = gram_of(model, batches(), forward=lambda model, batch: torch.stack([model(*batch[0]), -model(*batch[0])], dim=1))
    torch.testing.assert_close(double, 2 * single)


def test_the_model_is_left_as_it_was():
    model = two_tables()
    model.item.eval()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    state = torch.random.get_rng_state()
    list(trace_of(model, batches()).lookups())
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert not model.item.training
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_only_the_first_rows_are_read():
    trace = trace_of(two_tables(), batches(), rows=200)
    list(trace.lookups())
    assert trace.events == 300


def test_frozen_tables_are_traced_like_others():
    model = two_tables()
    expected = gram_of(model, batches())
    for table in (model.user, model.item, model.weight, model.tags):
        table.weight.requires_grad_(False)
    torch.testing.assert_close(gram_of(model, batches()), expected)


def test_a_batch_may_look_up_nothing():
    trace = trace_of(two_tables(), batches(), forward=lambda model, batch: model.net(torch.randn(3, 23)) - 5)
    assert list(trace.lookups()) == []


def test_a_model_may_change_its_vectors_in_place():
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(9, 3)

        def forward(self, ids_B):
            vectors = self.table(ids_B)
            vectors *= 2
            return vectors.sum(1)

    (lookups,) = trace_of(Doubled(), [torch.tensor([1])]).lookups()
    assert (lookups.gradient_MD > 0).all()


def test_weights_of_samples_pass_their_gradient_on():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.query = nn.Embedding(9, 1)
            self.table = nn.EmbeddingBag(9, 3, mode="sum")

        def forward(self, ids_BT):
            return self.table(ids_BT, per_sample_weights=self.query(ids_BT).squeeze(2)).sum(1)

    torch.manual_seed(0)
    assert gram_of(Attention(), [(torch.tensor([[1, 2], [3, 4]]), None)]) > 0


class Direct(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 3)

    def forward(self, ids_B):
        return (self.table(ids_B) @ self.table.weight.T).sum(1)


@pytest.mark.parametrize(
    ("model", "loader", "error", "message"),
    [
        (Direct(), [(torch.tensor([1]), None)], ParamsError, "reads the weight of 'table' outside of its lookup"),
        (two_tables(), [], DataError, "no batches"),
        (two_tables(), [events()[:2]], ParamsError, "cannot be called on a batch"),
        (two_tables(), iter(batches()), ParamsError, "read only once"),
    ],
)
def test_what_cannot_be_traced(model, loader, error, message):
    with pytest.raises(error, match=message):
        list(trace_of(model, loader).lookups())


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda logits: {"logits": logits}, "returns a dict"),
        (lambda logits: logits.sum(), "the shape ()"),
        (lambda logits: logits.unsqueeze(1).expand(-1, 50), "of the shape (150, 50)"),
        (lambda logits: logits * torch.nan, "NaN"),
        (lambda logits: logits.detach() - 1, "by a gradient"),
    ],
)
def test_outputs_that_are_no_logits(output, message):
    with pytest.raises(ParamsError, match=re.escape(message)):
        list(trace_of(two_tables(), batches(), forward=lambda model, batch: output(model(*batch[0]))).lookups())


def test_items_of_jagged_bags():
    bag = nn.EmbeddingBag(9, 2, mode="mean", padding_idx=0, include_last_offset=True)
    rows, bags, weights = bag_items(bag, torch.tensor([1, 0, 2, 3]), torch.tensor([0, 1, 1, 4]))
    assert (rows.tolist(), bags.tolist(), weights.tolist()) == ([1, 2, 3], [0, 2, 2], [1.0, 0.5, 0.5])
