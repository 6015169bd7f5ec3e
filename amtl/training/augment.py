"""Batches changed at random before a step: values hidden, events recombined.

Shapes: B events, F single-valued fields, M values of a multi-valued field's bags.
"""

from __future__ import annotations

import torch
from torch import Tensor

from amtl.data.batches import Bag, Batch, take_bag


def hide_values(batch: Batch, unknown_rows_F: Tensor, rate: float) -> Batch:
    """The batch with a random share `rate` of its values replaced by their field's unknown row."""
    single = batch.ids_BF.shape[1]
    hidden_BF = torch.rand(batch.ids_BF.shape, device=batch.ids_BF.device) < rate
    ids_BF = torch.where(hidden_BF, unknown_rows_F[:single], batch.ids_BF)
    bags = []
    for bag, unknown in zip(batch.bags, unknown_rows_F[single:], strict=True):
        hidden_M = torch.rand(bag.rows_M.shape, device=bag.rows_M.device) < rate
        bags.append(Bag(torch.where(hidden_M, unknown, bag.rows_M), bag.offsets_N))
    return Batch(ids_BF, tuple(bags), batch.numbers_BK, batch.labels_B)


def recombine(batch: Batch, rate: float) -> Batch:
    """The batch with a random share `rate` of each event's fields taken from one other event; labels then say nothing.

    Recombined events are where a student can learn what its teacher generalises to: on the events that the teacher was trained on,
    its answers are largely their labels, learned by heart.
    """
    events, device = len(batch), batch.ids_BF.device
    own_B1 = torch.arange(events, device=device).unsqueeze(1)
    donor_B1 = torch.randperm(events, device=device).unsqueeze(1)

    def source(columns: int) -> Tensor:
        return torch.where(torch.rand(events, columns, device=device) < rate, donor_B1, own_B1)

    ids_BF = batch.ids_BF.gather(0, source(batch.ids_BF.shape[1]))
    numbers_BK = batch.numbers_BK.gather(0, source(batch.numbers_BK.shape[1]))
    bags = tuple(take_bag(bag, source(1).squeeze(1)) for bag in batch.bags)
    return Batch(ids_BF, bags, numbers_BK, batch.labels_B)
