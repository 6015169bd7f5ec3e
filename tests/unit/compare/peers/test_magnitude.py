from itertools import pairwise

import torch

from amtl.compare.peers import magnitude
from amtl.compare.peers.sparse import sparse_bytes


def test_the_control_s_largest_numbers_stay(task, rows_F, monkeypatch):
    monkeypatch.setattr(magnitude, "ROUNDS", 1)
    made = magnitude.magnitude(task, 400, "fp32")
    kept_VD, table_VD = made.model.embedder.lookup.kept_VD, task.control.embedding.weight.detach().abs()
    assert 0 < kept_VD.sum() < kept_VD.numel()
    assert table_VD[kept_VD].min() >= table_VD[~kept_VD].max()
    assert made.bytes == sparse_bytes(kept_VD, rows_F, "fp32")


def test_what_one_round_cuts_the_next_does_not_keep(task, rows_F, monkeypatch):
    masks = []
    monkeypatch.setattr(type(task), "finetune", lambda self, model, distilled: masks.append(model.embedder.lookup.kept_VD))
    magnitude.magnitude(task, 400, "fp32")
    assert len(masks) == magnitude.ROUNDS
    assert all((wide | narrow).equal(wide) for wide, narrow in pairwise(masks))
    assert [int(mask.sum()) for mask in masks] == sorted((int(mask.sum()) for mask in masks), reverse=True)


def test_rounds_leave_equal_shares():
    assert magnitude.budgets(8000, 1000) == [4000, 2000, 1000]
    assert magnitude.budgets(8000, 9000) == [9000]


def test_a_whole_table_is_never_worse_than_the_control_on_validation(task):
    made = magnitude.magnitude(task, 10**9, "fp32")
    assert made.model.embedder.lookup.kept_VD.all()
    assert task.judge(made.model)["score"] >= task.judge(task.control)["score"] - 1e-6


def test_what_is_cut_stays_zero_through_fine_tuning(task):
    made = magnitude.magnitude(task, 400, "fp32")
    vectors_VD = made.model.embedder.lookup(torch.arange(task.vocabulary.rows))
    assert (vectors_VD[~made.model.embedder.lookup.kept_VD] == 0).all()
