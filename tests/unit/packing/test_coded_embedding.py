"""Training on what will be served: codes forward, nothing of them backward, scales that follow the rows."""

import pytest
import torch

from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing.coded_embedding import REFIT_STEPS, CodedEmbedding, as_served
from amtl.packing.layout import Layout
from amtl.packing.packed_embedding import decoded

BITS = torch.tensor([[0, 0, 0, 0], [8, 5, 0, 0], [4, 3, 2, 2]], dtype=torch.uint8)
LAYOUT = Layout(BITS, torch.tensor([0, 0, 1]), torch.arange(60) % 3)


def table():
    torch.manual_seed(0)
    return torch.nn.Embedding(60, 4)


FEW, MANY = torch.tensor([5, 1, 59, 5, 0]), torch.arange(150) * 7 % 60
"""Lookups, fewer and more than the table has rows."""


@pytest.mark.parametrize("rows", [FEW, MANY], ids=["few", "many"])
def test_looked_up_is_what_a_server_reads(rows):
    embedding = table()
    coded = as_served(embedding, LAYOUT)
    with torch.no_grad():
        assert torch.equal(coded(rows), decoded(embedding.weight, LAYOUT)[rows])
    torch.testing.assert_close(coded.eval()(rows), decoded(embedding.weight, LAYOUT)[rows])


@pytest.mark.parametrize("rows", [FEW, MANY], ids=["few", "many"])
def test_gradients_pass_the_codes_and_stop_at_the_mask(rows):
    coded = as_served(table(), LAYOUT)
    weight = torch.randn(len(rows), 4)
    (coded(rows) * weight).sum().backward()
    expected = torch.zeros(60, 4).index_add(0, rows, weight) * (torch.arange(4) < LAYOUT.sizes_V.unsqueeze(1))
    torch.testing.assert_close(coded.embedding.weight.grad, expected)


def test_scales_follow_the_rows_while_training_and_rest_otherwise():
    coded = as_served(table(), LAYOUT).eval()
    before, rows = coded.scale_KD.clone(), torch.arange(60)
    with torch.no_grad():
        coded.embedding.weight *= 16
    coded(rows)
    assert torch.equal(coded.scale_KD, before)
    coded.train()
    for _ in range(REFIT_STEPS + 1):
        coded(rows[:1])
    torch.testing.assert_close(coded.scale_KD, before * 16)


@pytest.mark.parametrize(("precision", "kind"), [("fp32", MaskedEmbedding), ("fp16", MaskedEmbedding), ("int8", CodedEmbedding)])
def test_only_codes_are_trained_as_codes(precision, kind):
    sizes, field = torch.arange(60) % 5, torch.arange(60) // 30
    assert type(as_served(table(), Layout.of_sizes(sizes, field, 4, precision))) is kind
