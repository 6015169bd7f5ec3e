"""Batches changed before a step: which values are hidden, and that a recombined event is made of two."""

import pytest
import torch

from amtl.data.batches import Bag, Batch
from amtl.training.augment import hide_values, recombine


def test_hidden_values_are_the_share_asked_for_and_become_their_field_s_unknown_row():
    torch.manual_seed(0)
    ids = torch.tensor([[3, 14]]).repeat(20_000, 1)
    bag = Bag(torch.full((40_000,), 25), torch.arange(0, 40_001, 2))
    batch = Batch(ids, (bag,), torch.zeros(20_000, 0), torch.zeros(20_000))
    hidden = hide_values(batch, torch.tensor([0, 10, 20]), 0.2)
    for values, own, unknown in ((hidden.ids_BF[:, 0], 3, 0), (hidden.ids_BF[:, 1], 14, 10), (hidden.bags[0].rows_M, 25, 20)):
        assert set(values.tolist()) == {own, unknown}
        assert float((values == unknown).float().mean()) == pytest.approx(0.2, abs=0.015)
    both = ((hidden.ids_BF[:, 0] == 0) & (hidden.ids_BF[:, 1] == 10)).float().mean()
    assert float(both) == pytest.approx(0.04, abs=0.01)
    assert torch.equal(hidden.bags[0].offsets_N, bag.offsets_N)
    assert (batch.ids_BF == ids).all()


def numbered(events):
    """Events whose every value names the event that it belongs to; event e has a list of 1 + e % 3 values."""
    own = torch.arange(events)
    lengths = 1 + own % 3
    bag = Bag(torch.repeat_interleave(own, lengths), torch.nn.functional.pad(lengths.cumsum(0), (1, 0)))
    return Batch(own.unsqueeze(1).repeat(1, 3), (bag,), own.unsqueeze(1).float(), torch.zeros(events))


def test_a_recombined_event_takes_a_share_of_its_fields_from_one_other_event():
    torch.manual_seed(0)
    mixed = recombine(numbered(20_000), 0.3)
    lists = [set(part.tolist()) for part in mixed.bags[0].rows_M.tensor_split(mixed.bags[0].offsets_N[1:-1])]
    lengths = mixed.bags[0].offsets_N.diff()
    taken = torch.zeros(5)
    for event in range(20_000):
        (listed,) = lists[event]
        assert lengths[event] == 1 + listed % 3
        sources = [*mixed.ids_BF[event].tolist(), int(mixed.numbers_BK[event, 0]), listed]
        assert len({source for source in sources if source != event}) <= 1
        taken += torch.tensor([float(source != event) for source in sources])
    assert (taken / 20_000).tolist() == pytest.approx([0.3] * 5, abs=0.015)


def test_at_rate_zero_events_stay_as_they_are():
    batch = numbered(50)
    same = recombine(batch, 0.0)
    assert torch.equal(same.ids_BF, batch.ids_BF)
    assert torch.equal(same.numbers_BK, batch.numbers_BK)
    assert torch.equal(same.bags[0].rows_M, batch.bags[0].rows_M)
