import math

import pytest
import torch
from torch import nn

from amtl.compare.peers.sparse import SparseEmbedding, kept_within, sparse_bytes
from amtl.errors import BudgetError


def _naive_bytes(kept_VD, rows_F, bytes_a_number, scale):
    total, first = 0, 0
    for rows in rows_F:
        bits, numbers, counts = 0, 0, set()
        for row in kept_VD[first : first + rows].tolist():
            indices = sum(row) * math.ceil(math.log2(len(row)))
            bits += min(len(row), indices)
            numbers += sum(row)
            counts.add(sum(row))
        total, first = total + numbers * bytes_a_number + math.ceil(bits / 8) + 5 * len(counts) + scale, first + rows
    return total


@pytest.mark.parametrize(("precision", "bytes_a_number", "scale"), [("fp32", 4, 0), ("fp16", 2, 0), ("int8", 1, 1)])
def test_bytes_count_numbers_places_groups_and_scales(precision, bytes_a_number, scale):
    kept_VD = torch.rand(30, 12, generator=torch.Generator().manual_seed(0)) < torch.linspace(0, 1, 30).unsqueeze(1)
    assert sparse_bytes(kept_VD, [11, 19], precision) == _naive_bytes(kept_VD, [11, 19], bytes_a_number, scale)


@pytest.mark.parametrize("budget", [40, 100, 333, 10**6])
def test_the_worthiest_numbers_are_kept_as_far_as_bytes_go(budget):
    worth_VD = torch.randn(20, 8, generator=torch.Generator().manual_seed(1))
    kept_VD = kept_within(worth_VD, [5, 15], budget, "int8", "it")
    assert sparse_bytes(kept_VD, [5, 15], "int8") <= budget
    if not kept_VD.all():
        assert worth_VD[kept_VD].numel() == 0 or worth_VD[kept_VD].min() >= worth_VD[~kept_VD].max()
        ordered = torch.sort(worth_VD.flatten(), descending=True).values
        more_VD = worth_VD >= ordered[int(kept_VD.sum()) : int(kept_VD.sum()) + 1]
        assert sparse_bytes(more_VD, [5, 15], "int8") > budget


def test_a_table_of_nothing_may_be_too_much():
    with pytest.raises(BudgetError, match="it: its smallest table takes 10 bytes"):
        kept_within(torch.randn(20, 8), [5, 15], 9, "int8", "it")


def test_only_the_mask_s_numbers_count_and_learn():
    kept_VD = torch.tensor([[True, False], [False, True]])
    lookup = SparseEmbedding(nn.Embedding(2, 2), kept_VD)
    assert torch.equal(lookup(torch.tensor([1, 0])), (lookup.embedding.weight * kept_VD)[[1, 0]])
    lookup(torch.tensor([0, 1])).sum().backward()
    assert torch.equal(lookup.embedding.weight.grad, kept_VD.float())


def test_what_is_kept_is_stored():
    lookup = SparseEmbedding(nn.Embedding(6, 4), torch.rand(6, 4) < 0.5)
    before = lookup.embedding.weight.detach().clone()
    lookup.store([2, 4], "fp16")
    assert torch.equal(lookup(torch.arange(6)), before.half().float() * lookup.kept_VD)
