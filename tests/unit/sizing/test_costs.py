"""What cutting costs: against a loop over events, and against finite differences of the true cross-entropy."""

from dataclasses import replace

import pytest
import torch
from toy import equal_weights, toy, with_settings

from amtl.model.ctr_model import weights_of
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.sizing import costs
from amtl.sizing.basis import balanced_basis, rotate
from amtl.sizing.costs import KAPPA, row_costs, sample_effects, tail_energies
from amtl.sizing.levels import size_levels
from amtl.training.loop import predict

CPU = torch.device("cpu")
ALL = 10**9
LEVELS = size_levels(6)


def fields_of(problem):
    return torch.from_numpy(problem.vocabulary.fields_V)


def sampled(problem, model, events, rows=ALL):
    return sample_effects(model, events, fields_of(problem), LEVELS, CPU, rows, seed=0)


def rotated_model(problem, std=0.5):
    """Random weights, stored in a basis where the backbone asks for one."""
    model, field_V = problem.model(std=std).eval(), fields_of(problem)
    curvature = sampled(problem, model, problem.train).curvature_FDD
    rotate(model, balanced_basis(model.embedding.weight.detach(), torch.ones(len(field_V)), field_V, curvature), field_V)
    return model


def looked_up(model, event):
    """Rows, stored vectors, gradients of the logit by each, and p (1 - p) of one event of the toy: two single values and a list."""
    rows = torch.cat([event.ids_BF[0], event.bags[0].rows_M])
    vectors = model.embedding.weight.detach()[rows].requires_grad_()
    pooled = torch.cat([vectors[:2], vectors[2:].mean(0, keepdim=True)]).unsqueeze(0)
    logit = model.backbone(model.embedder.unrotated(pooled), event.numbers_BK)[0]
    (gradient,) = torch.autograd.grad(logit, vectors)
    p = float(torch.sigmoid(logit.detach()))
    return rows.tolist(), vectors.detach().double(), gradient.double(), p * (1 - p)


@pytest.mark.parametrize("backbone", ["mlp", "dlrm"])
def test_effects_are_those_of_a_loop_over_events_and_lists_are_cut_together(backbone):
    problem = toy(backbone)
    model, field_V, events = rotated_model(problem), fields_of(problem), problem.validation.take(torch.arange(60))
    sample = sampled(problem, model, events)
    effect, seen, gram = torch.zeros(problem.vocabulary.rows, 7).double(), [0] * problem.vocabulary.rows, torch.zeros(3, 6, 6).double()
    for index in range(60):
        rows, vectors, gradient, curvature = looked_up(model, events.take(torch.tensor([index])))
        for row, vector, slope in zip(rows, vectors, gradient, strict=True):
            seen[row] += 1
            gram[field_V[row]] += curvature * torch.outer(slope, slope)
            mates = [place for place, other in enumerate(rows) if field_V[other] == field_V[row]]
            for size in range(7):
                own = float(slope[size:] @ vector[size:])
                together = sum(float(gradient[place, size:] @ vectors[place, size:]) for place in mates)
                effect[row, size] += max(0.0, curvature * own * together / 2)
    torch.testing.assert_close(sample.effect_VL1.double(), effect, rtol=1e-3, atol=1e-8)
    assert sample.seen_V.tolist() == seen
    assert sample.events == 60
    lookups = torch.tensor([sum(count for count, own in zip(seen, field_V, strict=True) if own == field) for field in range(3)])
    assert sample.lookups_F.tolist() == lookups.tolist()
    torch.testing.assert_close(sample.curvature_FDD, gram / lookups[:, None, None], rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(sample.noise_FD.double(), gram.diagonal(dim1=1, dim2=2) / lookups[:, None] / 2, rtol=1e-3, atol=1e-9)


def divergence(whole, cut):
    """Mean cross-entropy that predicting `cut` costs where `whole` is true."""
    whole, cut = torch.from_numpy(whole), torch.from_numpy(cut)
    return float((whole * (whole / cut).log() + (1 - whole) * ((1 - whole) / (1 - cut)).log()).mean())


@pytest.mark.parametrize("backbone", ["mlp", "dlrm"])
def test_for_small_cuts_effects_are_the_cross_entropy_between_the_whole_model_and_the_cut_one(backbone):
    problem = toy(backbone)
    model, field_V = rotated_model(problem, std=1e-3).double(), fields_of(problem)
    events = replace(problem.validation, numbers_BK=problem.validation.numbers_BK.double())
    effect_VL1 = sampled(problem, model, events).effect_VL1 / len(events)
    table, whole, rows = model.embedding, predict(model, events, CPU), torch.arange(problem.vocabulary.rows)
    row = int(effect_VL1[field_V == 0][:, 0].argmax())
    for cut in (rows == row, field_V == 0, field_V == 1):  # a row; whole fields, of which an event looks one row up
        for size in range(6):
            model.embedder.lookup = MaskedEmbedding(table, torch.where(cut, size, 6))
            actual = divergence(whole, predict(model, events, CPU))
            assert float(effect_VL1[cut, size].sum()) == pytest.approx(actual, rel=0.03)


def test_the_effects_of_a_list_s_rows_add_up_to_the_effect_of_the_list():
    """Where the parts of a list pull one way; where they pull against each other, a part that helps counts as nothing."""
    problem = toy()
    model, field_V = rotated_model(problem, std=1e-3).double(), fields_of(problem)
    with torch.no_grad():
        model.embedding.weight[field_V == 2] = 1e-3
    events = replace(problem.validation, numbers_BK=problem.validation.numbers_BK.double())
    effect_VL1 = sampled(problem, model, events).effect_VL1 / len(events)
    whole = predict(model, events, CPU)
    model.embedder.lookup = MaskedEmbedding(model.embedding, torch.where(field_V == 2, 0, 6))
    assert float(effect_VL1[field_V == 2, 0].sum()) == pytest.approx(divergence(whole, predict(model, events, CPU)), rel=0.03)


@pytest.mark.parametrize("dim", [1, 6, 19])
def test_tail_energy_is_half_the_curvature_along_what_a_cut_takes_away(dim):
    torch.manual_seed(0)
    root, rows = torch.randn(dim, dim), torch.randn(30, dim)
    energies = tail_energies(rows, root @ root.T, size_levels(dim, most=5))
    for level, size in enumerate(size_levels(dim, most=5).tolist()):
        expected = 0.5 * ((rows[:, size:] @ root[size:]) ** 2).sum(1)
        torch.testing.assert_close(energies[:, level], expected, rtol=1e-4, atol=1e-4)


def test_costs_blend_the_sample_with_the_closed_form_by_how_much_was_seen():
    problem = toy()
    model, field_V = rotated_model(problem), fields_of(problem)
    table, lookups_V = model.embedding.weight.detach(), torch.linspace(0.1, 2, problem.vocabulary.rows)
    sample = sampled(problem, model, problem.validation)
    effect, seen, curvature = sample.effect_VL1.clone(), sample.seen_V.clone(), sample.curvature_FDD
    found = row_costs(sample, table, lookups_V)
    for row in range(problem.vocabulary.rows):
        expected = tail_energies(table[row : row + 1], curvature[field_V[row]].float(), LEVELS)[0]
        blended = lookups_V[row] * (effect[row] + KAPPA * expected) / (seen[row] + KAPPA)
        torch.testing.assert_close(found[row], torch.stack([blended[level:].max() for level in range(7)]))
    assert not found[:, 6].any()
    assert (seen == 0).any(), "a row that the sample did not see must be among them"


def test_costs_do_not_depend_on_how_rows_are_chunked(monkeypatch):
    problem = toy()
    model, lookups_V = rotated_model(problem), torch.ones(problem.vocabulary.rows)
    found = [row_costs(sampled(problem, model, problem.train), model.embedding.weight.detach(), lookups_V)]
    monkeypatch.setattr(costs, "CHUNK_ROWS", 5)
    found.append(row_costs(sampled(problem, model, problem.train), model.embedding.weight.detach(), lookups_V))
    torch.testing.assert_close(*found)


def test_reading_costs_leaves_the_model_as_it_was_and_dropout_is_off():
    problem = with_settings(toy(), train={"dropout": 0.5})
    model = rotated_model(problem).train()
    before = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    first = sampled(problem, model, problem.train)
    again = sampled(problem, model.train(), problem.train)
    assert torch.equal(first.effect_VL1, again.effect_VL1)
    assert torch.equal(first.curvature_FDD, again.curvature_FDD)
    assert equal_weights(weights_of(model), before)
    assert model.embedding.weight.grad is None


def test_no_more_events_are_read_than_allowed(monkeypatch):
    monkeypatch.setattr(costs, "BATCH_EVENTS", 100)
    problem = toy()
    assert sampled(problem, rotated_model(problem), problem.train, rows=250).events == 300
