"""From table rows to one vector a field, against plain loops."""

import pytest
import torch
from torch import nn

from amtl.data.batches import Bag, Batch
from amtl.model.masked_embedding import FieldEmbedder, MaskedEmbedding, TwinsEmbedding, mean_pool
from amtl.model.twins import AdaptivelyMaskedTwins

D, ROWS = 4, 9


@pytest.fixture
def table():
    torch.manual_seed(0)
    return nn.Embedding(ROWS, D)


def batch(single=2):
    """Three events: two single-valued fields (rows 0-3), two bags (rows 4-8) of 1 to 3 values."""
    ids = torch.tensor([[0, 2], [1, 3], [0, 3]])[:, :single]
    bags = (Bag(torch.tensor([4, 5, 6, 4]), torch.tensor([0, 1, 3, 4])), Bag(torch.tensor([7, 8, 8, 8, 7]), torch.tensor([0, 3, 4, 5])))
    return Batch(ids, bags, torch.zeros(3, 0), torch.zeros(3))


def pooled(vectors, events):
    """The vectors of each event's fields, values averaged one by one."""
    result = []
    for event in range(len(events)):
        row = [vectors[i] for i in events.ids_BF[event]]
        for bag in events.bags:
            values = bag.rows_M[bag.offsets_N[event] : bag.offsets_N[event + 1]]
            row.append(sum(vectors[i] for i in values) / len(values))
        result.append(torch.stack(row))
    return torch.stack(result)


def test_a_masked_row_is_its_first_dimensions_then_zeros(table):
    sizes = torch.tensor([0, 1, 2, 3, 4, 4, 0, 2, 1])
    masked = MaskedEmbedding(table, sizes)
    rows = torch.tensor([8, 0, 3, 3, 4])
    for vector, row in zip(masked(rows), rows, strict=True):
        assert vector.tolist() == [float(table.weight[row, j].detach()) if j < sizes[row] else 0.0 for j in range(D)]


def test_what_is_masked_gets_no_gradient(table):
    sizes = torch.tensor([0, 1, 2, 3, 4, 4, 0, 2, 1])
    MaskedEmbedding(table, sizes)(torch.arange(ROWS)).sum().backward()
    assert torch.equal(table.weight.grad, (torch.arange(D) < sizes.unsqueeze(1)).float())


def test_the_layer_behind_a_table_cuts_each_row_to_its_value_s_size(table):
    torch.manual_seed(3)
    twins = AdaptivelyMaskedTwins(torch.arange(ROWS) ** 3, D, full_bias=0.0, groups=16)
    with torch.no_grad():
        for weight in twins.parameters():
            weight.mul_(4)
    assert len(twins.sizes().unique()) > 1
    rows = torch.tensor([8, 0, 3, 3])
    assert torch.equal(TwinsEmbedding(table, twins)(rows), MaskedEmbedding(table, twins.sizes())(rows))


@pytest.mark.parametrize("single", [0, 1, 2])
def test_pooling_is_the_mean_of_each_event_s_values(table, single):
    events = batch(single)
    torch.testing.assert_close(FieldEmbedder(table)(events), pooled(table.weight, events), rtol=1e-6, atol=1e-7)


def test_without_bags_vectors_come_out_as_they_are_stored(table):
    events = Batch(batch().ids_BF, (), torch.zeros(3, 0), torch.zeros(3))
    assert torch.equal(FieldEmbedder(table)(events), table.weight[events.ids_BF])


def test_masks_come_before_pooling(table):
    masked, events = MaskedEmbedding(table, torch.tensor([4, 4, 4, 4, 1, 3, 0, 2, 4])), batch()
    expected = pooled(masked(torch.arange(ROWS)), events)
    torch.testing.assert_close(FieldEmbedder(masked)(events), expected, rtol=1e-6, atol=1e-7)


def test_an_event_of_one_value_pools_to_it():
    vectors = torch.randn(3, D)
    assert torch.equal(mean_pool(vectors, Bag(torch.arange(3), torch.tensor([0, 1, 2, 3]))), vectors)


def test_stored_vectors_come_out_times_the_field_s_basis(table):
    basis, events = torch.randn(4, D, D), batch()
    embedder = FieldEmbedder(table, basis)
    stored = pooled(table.weight, events)
    torch.testing.assert_close(embedder.pooled(events), stored)
    expected = torch.stack([torch.stack([stored[b, f] @ basis[f] for f in range(4)]) for b in range(3)])
    torch.testing.assert_close(embedder(events), expected, rtol=1e-5, atol=1e-6)


def test_no_event_has_no_vectors(table):
    empty = Batch(torch.zeros(0, 2, dtype=torch.int64), (), torch.zeros(0, 0), torch.zeros(0))
    assert FieldEmbedder(table)(empty).shape == (0, 2, D)


def test_recorded_lookups_name_each_value_s_event_and_take_its_gradient(table):
    embedder, events = FieldEmbedder(table), batch()
    weights = torch.randn(3, 4, D)
    with embedder.recorded_lookups() as recorded:
        result = (embedder(events) * weights).sum()
    (gradient,) = torch.autograd.grad(result, recorded.vectors_MD)
    place = 0
    for event in range(3):
        for field in range(2):
            assert recorded.rows_M[place] == events.ids_BF[event, field]
            assert recorded.event_M[place] == event
            torch.testing.assert_close(gradient[place], weights[event, field])
            place += 1
    for field, bag in enumerate(events.bags, start=2):
        for event in range(3):
            values = bag.rows_M[bag.offsets_N[event] : bag.offsets_N[event + 1]]
            for row in values:
                assert recorded.rows_M[place] == row
                assert recorded.event_M[place] == event
                torch.testing.assert_close(gradient[place], weights[event, field] / len(values))
                place += 1
    assert place == len(recorded.rows_M) == len(recorded.vectors_MD)
    assert table.weight.grad is None


def test_recording_ends_with_the_block(table):
    embedder, events = FieldEmbedder(table), batch()
    with embedder.recorded_lookups():
        pass
    assert embedder(events).requires_grad
    embedder(events).sum().backward()
    assert table.weight.grad is not None
