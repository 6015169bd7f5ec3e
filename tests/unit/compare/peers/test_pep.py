import math

import pytest
import torch
from torch import nn

from amtl.compare.peers import pep
from amtl.compare.peers.pep import SoftThresholdEmbedding, search
from amtl.compare.peers.sparse import sparse_bytes


def _lookup():
    torch.manual_seed(0)
    lookup = SoftThresholdEmbedding(nn.Embedding(6, 4), -2.0)
    nn.init.uniform_(lookup.embedding.weight, -0.9, 0.9)
    nn.init.normal_(lookup.thresholds.weight, -2, 1)
    return lookup


def test_numbers_shrink_by_their_threshold_as_in_a_naive_loop():
    lookup = _lookup()
    vectors = lookup(torch.tensor([4, 1])).tolist()
    values, thresholds = lookup.embedding.weight.tolist(), lookup.thresholds.weight.tolist()
    for place, row in enumerate((4, 1)):
        for dimension in range(4):
            value, threshold = values[row][dimension], 1 / (1 + math.exp(-thresholds[row][dimension]))
            wanted = math.copysign(max(abs(value) - threshold, 0.0), value)
            assert vectors[place][dimension] == pytest.approx(wanted, abs=1e-6)


def test_the_threshold_s_gradient_is_minus_sign_times_slope():
    lookup = SoftThresholdEmbedding(nn.Embedding.from_pretrained(torch.tensor([[0.9, -0.9, 0.1]]), freeze=False), 0.0)
    lookup(torch.tensor([0])).sum().backward()
    assert torch.allclose(lookup.thresholds.weight.grad.to_dense(), torch.tensor([[-0.25, 0.25, 0.0]]))
    assert torch.equal(lookup.embedding.weight.grad, torch.tensor([[1.0, 1.0, 0.0]]))


def test_a_margin_says_how_far_the_threshold_may_rise():
    lookup = _lookup()
    assert torch.equal(lookup.margins_VD() > 0, lookup(torch.arange(6)) != 0)
    with torch.no_grad():
        lookup.thresholds.weight += (lookup.margins_VD() - 1e-3).float()
    assert (lookup(torch.arange(6)) != 0).all()
    with torch.no_grad():
        lookup.thresholds.weight += 2e-3
    assert (lookup(torch.arange(6)) == 0).all()


def test_the_search_ends_when_the_budget_is_reached(task, rows_F):
    sooner, steps = search(task, 900, "fp32")
    later, more = search(task, 300, "fp32")
    assert 0 < steps < more
    assert sparse_bytes(sooner > 0, rows_F, "fp32") <= 900
    assert sparse_bytes(later > 0, rows_F, "fp32") <= 300


def test_a_search_that_does_not_reach_the_budget_is_cut_by_one_shift(task, rows_F, monkeypatch):
    monkeypatch.setattr(pep, "START", -30.0)
    monkeypatch.setattr(pep, "SEARCH_EPOCHS", 1)
    monkeypatch.setattr(pep, "CHECKS", 0.001)
    made = pep.pep(task, 300, "fp32")
    assert made.bytes <= 300


def test_the_winning_ticket_starts_from_its_initial_numbers(task, monkeypatch):
    seen = []
    monkeypatch.setattr(type(task), "train", lambda self, model, distilled: seen.append(model.embedding.weight.detach().clone()))
    made = pep.pep(task, 400, "fp32")
    kept_VD = made.model.embedder.lookup.kept_VD
    assert torch.equal(seen[0], task.fresh().embedding.weight)
    assert 0 < kept_VD.sum() < kept_VD.numel()
