import pytest
import torch
from torch import nn

from amtl.compare.peers.storage import largest_within, linear_bytes, store_by_field, store_linear, stored, stored_bytes
from amtl.errors import BudgetError


@pytest.mark.parametrize(("precision", "wanted"), [("fp32", 7 * 3 * 4), ("fp16", 7 * 3 * 2), ("int8", 7 * 3 + 3)])
def test_bytes_of_a_matrix_by_hand(precision, wanted):
    assert stored_bytes(7, 3, precision) == wanted


def test_a_matrix_without_rows_takes_nothing():
    assert stored_bytes(0, 3, "int8") == 0


@pytest.mark.parametrize(("precision", "wanted"), [("fp32", 4 * (10 + 5)), ("fp16", 2 * (10 + 5)), ("int8", 10 + 5 + 2 * 5)])
def test_bytes_of_a_projection_with_a_bias_by_hand(precision, wanted):
    assert linear_bytes(2, 5, True, precision) == wanted


def test_half_precision_is_read_back_as_half():
    weight = torch.randn(20, 4)
    assert torch.equal(stored(weight, "fp16"), weight.half().float())
    assert torch.equal(stored(weight, "fp32"), weight)


def test_codes_take_at_most_256_values_a_column_and_stay_near():
    weight = torch.randn(2000, 3) * torch.tensor([0.01, 1.0, 100.0])
    back = stored(weight, "int8")
    assert all(len(column.unique()) <= 256 for column in back.T)
    assert ((back - weight).pow(2).mean(0).sqrt() / weight.std(0) < 0.02).all()


def test_a_table_is_stored_field_by_field():
    table = nn.Parameter(torch.cat([torch.randn(50, 2) * 1e-3, torch.randn(50, 2) * 1e3]))
    wanted = torch.cat([stored(table[:50], "int8"), stored(table[50:], "int8")])
    store_by_field(table, [50, 50], "int8")
    assert torch.equal(table, wanted)


def test_a_projection_has_a_scale_an_output():
    layer = nn.Linear(8, 2)
    with torch.no_grad():
        layer.weight *= torch.tensor([[1e-3], [1e3]])
    wanted, bias = stored(layer.weight.T, "int8").T, layer.bias.half().float()
    store_linear(layer, "int8")
    assert torch.equal(layer.weight, wanted)
    assert torch.equal(layer.bias, bias)


def test_the_largest_within_a_budget_is_found_by_trying_all():
    sizes = [3, 3, 5, 9, 9, 40]
    for budget in range(3, 50):
        wanted = max(place + 1 for place, size in enumerate(sizes) if size <= budget)
        assert largest_within(budget, len(sizes), lambda place: sizes[place - 1], "it") == wanted
    with pytest.raises(BudgetError, match=r"it: its smallest table takes 3 bytes, over the budget of 2"):
        largest_within(2, len(sizes), lambda place: sizes[place - 1], "it")
