import torch

from amtl.compare.peers.magnitude import magnitude
from amtl.compare.peers.sparse import sparse_bytes


def test_the_control_s_largest_numbers_stay(task, rows_F):
    made = magnitude(task, 400, "fp32")
    kept_VD, table_VD = made.model.embedder.lookup.kept_VD, task.control.embedding.weight.detach().abs()
    assert 0 < kept_VD.sum() < kept_VD.numel()
    assert table_VD[kept_VD].min() >= table_VD[~kept_VD].max()
    assert made.bytes == sparse_bytes(kept_VD, rows_F, "fp32")


def test_a_whole_table_is_never_worse_than_the_control_on_validation(task):
    made = magnitude(task, 10**9, "fp32")
    assert made.model.embedder.lookup.kept_VD.all()
    assert task.judge(made.model)["score"] >= task.judge(task.control)["score"] - 1e-6


def test_what_is_cut_stays_zero_through_fine_tuning(task):
    made = magnitude(task, 400, "fp32")
    vectors_VD = made.model.embedder.lookup(torch.arange(task.vocabulary.rows))
    assert (vectors_VD[~made.model.embedder.lookup.kept_VD] == 0).all()
