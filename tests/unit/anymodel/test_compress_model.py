import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch_models import TwoTables, batches, events, predicted, two_tables

import amtl
from amtl.anymodel.lookup import CODES, TableBag, TableLookup
from amtl.errors import BudgetError, ParamsError

WHOLE = 10**9


def compressed(budget, model=None, precision="int8", **options):
    return amtl.compress_model(two_tables() if model is None else model, batches(), budget, precision=precision, **options)


def trained_under_the_mask(budget, precision):
    """The packed model, and what the masked one predicted before it was packed."""
    seen = {}
    packed, report = compressed(budget, precision=precision, finetune=lambda model: seen.update(logits=predicted(model)))
    return packed, report, seen["logits"]


def test_before_cutting_predictions_are_equal():
    for budget, precision in ((WHOLE, "fp32"), (WHOLE, "int8")):
        _, _, masked = trained_under_the_mask(budget, precision)
        torch.testing.assert_close(masked, predicted(two_tables()), rtol=1e-5, atol=1e-5)


def test_the_whole_table_in_fp32_predicts_the_same():
    packed, report = compressed(WHOLE, precision="fp32")
    torch.testing.assert_close(predicted(packed), predicted(two_tables()), rtol=1e-5, atol=1e-5)
    assert report.cost == 0


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "mixed"])
def test_packed_is_masked_up_to_its_codes(precision):
    packed, report, masked = trained_under_the_mask("40%" if precision.startswith("fp") else "15%", precision)
    assert 0 < report.tables[0].mean_size < 12
    error = (predicted(packed) - masked).abs().max()
    assert error <= {"fp32": 1e-6, "fp16": 2e-3, "int8": 0.02, "mixed": 0.2}[precision]
    assert error < (masked - masked.mean()).abs().max() / 10
    assert (masked - predicted(two_tables())).abs().max() > 0.01


@pytest.mark.parametrize(
    ("precision", "budget"), [("fp32", 0.5), ("fp32", "6%"), ("int8", 0.5), ("int8", "12%"), ("int8", 2000), ("mixed", "6%")]
)
def test_the_budget_is_met_and_used(budget, precision):
    model = two_tables()
    packed, report = compressed(budget, model, precision=precision)
    dense = sum(module.weight.nbytes for module in (model.user, model.item, model.weight, model.tags))
    replaced = (packed.user, packed.item, packed.weight, packed.tags)
    bytes_ = sum(tensor.nbytes for module in replaced for tensor in module.state_dict().values())
    assert report.dense_bytes == dense
    assert report.bytes == bytes_ <= report.budget_bytes
    assert report.bytes >= min(report.budget_bytes - 100, 0.24 * dense)


@pytest.mark.parametrize(("precision", "budget"), [("fp32", "50%"), ("int8", "15%")])
def test_the_estimated_cost_is_what_it_costs(precision, budget):
    """Against the mean divergence of the packed model's predictions from the whole model's, on the events that were read."""
    many = {"count": 6000}
    packed, report = amtl.compress_model(two_tables(), batches(1500, **many), budget, precision=precision)
    whole_B, packed_B = (torch.sigmoid(predicted(model, **many).double()) for model in (two_tables(), packed))
    rest_B = (1 - whole_B) * ((1 - whole_B) / (1 - packed_B)).log()
    divergence = (whole_B * (whole_B / packed_B).log() + rest_B).mean().item()
    assert 0.5 * report.cost < divergence < 1.2 * report.cost


def test_mixed_widths_cost_less_at_equal_bytes():
    assert compressed("12%", precision="mixed").report.cost < 0.5 * compressed("12%", precision="int8").report.cost


def test_a_budget_without_room_is_refused_with_the_least_possible():
    with pytest.raises(BudgetError, match="a budget of 9 bytes cannot be met: with nothing kept, tables take 10 bytes"):
        compressed(9)
    with pytest.raises(BudgetError, match="is not a share"):
        compressed("small")


def test_rows_that_matter_keep_more():
    model = two_tables()
    with torch.no_grad():
        model.net[0].weight[:, 12:18] = 0  # the item is not used
    packed, report = compressed("12%", model, precision="int8")
    item = next(table for table in report.tables if table.name == "item")
    assert item.sizes == {0: 150}
    size_V = packed.user.table.rows.packed.sizes.long()[_bucket_of_rows(packed.user)]
    assert size_V[:40].float().mean() > 1.5 * size_V[200:].float().mean()


def _bucket_of_rows(lookup: TableLookup) -> torch.Tensor:
    rows = lookup.table.rows
    return torch.searchsorted(rows.packed.end_row_K, rows.index(torch.arange(lookup.num_embeddings)), right=True)


def test_the_model_is_not_touched_and_the_rest_is_copied():
    model = two_tables()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    packed, _ = compressed("20%", model)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert isinstance(model.user, nn.Embedding)
    assert isinstance(packed.user, TableLookup)
    assert isinstance(packed.tags, TableBag)
    assert packed.training
    assert torch.equal(packed.net[0].weight, model.net[0].weight)
    assert packed.net[0].weight is not model.net[0].weight


def test_two_runs_are_equal_though_the_loader_shuffles():
    class Rows(Dataset):
        columns = events()

        def __len__(self):
            return len(self.columns[0])

        def __getitem__(self, place):
            return tuple(column[place] for column in self.columns)

    runs = [
        amtl.compress_model(two_tables(), DataLoader(Rows(), batch_size=100, shuffle=True), "20%", precision="fp16", rows=300).model
        for _ in range(2)
    ]
    states = [run.state_dict() for run in runs]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_finetuning_trains_the_masked_model_and_keeps_its_sizes():
    loader = batches()

    def loss(model):
        return sum(nn.functional.binary_cross_entropy_with_logits(model(*inputs), click) for inputs, click in loader)

    kept = {}

    def finetune(model):
        rows = model.user.table.rows
        kept["start"], kept["padding"] = loss(model.eval()).item(), model.tags.table.rows.embedding.weight[0].clone()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(10):
            optimizer.zero_grad()
            loss(model.train()).backward()
            optimizer.step()
        kept["end"], kept["sizes"] = loss(model.eval()).item(), rows.sizes_V
        assert torch.equal(model.tags.table.rows.embedding.weight[0], kept["padding"])

    packed, _ = amtl.compress_model(two_tables(), loader, "30%", precision="fp32", finetune=finetune)
    assert kept["end"] < kept["start"]
    assert loss(packed.eval()).item() == pytest.approx(kept["end"], abs=1e-4)
    assert torch.equal(packed.user.table.rows.packed.sizes.long()[_bucket_of_rows(packed.user)], kept["sizes"])


class TakesDicts(nn.Module):
    """A model that reads a dict, keeps its optimizer and lists its weights for a penalty, as some libraries' models do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = two_tables()
        self.alias = self.inner.user
        self.optimizer = torch.optim.Adam(self.parameters())
        self.penalised = [self.inner.user.weight, self.inner.net[0].weight]

    def forward(self, batch):
        return torch.sigmoid(self.inner(batch["user"], batch["item"], batch["tags"]))


def test_dicts_probabilities_and_what_hangs_on_a_model():
    dicts = [{"user": user, "item": item, "tags": tags, "label": label} for (user, item, tags), label in batches()]
    masked_weights = []
    packed, report = amtl.compress_model(
        TakesDicts(),
        dicts,
        "20%",
        precision="int8",
        finetune=lambda model: masked_weights.append(model.penalised[0] is model.alias.table.rows.embedding.weight),
    )
    assert report.output == "probability"
    assert masked_weights == [True]
    assert packed.alias is packed.inner.user
    assert packed.optimizer is None
    assert packed.penalised[0].numel() == 0
    assert packed.penalised[1] is packed.inner.net[0].weight
    assert 0 <= packed(dicts[0]).min().item() <= packed(dicts[0]).max().item() <= 1


def test_several_tasks():
    class Tasks(TwoTables):
        def forward(self, user_B, item_B, tags_BT):
            logit_B = super().forward(user_B, item_B, tags_BT)
            return torch.stack([logit_B, 3 * logit_B], dim=1)

    torch.manual_seed(3)
    model = Tasks()
    packed, report = compressed("20%", model)
    assert packed(*events()[:3]).shape == (600, 2)
    assert report.bytes <= report.budget_bytes


def test_tables_that_share_a_weight_are_packed_once():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Embedding(400, 8), nn.EmbeddingBag(400, 8, mode="sum")
            self.second.weight = self.first.weight

        def forward(self, ids_B):
            return self.first(ids_B).sum(1) + self.second(ids_B.unsqueeze(1)).sum(1)

    users = events()[0]
    packed, report = amtl.compress_model(Shared(), [users], 10**6, precision="fp32")
    assert packed.first.table is packed.second.table
    assert [table.name for table in report.tables] == ["first"]


def test_small_tables_stay_and_count():
    model = two_tables()
    model.tags = nn.EmbeddingBag(60, 4, mode="mean", padding_idx=0)
    model.net[0] = nn.Linear(12 + 6 + 4, 8)
    packed, report = compressed("20%", model)
    assert isinstance(packed.tags, nn.EmbeddingBag)
    assert torch.equal(packed.tags.weight, model.tags.weight)
    tags = report.tables[-1]
    assert (tags.name, tags.bytes, tags.packed) == ("tags", 960, False)
    assert report.bytes <= report.budget_bytes
    assert "left as it is" in str(report)
    with pytest.raises(BudgetError, match="tables take 968 bytes"):
        compressed(967, model)
    with pytest.raises(ParamsError, match="nothing to pack"):
        compressed("20%", model, tables=["tags"])


def test_only_the_chosen_tables_are_packed():
    packed, report = compressed("20%", tables=["user"])
    assert isinstance(packed.item, nn.Embedding)
    assert [table.name for table in report.tables] == ["user"]
    assert report.dense_bytes == 400 * 12 * 4


def test_half_precision_models_stay_in_half_precision():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(400, 8, dtype=torch.bfloat16)

        def forward(self, ids_B):
            return self.table(ids_B).sum(1)

    packed, _ = amtl.compress_model(Half(), [events()[0]], "40%", precision="fp16")
    assert packed.table(torch.tensor([3])).dtype == torch.bfloat16


def test_a_packed_model_goes_to_another_precision():
    packed, _ = compressed("40%")
    torch.testing.assert_close(predicted(packed.bfloat16()).float(), predicted(compressed("40%").model), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "precision='int4': it is one of fp32, fp16, int8, mixed"),
        ({"output": "score"}, "output='score'"),
        ({"tables": ["nobody"]}, "no embedding table 'nobody'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ParamsError, match=message):
        compressed("20%", **options)


def test_a_table_that_no_event_reads_is_named():
    model = two_tables()
    model.unused = nn.Embedding(500, 4)
    with pytest.raises(ParamsError, match="no event of the loader looks up the table 'unused'"):
        compressed("20%", model)


def test_rows_are_stored_exactly_in_a_rounded_basis():
    model = two_tables()
    packed, _ = compressed(WHOLE, model, precision="fp32")
    table = packed.user.table
    assert table.basis_TD.dtype == torch.int8
    read = table(torch.arange(400))
    torch.testing.assert_close(read, model.user.weight.detach(), rtol=1e-5, atol=1e-5)
    orthonormal = (table.basis_TD.float() / CODES) @ (table.basis_TD.float() / CODES).T
    torch.testing.assert_close(orthonormal, torch.eye(12), rtol=0, atol=0.05)
