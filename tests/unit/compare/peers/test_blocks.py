import torch
from torch import nn

from amtl.compare.peers.blocks import BlockEmbedding, places_within

BLOCK_V = torch.tensor([0, 1, 0, 2, 1, 1])


def test_places_count_earlier_values_of_the_block():
    assert places_within(BLOCK_V).tolist() == [0, 0, 1, 0, 1, 2]


def test_every_value_goes_to_its_block():
    parts = [nn.Embedding(size, 3) for size in (2, 3, 1)]
    lookup = BlockEmbedding(BLOCK_V, parts, 3)
    rows_M = torch.tensor([5, 0, 3, 5, 2, 4])
    wanted = [parts[2 if row == 3 else int(row in {1, 4, 5})].weight[places_within(BLOCK_V)[row]] for row in rows_M.tolist()]
    assert torch.equal(lookup(rows_M), torch.stack(wanted))


def test_blocks_without_values_in_a_batch_are_left_out():
    parts = [nn.Embedding(size, 3) for size in (2, 3, 1)]
    lookup = BlockEmbedding(BLOCK_V, parts, 3)
    lookup(torch.tensor([0])).sum().backward()
    assert parts[0].weight.grad is not None
    assert parts[1].weight.grad is None
    assert lookup(torch.zeros(0, dtype=torch.int64)).shape == (0, 3)
