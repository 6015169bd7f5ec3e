import pytest
import torch
from torch import nn
from torch_models import two_tables

from amtl.anymodel.tables import find_tables
from amtl.errors import ParamsError


def refusal(model, names=None):
    with pytest.raises(ParamsError) as caught:
        find_tables(model, names)
    return str(caught.value)


def test_an_empty_list_of_tables_is_refused():
    with pytest.raises(ParamsError, match="the list is empty"):
        find_tables(two_tables(), [])


def test_tables_in_the_order_of_the_model():
    assert [table.name for table in find_tables(two_tables())] == ["user", "item", "weight", "tags"]
    assert [table.name for table in find_tables(two_tables(), ["tags", "user", "tags"])] == ["tags", "user"]


def test_modules_that_share_a_weight_are_one_table():
    model = nn.ModuleDict({"one": nn.Embedding(9, 4), "other": nn.EmbeddingBag(9, 4), "third": nn.Embedding(9, 4)})
    model["other"].weight = model["one"].weight
    model["again"] = model["third"]
    first, second = find_tables(model)
    assert set(first.readers) == {"one", "other"}
    assert set(second.readers) == {"third"}
    assert find_tables(model, ["other"]) == [first]


def test_a_model_without_tables():
    assert "nothing to pack" in refusal(nn.Linear(2, 2))


def test_a_name_that_is_no_table():
    assert "no embedding table 'users'; it has 'user', 'item'" in refusal(two_tables(), ["users"])


class Scaled(nn.Embedding):
    def forward(self, input):
        return super().forward(input) * 2


def tied():
    model = nn.ModuleDict({"table": nn.Embedding(9, 4), "out": nn.Linear(4, 9, bias=False)})
    model["out"].weight = model["table"].weight
    return model


def hooked():
    table = nn.Embedding(9, 4)
    table.register_forward_hook(lambda module, args, output: output * 2)
    return nn.ModuleDict({"table": table})


def parametrized():
    return nn.ModuleDict({"table": torch.nn.utils.parametrizations.weight_norm(nn.Embedding(9, 4))})


def diverged():
    weight = torch.ones(9, 4, dtype=torch.bfloat16)
    weight[8, 1] = torch.nan
    return nn.ModuleDict({"table": nn.Embedding.from_pretrained(weight)})


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (two_tables("max"), "'tags' cannot be packed: 'tags' pools by mode='max'"),
        (nn.ModuleDict({"table": nn.Embedding(9, 4, max_norm=1.0)}), "max_norm of 'table'"),
        (nn.ModuleDict({"table": Scaled(9, 4)}), "Scaled ('table') has a forward of its own"),
        (nn.ModuleDict({"table": nn.Embedding(9, 4, device="meta")}), "on the device meta"),
        (tied(), "tied to the parameter 'out.weight'"),
        (hooked(), "forward hooks are registered on 'table'"),
        (parametrized(), "is computed"),
        (diverged(), "'table' cannot be packed: it holds numbers that are not finite"),
    ],
)
def test_what_cannot_be_packed_is_refused_by_name(model, reason):
    assert reason in refusal(model)


def test_a_refusal_names_the_tables_to_pack_without_it():
    assert refusal(two_tables("max")).endswith("leave it out with tables=['user', 'item', 'weight']")
    assert len(find_tables(two_tables("max"), ["user", "item", "weight"])) == 3
