"""A published model that we did not write: DeepFM of deepctr-torch 0.3.0, with a list field that is pooled by its mean."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_models import import_deepctr

import amtl

USERS, ITEMS, LONGEST = 500, 300, 5


@pytest.fixture(scope="module")
def columns():
    """Inputs by name, and clicks: a user, an item, up to five items of the user's past (0 is none), an age."""
    random = np.random.default_rng(0)
    rows = 3000
    past = random.integers(1, ITEMS, (rows, LONGEST)) * (np.arange(LONGEST) < random.integers(0, LONGEST + 1, (rows, 1)))
    inputs = {"user": random.zipf(1.2, rows) % USERS, "item": random.zipf(1.3, rows) % ITEMS, "past": past, "age": random.normal(size=rows)}
    logits = random.normal(size=USERS)[inputs["user"]] + random.normal(size=ITEMS)[inputs["item"]]
    return inputs, (random.random(rows) < 1 / (1 + np.exp(-2 * logits))).astype("float32")


@pytest.fixture(scope="module")
def model(columns):
    """A trained DeepFM."""
    import_deepctr()
    from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat
    from deepctr_torch.models import DeepFM

    item = SparseFeat("item", ITEMS, 8, embedding_name="item")
    past = VarLenSparseFeat(SparseFeat("past", ITEMS, 8, embedding_name="past"), LONGEST, "mean")
    features = [SparseFeat("user", USERS, 8), item, past, DenseFeat("age", 1)]
    model = DeepFM(features, features, dnn_hidden_units=(16,), init_std=0.1)
    trained(model, columns, epochs=3)
    return model


def trained(model, columns, epochs=1):
    inputs, clicks = columns
    model.compile(torch.optim.Adam(model.parameters(), lr=0.02), "binary_crossentropy")
    model.fit(dict(inputs), clicks, batch_size=500, epochs=epochs, verbose=0)


@pytest.fixture(scope="module")
def loader(model, columns):
    inputs, clicks = columns
    table = np.column_stack([inputs[name] for name in model.feature_index if name in inputs])
    return DataLoader(TensorDataset(torch.from_numpy(table).float(), torch.from_numpy(clicks)), batch_size=500)


def predicted(model, columns):
    return torch.from_numpy(model.predict(dict(columns[0])))


def test_before_cutting_predictions_are_equal(model, loader, columns):
    packed, report = amtl.compress_model(model, loader, 10**7, precision="fp32")
    assert report.output == "probability"
    assert {table.name for table in report.tables} == {
        f"{part}embedding_dict.{name}" for part in ("", "linear_model.") for name in ("user", "item", "past")
    }
    torch.testing.assert_close(predicted(packed, columns), predicted(model, columns), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("precision", "nearest"), [("fp32", 1e-6), ("int8", 0.02)])
def test_budget_is_met_and_packed_is_masked(model, loader, columns, precision, nearest):
    masked = []
    packed, report = amtl.compress_model(
        model, loader, "20%", precision=precision, finetune=lambda model: masked.append(predicted(model, columns))
    )
    assert not any(isinstance(module, nn.Embedding) and module.weight.nbytes >= 1024 for module in packed.modules())
    assert report.bytes <= report.budget_bytes == int(0.2 * report.dense_bytes)
    assert (predicted(packed, columns) - masked[0]).abs().max() <= nearest
    assert (masked[0] - predicted(model, columns)).abs().max() > nearest


def test_its_own_training_runs_under_the_mask(model, loader, columns):
    losses = []

    def finetune(masked):
        losses.append(loss(masked))
        trained(masked, columns)
        losses.append(loss(masked))

    def loss(model):
        return nn.functional.binary_cross_entropy(predicted(model, columns).flatten(), torch.from_numpy(columns[1]).double()).item()

    packed, _ = amtl.compress_model(model, loader, "8%", precision="int8", finetune=finetune)
    assert losses[1] < losses[0]
    assert loss(packed) < losses[0]
    assert sum(weight.numel() for weights, _, _ in packed.regularization_weight[:1] for weight in weights) == 0


def test_padding_costs_nothing_to_cut(model, loader):
    packed, report = amtl.compress_model(model, loader, "20%", precision="int8", tables=["embedding_dict.past"])
    padding = packed.embedding_dict["past"](torch.tensor([0]))
    assert torch.equal(padding, torch.zeros(1, 8))
    assert report.tables[0].mean_size > 0
