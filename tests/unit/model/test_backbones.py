"""Backbones against loops; the model around them built, stored and restored."""

import pytest
import torch
from torch import nn
from toy import equal_weights, toy

from amtl.model.backbones import BACKBONES, CrossNetwork, FactorizationMachine, Shape, build_backbone, perceptron
from amtl.model.ctr_model import CTRModel, ModelConfig, build, restore, weights_of
from amtl.model.masked_embedding import MaskedEmbedding

B, F, D = 5, 3, 4


def inputs(numbers):
    torch.manual_seed(1)
    return torch.randn(B, F, D), torch.randn(B, numbers)


def backbone(kind, numbers=0, fields=F, **changes):
    """A backbone in which every parameter matters."""
    torch.manual_seed(0)
    shape = {"hidden": (6,), "dropout": 0.0, "batch_norm": False, "cross_layers": 2} | changes
    made = build_backbone(kind, Shape(dim=D, fields=fields, numbers=numbers, **shape))
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def naive_perceptron(layers, row):
    first, last = layers[0], layers[-1]
    return last.weight[0] @ torch.relu(first.weight @ row + first.bias) + last.bias[0]


def naive_mlp(model, vectors, numbers):
    return naive_perceptron(model.layers, torch.cat([*vectors, numbers]))


def naive_dlrm(model, vectors, numbers):
    bottom = [model.bottom(numbers.unsqueeze(0))[0]] if len(numbers) else []
    rows = [*bottom, *vectors]
    dots = [rows[i] @ rows[j] for i in range(len(rows)) for j in range(i + 1, len(rows))]
    return naive_perceptron(model.top, torch.cat([*rows, torch.tensor(dots)]))


def naive_deepfm(model, vectors, numbers):
    row, scale = torch.cat([*vectors, numbers]), model.pairs.scale_F
    pairs = sum(scale[i] * scale[j] * (vectors[i] @ vectors[j]) for i in range(F) for j in range(i + 1, F))
    return model.first[0].weight[0] @ row + model.first[0].bias[0] + pairs + naive_perceptron(model.layers, row)


def naive_dcnv2(model, vectors, numbers):
    first = crossed = torch.cat([*vectors, numbers])
    for layer in model.cross:
        mixed = [layer.weight[i] @ crossed + layer.bias[i] for i in range(len(first))]
        crossed = torch.stack([first[i] * mixed[i] + crossed[i] for i in range(len(first))])
    return model.head[0].weight[0] @ crossed + model.head[0].bias[0] + naive_perceptron(model.layers, first)


NAIVE = {"mlp": naive_mlp, "dlrm": naive_dlrm, "deepfm": naive_deepfm, "dcnv2": naive_dcnv2}


@torch.no_grad()
@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("numbers", [0, 2])
def test_a_backbone_is_its_formula_event_by_event(kind, numbers):
    model, (vectors, given) = backbone(kind, numbers), inputs(numbers)
    found = model(vectors, given)
    for event in range(B):
        torch.testing.assert_close(found[event], NAIVE[kind](model, vectors[event], given[event]), rtol=1e-5, atol=1e-5)


def test_a_fresh_factorization_machine_is_the_plain_sum_of_dots():
    vectors, _ = inputs(0)
    expected = [sum(rows[i] @ rows[j] for i in range(F) for j in range(i + 1, F)) for rows in vectors]
    torch.testing.assert_close(FactorizationMachine(F)(vectors), torch.stack(expected))


def test_a_cross_network_whose_weights_are_zero_passes_its_inputs_on():
    network = CrossNetwork(4, 3)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    given = torch.randn(B, 4)
    assert torch.equal(network(given), given)


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("hidden", [(), (6, 5)])
def test_one_field_alone_has_no_pairs(kind, hidden):
    assert backbone(kind, fields=1, hidden=hidden)(torch.randn(B, 1, D), torch.zeros(B, 0)).shape == (B,)


@torch.no_grad()
@pytest.mark.parametrize("kind", BACKBONES)
def test_what_is_absorbed_is_read_from_then_on_and_what_is_not_changes_nothing(kind):
    (vectors, given), basis = inputs(2), torch.linalg.qr(torch.randn(F, D, D))[0]
    model = backbone(kind, 2)
    read, as_given = model(torch.einsum("bfd,fde->bfe", vectors, basis), given), model(vectors, given)
    absorbed = model.absorb(basis)
    assert absorbed == (kind == "mlp")
    torch.testing.assert_close(model(vectors, given), read if absorbed else as_given, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", BACKBONES)
def test_a_calibration_is_folded_in(kind):
    (vectors, given), model = inputs(2), backbone(kind, 2)
    before = model(vectors, given)
    model.rescale(0.3, -1.2)
    torch.testing.assert_close(model(vectors, given), 0.3 * before - 1.2, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", BACKBONES)
def test_every_part_says_what_each_of_its_columns_means(kind):
    model = backbone(kind, 2)
    parts = model.inputs(["user", "item", "tags"], ["age", "price"])
    assert list(parts) == [name for name, _ in model.named_children()]
    for part, columns in parts.items():
        layers = getattr(model, part)
        assert len(columns) == len(set(columns)) == (F if part == "pairs" else layers[0].in_features)


def test_a_perceptron_is_linear_norm_relu_dropout_a_layer():
    kinds = [type(layer) for layer in perceptron(3, (5, 4), 1, 0.1, True)]
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert kinds == [*hidden, *hidden, nn.Linear]
    assert [type(layer) for layer in perceptron(3, (), 2, 0.1, True)] == [nn.Linear]


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("rotated", [False, True])
def test_a_model_is_restored_from_its_weights(kind, rotated):
    problem = toy(kind)
    model = problem.model()
    if rotated:
        model.embedder.register_buffer("basis_FDD", torch.randn(3, 6, 6))
    weights = weights_of(model)
    restored = restore(problem.config, weights)
    assert equal_weights(weights_of(restored), weights)
    assert torch.equal(restored(problem.validation), model(problem.validation))


def test_weights_of_another_model_are_refused():
    problem = toy()
    weights = weights_of(problem.model())
    for damaged in (
        {name: tensor for name, tensor in weights.items() if name != "embedder.lookup.weight"},
        {name: tensor for name, tensor in weights.items() if name != "backbone.layers.0.weight"},
        weights | {"backbone.layers.0.weight": torch.zeros(2, 2)},
        weights | {"more": torch.zeros(1)},
        weights | {"embedder.lookup.weight": torch.zeros(9, 3)},
    ):
        with pytest.raises(ValueError, match=r"weight|more"):
            restore(problem.config, damaged)


def test_a_configuration_survives_json():
    config = toy("dlrm").config
    assert ModelConfig.from_json(config.to_json()) == config


def test_initial_values_depend_on_the_seed_alone():
    def fresh(seed):
        torch.manual_seed(seed)
        return weights_of(build(toy().config, 20, init_std=0.01))

    assert equal_weights(fresh(1), fresh(1))
    assert not equal_weights(fresh(1), fresh(2))
    assert float(fresh(1)["embedder.lookup.weight"].std()) == pytest.approx(0.01, rel=0.2)


def test_the_full_width_table_is_found_behind_a_mask_and_not_behind_a_packed_table():
    model = toy().model()
    table = model.embedding
    model.embedder.lookup = MaskedEmbedding(table, torch.zeros(len(table.weight)))
    assert model.embedding is table
    with pytest.raises(TypeError, match="no full-width table"):
        _ = CTRModel(model.config, nn.Identity()).embedding
