import pytest
import torch

from amtl.compare.peers.qr import QuotientRemainderEmbedding, Tables, tables_at, tables_within
from amtl.errors import BudgetError

ROWS_F = [100, 3, 17]


def test_tables_by_hand():
    tables = tables_at(ROWS_F, 5)
    assert tables == Tables([20, 3, 5], [5, 0, 4])  # 3 values stay whole; 17 take their root, 4, at most
    assert tables.bytes(2, "fp32") == (20 + 3 + 5 + 5 + 4) * 2 * 4
    assert tables.bytes(2, "int8") == (20 + 3 + 5 + 5 + 4) * 2 + 5 * 2


def test_one_collision_is_the_whole_table():
    assert tables_at(ROWS_F, 1) == Tables(ROWS_F, [0, 0, 0])


@pytest.mark.parametrize("collisions", [1, 2, 5, 10])
def test_a_vector_is_the_product_of_its_parts(collisions):
    tables = tables_at(ROWS_F, collisions)
    lookup = QuotientRemainderEmbedding(ROWS_F, tables, 4, 0.1)
    value = 0
    for field, rows in enumerate(ROWS_F):
        first, other = sum(tables.quotients_F[:field]), sum(tables.remainders_F[:field])
        shared = tables.remainders_F[field]
        for local in range(rows):
            wanted = lookup.quotients.weight[first + (local // shared if shared else local)]
            if shared:
                wanted = wanted * lookup.remainders.weight[other + local % shared]
            assert torch.equal(lookup(torch.tensor([value]))[0], wanted)
            value += 1


def test_no_two_values_share_a_vector():
    lookup = QuotientRemainderEmbedding(ROWS_F, tables_at(ROWS_F, 10), 4, 0.1)
    assert len(lookup(torch.arange(sum(ROWS_F))).detach().unique(dim=0)) == sum(ROWS_F)


def test_numbers_start_as_large_as_those_of_other_tables():
    torch.manual_seed(0)
    lookup = QuotientRemainderEmbedding([4000, 3], tables_at([4000, 3], 20), 64, 0.05)
    assert lookup(torch.arange(4000)).std().item() == pytest.approx(0.05, rel=0.1)
    assert lookup(torch.arange(4000, 4003)).std().item() == pytest.approx(0.05, rel=0.2)


def test_both_tables_learn_and_whole_fields_leave_remainders_alone():
    lookup = QuotientRemainderEmbedding([16, 2], tables_at([16, 2], 4), 3, 0.1)
    lookup(torch.tensor([5, 17])).sum().backward()
    assert lookup.quotients.weight.grad.to_dense().ne(0).any(1).nonzero().flatten().tolist() == [1, 5]
    assert lookup.remainders.weight.grad.to_dense().ne(0).any(1).nonzero().flatten().tolist() == [1]


def test_the_fewest_collisions_within_the_budget():
    for budget in range(tables_at(ROWS_F, 10).bytes(4, "fp32"), 2100, 16):
        found = tables_within(ROWS_F, 4, budget, "fp32")
        fitting = [collisions for collisions in range(1, 11) if tables_at(ROWS_F, collisions).bytes(4, "fp32") <= budget]
        assert found == tables_at(ROWS_F, fitting[0])
    with pytest.raises(BudgetError):
        tables_within(ROWS_F, 4, tables_at(ROWS_F, 10).bytes(4, "fp32") - 1, "fp32")
