"""Backbones against loops; the model around them built, stored and restored."""

import pytest
import torch
from torch import nn
from toy import equal_weights, toy

from amtl.model.backbones import DLRMBackbone, MLPBackbone, Shape, perceptron
from amtl.model.ctr_model import CTRModel, ModelConfig, build, restore, weights_of
from amtl.model.masked_embedding import MaskedEmbedding

B, F, D = 5, 3, 4


def inputs(numbers):
    torch.manual_seed(1)
    return torch.randn(B, F, D), torch.randn(B, numbers)


@pytest.mark.parametrize("numbers", [0, 2])
def test_the_mlp_reads_field_vectors_and_numbers_side_by_side(numbers):
    torch.manual_seed(0)
    backbone, (vectors, given) = MLPBackbone(Shape(D, F, numbers, (6,), 0.0, False)), inputs(numbers)
    first, last = backbone.layers[0], backbone.layers[-1]
    for event, logit in enumerate(backbone(vectors, given)):
        row = torch.cat([vectors[event, 0], vectors[event, 1], vectors[event, 2], given[event]])
        expected = last.weight[0] @ torch.relu(first.weight @ row + first.bias) + last.bias[0]
        torch.testing.assert_close(logit, expected)


@pytest.mark.parametrize("numbers", [0, 2])
def test_the_dlrm_reads_vectors_and_the_dots_of_all_pairs(numbers):
    torch.manual_seed(0)
    backbone, (vectors, given) = DLRMBackbone(Shape(D, F, numbers, (6,), 0.0, False)), inputs(numbers)
    for event, logit in enumerate(backbone(vectors, given)):
        bottom = [backbone.bottom(given[event : event + 1])[0]] if numbers else []
        rows = [*bottom, *vectors[event]]
        dots = [rows[i] @ rows[j] for i in range(len(rows)) for j in range(i + 1, len(rows))]
        expected = backbone.top(torch.cat([*rows, torch.stack(dots)]).unsqueeze(0))[0, 0]
        torch.testing.assert_close(logit, expected)


def test_one_field_alone_has_no_pairs():
    assert DLRMBackbone(Shape(D, 1, 0, (6,), 0.0, False))(torch.randn(B, 1, D), torch.zeros(B, 0)).shape == (B,)


def test_the_mlp_absorbs_a_rotation_and_the_dlrm_does_not():
    (vectors, given), basis = inputs(2), torch.linalg.qr(torch.randn(F, D, D))[0]
    backbone = MLPBackbone(Shape(D, F, 2, (6,), 0.0, False))
    before = backbone(torch.einsum("bfd,fde->bfe", vectors, basis), given)
    assert backbone.absorb(basis)
    torch.testing.assert_close(backbone(vectors, given), before, rtol=1e-5, atol=1e-6)
    dlrm = DLRMBackbone(Shape(D, F, 2, (6,), 0.0, False))
    before = dlrm(vectors, given)
    assert not dlrm.absorb(basis)
    assert torch.equal(dlrm(vectors, given), before)


def test_a_perceptron_is_linear_norm_relu_dropout_a_layer():
    kinds = [type(layer) for layer in perceptron(3, (5, 4), 1, 0.1, True)]
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert kinds == [*hidden, *hidden, nn.Linear]
    assert [type(layer) for layer in perceptron(3, (), 2, 0.1, True)] == [nn.Linear]


@pytest.mark.parametrize("backbone", ["mlp", "dlrm"])
@pytest.mark.parametrize("rotated", [False, True])
def test_a_model_is_restored_from_its_weights(backbone, rotated):
    problem = toy(backbone)
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
