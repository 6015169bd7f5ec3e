"""An epoch over rows on disk: every event once, in an order that depends on seed and epoch alone; skipping leaves out, no more."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amtl.data.batches import Bag, Batch
from amtl.data.encoded import EncodedRows, write_encoded

GROUP = 16


def events(rows):
    """Events whose every column says which event it is; lists of one to three values, the last one of many."""
    number = torch.arange(rows)
    lengths = 1 + number % 3 + 40 * (number == rows - 1)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    bag = Bag(torch.repeat_interleave(number, lengths) + 7, offsets)
    return Batch(torch.stack([number, number + 1], dim=1), (bag,), number.float().unsqueeze(1) / 3, (number % 2).float())


def event_numbers(batch):
    """Which event each one is, after a look at all columns."""
    number = batch.ids_BF[:, 0]
    lengths = batch.bags[0].offsets_N.diff()
    assert torch.equal(batch.ids_BF[:, 1], number + 1)
    assert torch.equal(batch.bags[0].rows_M, torch.repeat_interleave(number, lengths) + 7)
    assert torch.equal(batch.numbers_BK[:, 0], number.float() / 3)
    assert torch.equal(batch.labels_B, (number % 2).float())
    return number.tolist()


@pytest.fixture(scope="module")
def stored():
    """Files of many lengths, written once each."""
    with tempfile.TemporaryDirectory() as root:

        def rows_on_disk(rows, buffer_groups):
            folder = Path(root) / str(rows)
            if not folder.exists():
                whole = events(rows)
                write_encoded(folder, [whole.take(torch.arange(at, min(at + GROUP, rows))) for at in range(0, max(rows, 1), GROUP)], 10**6)
            return replace(EncodedRows.read(folder), buffer_groups=buffer_groups)

        yield rows_on_disk


@settings(max_examples=60, deadline=None)
@given(
    rows=st.sampled_from([0, 1, 15, 16, 17, 63, 65, 100, 129, 200]),
    buffer_groups=st.integers(1, 14),
    size=st.integers(1, 90),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 5),
    skip=st.integers(0, 8),
)
def test_an_epoch_holds_every_event_once_and_skip_drops_batches(stored, rows, buffer_groups, size, seed, epoch, skip):
    disk = stored(rows, buffer_groups)
    batches = [event_numbers(batch) for batch in disk.shuffled(size, seed, epoch)]
    assert sorted(number for batch in batches for number in batch) == list(range(rows))
    assert [len(batch) for batch in batches] == [len(batch) for batch in events(rows).shuffled(size, seed, epoch)]
    assert [event_numbers(batch) for batch in disk.shuffled(size, seed, epoch, skip)] == batches[skip:]


@settings(max_examples=20, deadline=None)
@given(buffer_groups=st.integers(1, 14), seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 2**31))
def test_another_epoch_or_seed_is_another_order(stored, buffer_groups, seed, epoch):
    disk = stored(200, buffer_groups)
    orders = [
        [number for batch in disk.shuffled(32, *key) for number in event_numbers(batch)]
        for key in ((seed, epoch), (seed, epoch + 1), (seed + 1, epoch))
    ]
    assert orders[0] == [number for batch in disk.shuffled(32, seed, epoch) for number in event_numbers(batch)]
    assert len({tuple(order) for order in orders}) == 3


def test_every_event_may_come_anywhere():
    """Over many epochs an event's mean place is the middle, also where a buffer holds a fifth of the row groups."""
    with tempfile.TemporaryDirectory() as root:
        rows, epochs = 160, 300
        whole = events(rows)
        write_encoded(Path(root) / "rows", [whole.take(torch.arange(at, at + GROUP)) for at in range(0, rows, GROUP)], 10**6)
        disk = replace(EncodedRows.read(Path(root) / "rows"), buffer_groups=2)
        orders = np.stack([np.concatenate([b.ids_BF[:, 0].numpy() for b in disk.shuffled(160, 0, epoch)]) for epoch in range(epochs)])
    places = np.argsort(orders, axis=1)
    spread = rows / np.sqrt(12 * epochs)  # standard deviation of the mean of uniform places
    assert np.abs(places.mean(axis=0) - (rows - 1) / 2).max() < 5 * spread
    assert places.std() == pytest.approx(rows / np.sqrt(12), rel=0.02)
