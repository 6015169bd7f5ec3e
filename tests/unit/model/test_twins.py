"""The layer against the equations of its docstring, one value at a time, in plain Python."""

import math

import pytest
import torch
from torch import nn

from amtl import AdaptivelyMaskedTwins as Public
from amtl.model.frequency import group_by_frequency_and_energy
from amtl.model.twins import AdaptivelyMaskedTwins, FieldwiseMLP, OrderedTwins

D = 5
COUNTS = torch.tensor([900, 70, 70, 12, 5, 1, 0, 40, 3, 3, 1, 0, 0])
FIELDS = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])


def layer(kind=AdaptivelyMaskedTwins, seed=0, dim=D, **arguments):
    """Twins over two fields whose sizes differ from value to value."""
    torch.manual_seed(seed)
    arguments = {"hidden": (7, 4), "groups": 8, "full_bias": 0.0, **arguments}
    twins = kind(COUNTS, dim, FIELDS, **arguments)
    with torch.no_grad():
        for weight in twins.parameters():
            weight.mul_(3)
    return twins


def features(value):
    """log1p(count) over the largest, z-score in the field, rank percentile: of one value, by hand."""
    counts = [int(COUNTS[i]) for i in range(len(COUNTS)) if FIELDS[i] == FIELDS[value]]
    logs = [math.log1p(count) for count in counts]
    own = math.log1p(int(COUNTS[value]))
    mean = sum(logs) / len(logs)
    std = math.sqrt(sum((log - mean) ** 2 for log in logs) / len(logs))
    below, ties = sum(log < own for log in logs), sum(log == own for log in logs)
    return [own / math.log1p(int(COUNTS.max())), (own - mean) / std, (below + (ties + 1) / 2) / len(logs)]


def perceptron(mlp: FieldwiseMLP, field, inputs):
    """One field's MLP, number by number."""
    for depth, (weight, bias) in enumerate(zip(mlp.weights, mlp.biases, strict=True)):
        inputs = [max(0.0, x) for x in inputs] if depth else inputs
        columns = weight[field].T.tolist()
        inputs = [
            b + sum(x * w for x, w in zip(inputs, column, strict=True)) for b, column in zip(bias[field, 0].tolist(), columns, strict=True)
        ]
    return inputs


def blend(twins, value):
    """alpha * hAML(s) + (1 - alpha) * lAML(s)."""
    s, field = features(value), int(FIELDS[value])
    alpha = 1 / (1 + math.exp(-s[1]))
    pairs = zip(perceptron(twins.high, field, s), perceptron(twins.low, field, s), strict=True)
    return [alpha * high + (1 - alpha) * low for high, low in pairs]


def softmax(logits, temperature):
    powers = [math.exp(logit / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]


def size_of(twins, value):
    chances = softmax(blend(twins, value), twins.temperature)
    return chances.index(max(chances)) + 1


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_forward_is_the_equations_value_by_value(temperature):
    twins = layer(temperature=temperature)
    vectors = torch.randn(len(COUNTS), D)
    expected = [[float(x) if j < size_of(twins, i) else 0.0 for j, x in enumerate(vectors[i])] for i in range(len(COUNTS))]
    assert len({size_of(twins, i) for i in range(len(COUNTS))}) > 2
    torch.testing.assert_close(twins(vectors, torch.arange(len(COUNTS))), torch.tensor(expected), rtol=0, atol=0)


def test_choices_are_the_softmax_of_the_blend():
    twins = layer(temperature=0.7)
    chosen = twins.choices_GO()[twins.group_V]
    for value in range(len(COUNTS)):
        torch.testing.assert_close(chosen[value].tolist(), softmax(blend(twins, value), 0.7), rtol=1e-4, atol=1e-6)


def test_ids_of_any_shape_and_order_are_looked_up():
    twins, vectors = layer(), torch.randn(len(COUNTS), D)
    whole, ids = twins(vectors, torch.arange(len(COUNTS))), torch.tensor([[12, 0, 0], [3, 7, 1]])
    assert torch.equal(twins(vectors[ids], ids), whole[ids])
    assert twins(torch.zeros(0, D), torch.zeros(0, dtype=torch.int64)).shape == (0, D)


def test_the_straight_through_gradient_is_the_cumulative_saliency():
    """dL / d that[j] = sum over p <= j of e[p] dL / d ehat[p], summed over the lookups of a group."""
    twins, ids = layer(), torch.tensor([0, 5, 5, 9, 8])
    vectors, wanted = torch.randn(5, D), torch.randn(5, D)
    soft_GO = twins.choices_GO()
    twins.choices_GO = lambda: soft_GO
    soft_GO.retain_grad()
    (twins(vectors, ids) * wanted).sum().backward()
    expected = torch.zeros_like(soft_GO)
    for lookup, value in enumerate(ids):
        for j in range(D):
            expected[twins.group_V[value], j] += sum(vectors[lookup, p] * wanted[lookup, p] for p in range(j + 1))
    torch.testing.assert_close(soft_GO.grad, expected)


def test_gradients_reach_the_twins_through_the_softmax_and_the_vectors_through_the_mask():
    twins, ids = layer(), torch.arange(len(COUNTS))
    vectors, wanted = torch.randn(len(COUNTS), D, requires_grad=True), torch.randn(len(COUNTS), D)
    parameters = list(twins.parameters())
    (twins(vectors, ids) * wanted).sum().backward()
    kept = torch.arange(D) < twins.sizes().unsqueeze(1)
    torch.testing.assert_close(vectors.grad, wanted * kept, rtol=0, atol=0)
    saliency = (vectors.detach() * wanted).cumsum(1)
    soft = (twins.choices_GO()[twins.group_V] * saliency).sum()
    for found, expected in zip([weight.grad for weight in parameters], torch.autograd.grad(soft, parameters), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [AdaptivelyMaskedTwins, OrderedTwins])
@pytest.mark.parametrize("grad", [True, False])
def test_every_mask_is_ones_then_zeros_bit_by_bit(kind, grad):
    for seed in range(20):
        twins = layer(kind, seed, dim=16, temperature=0.1 + seed)
        with torch.set_grad_enabled(grad):
            masks = twins.masks_GD()
        sizes = twins.group_sizes()
        assert torch.equal(masks, (torch.arange(16) < sizes.unsqueeze(1)).float())
        assert masks.requires_grad is grad


def test_masks_are_exact_in_bf16():
    twins = layer(dim=16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        masks = twins.masks_GD()
    assert set(masks.flatten().tolist()) == {0.0, 1.0}
    assert (masks.diff(dim=1) <= 0).all()


def test_sizes_agree_with_masks():
    twins = layer()
    assert torch.equal(twins.masks_GD().sum(1)[twins.group_V].long(), twins.sizes())
    assert twins.sizes().dtype == torch.int64
    assert twins.sizes().shape == COUNTS.shape


@pytest.mark.parametrize("dim", [2, 16, 64])
def test_training_starts_at_full_size(dim):
    counts = (1e6 / torch.arange(1, 3000) ** 1.05).long()
    for seed in range(5):
        torch.manual_seed(seed)
        assert (AdaptivelyMaskedTwins(counts, dim).sizes() == dim).all()


def test_the_ordered_head_starts_near_full_size():
    torch.manual_seed(0)
    sizes = OrderedTwins((1e6 / torch.arange(1, 3000) ** 1.05).long(), 64).sizes()
    assert sizes.min() > 0.9 * 64


def test_weights_and_buffers_survive_a_round_trip():
    twins, other = layer(seed=1), layer(seed=2)
    assert not torch.equal(twins.sizes(), other.sizes())
    other.load_state_dict(twins.state_dict())
    vectors, ids = torch.randn(len(COUNTS), D), torch.arange(len(COUNTS))
    assert torch.equal(twins(vectors, ids), other(vectors, ids))
    assert all(tensor.is_contiguous() for tensor in twins.state_dict().values())


@pytest.mark.parametrize(
    ("counts", "arguments", "message"),
    [
        (torch.tensor([]), {}, "counts"),
        (torch.tensor([1, -1]), {}, "counts"),
        (torch.tensor([1]), {"temperature": 0.0}, "temperature"),
        (torch.tensor([1]), {"temperature": -1.0}, "temperature"),
    ],
)
def test_impossible_arguments_are_refused(counts, arguments, message):
    with pytest.raises(ValueError, match=message):
        AdaptivelyMaskedTwins(counts, 4, **arguments)


def test_the_docstring_s_lines_run_behind_anyone_s_embedding_and_train():
    torch.manual_seed(0)
    counts = torch.tensor([1000, 500, 200, 50, 10, 5, 2, 1])
    embedding = nn.Embedding(len(counts), 8)
    twins = Public(counts, dim=8, hidden=(16,))
    ids, target = torch.arange(8).repeat(4), torch.randn(8, 8).repeat(4, 1)
    optimizer = torch.optim.Adam([*embedding.parameters(), *twins.parameters()], lr=0.02)
    at_start, losses = twins.sizes(), []
    for step in range(250):
        loss = (twins(embedding(ids), ids) - target).square().mean()
        penalty = twins.expected_share() if step >= 100 else 0.0
        optimizer.zero_grad()
        (loss + penalty).backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[99] < 0.5 * losses[0]
    assert (at_start == 8).all()
    assert twins.sizes().sum() < 0.8 * at_start.sum()


def test_twins_share_no_weights():
    twins = layer()
    assert not set(map(id, twins.high.parameters())) & set(map(id, twins.low.parameters()))


def test_a_single_aml_is_one_mlp_without_alpha():
    torch.manual_seed(0)
    counts = torch.tensor([50, 9, 9, 1])
    single = AdaptivelyMaskedTwins(counts, 4, hidden=(3,), single=True)
    assert {name.partition(".")[0] for name, _ in single.named_parameters()} == {"high"}
    assert torch.equal(single.logits_GO(), single.high(single.features_FNS)[0])
    single.masks_GD().sum().backward()
    assert all(weight.grad is not None for weight in single.parameters())


def test_ordered_logits_are_a_bump_around_the_wanted_size():
    twins = layer(OrderedTwins, dim=32)
    for value in range(len(COUNTS)):
        (q,) = blend(twins, value)
        wanted, sigma = 32 / (1 + math.exp(-q)), 2.0
        expected = [-((t - wanted) ** 2) / (2 * sigma**2) for t in range(33)]
        torch.testing.assert_close(twins.logits_GO()[twins.group_V[value]].tolist(), expected, rtol=1e-3, atol=1e-4)
        assert int(twins.sizes()[value]) == round(wanted)


def test_ordered_sizes_reach_from_nothing_to_everything():
    twins = layer(OrderedTwins, hidden=())
    for bias, size in ((-30.0, 0), (30.0, D)):
        with torch.no_grad():
            for twin in (twins.high, twins.low):
                twin.biases[-1].fill_(bias)
                twin.weights[-1].zero_()
        assert (twins.sizes() == size).all()
        assert torch.equal(twins.masks_GD(), torch.full_like(twins.masks_GD(), float(size == D)))


@pytest.mark.parametrize("kind", [AdaptivelyMaskedTwins, OrderedTwins])
def test_expected_share_is_the_mean_expected_size(kind):
    twins = layer(kind)
    first = 1 if kind is AdaptivelyMaskedTwins else 0
    chosen = twins.choices_GO()[twins.group_V]
    expected = sum((first + t) * chance for value in chosen.tolist() for t, chance in enumerate(value)) / (len(COUNTS) * D)
    assert twins.expected_share().item() == pytest.approx(expected, rel=1e-5)
    assert twins.expected_share().requires_grad


def test_ready_groups_take_the_place_of_frequency():
    grouped = group_by_frequency_and_energy(COUNTS, FIELDS, torch.rand(len(COUNTS), 2), 2, 3)
    twins = OrderedTwins(COUNTS, D, FIELDS, grouped=grouped)
    assert torch.equal(twins.group_V, grouped.group_V)
    assert twins.masks_GD().shape == (2 * 2 * 3, D)
    assert torch.equal(twins.features_FNS.flatten(0, 1), grouped.features_GS)
    assert torch.equal(twins.alpha_FN1.flatten(), grouped.alpha_G)
