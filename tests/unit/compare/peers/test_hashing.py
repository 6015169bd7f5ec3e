import pytest
import torch

from amtl.compare.peers.hashing import HashedEmbedding, hashed_rows, hashing
from amtl.compare.peers.storage import stored_bytes

ROWS_F, KEPT_F = [5, 3, 9], [2, 3, 4]


def test_a_value_has_the_row_of_its_remainder():
    lookup = HashedEmbedding(ROWS_F, KEPT_F, 4, 0.1)
    table = lookup.embedding.weight
    value = 0
    for field, (rows, kept) in enumerate(zip(ROWS_F, KEPT_F, strict=True)):
        for local in range(rows):
            assert torch.equal(lookup(torch.tensor([value]))[0], table[sum(KEPT_F[:field]) + local % kept])
            value += 1


def test_values_of_a_row_share_their_gradient():
    lookup = HashedEmbedding([4], [2], 3, 0.1)
    lookup(torch.tensor([0, 2, 1])).sum().backward()
    assert torch.equal(lookup.embedding.weight.grad.to_dense(), torch.tensor([[2.0] * 3, [1.0] * 3]))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("budget", [80, 150, 200, 10**6])
def test_small_fields_stay_whole_and_the_cap_is_the_largest_that_fits(budget, precision):
    kept_F = hashed_rows(ROWS_F, 4, budget, precision) if budget > 80 or precision == "int8" else [1, 1, 1]
    most = max(kept_F)

    def total(cap):
        return sum(stored_bytes(min(rows, cap), 4, precision) for rows in ROWS_F)

    assert kept_F == [min(rows, most) for rows in ROWS_F]
    assert total(most) <= budget
    assert most == max(ROWS_F) or total(most + 1) > budget


def test_where_the_budget_allows_it_nothing_is_hashed(task, rows_F):
    made = hashing(task, 10**9, "fp32")
    assert made.bytes == task.vocabulary.rows * task.config.dim * 4
    assert torch.equal(made.model.embedder.lookup.row_V, torch.arange(task.vocabulary.rows))
