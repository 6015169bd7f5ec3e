"""The basis per field: orthonormal, ordered by what matters, and back again without a change of predictions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import EVENTS, FIELDS, problem_of, toy
from toy import settings as settings_of

from amtl.model.backbones import BACKBONES
from amtl.sizing import costs
from amtl.sizing.basis import balanced_basis, rotate, undo_rotation
from amtl.sizing.costs import sample_effects
from amtl.sizing.reflectors import storable

CPU = torch.device("cpu")
ALL = 10**9


def random_problem(seed, rows, dim, rank_table, rank_curvature):
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(rows, rank_table, generator=generator) @ torch.randn(rank_table, dim, generator=generator)
    root = torch.randn(dim, rank_curvature, generator=generator, dtype=torch.float64)
    return table, (root @ root.T).unsqueeze(0)


def basis_of(table, curvature, weight=None):
    weight = torch.ones(len(table)) if weight is None else weight
    return balanced_basis(table, weight, torch.zeros(len(table), dtype=torch.int64), curvature)[0]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**20), rows=st.integers(1, 20), dim=st.integers(1, 8), ranks=st.tuples(st.integers(0, 8), st.integers(0, 8)))
def test_the_basis_is_orthonormal_whatever_table_and_curvature_span(seed, rows, dim, ranks):
    table, curvature = random_problem(seed, rows, dim, min(ranks[0], dim), min(ranks[1], dim))
    basis = basis_of(table, curvature)
    torch.testing.assert_close(basis.T @ basis, torch.eye(dim, dtype=torch.float64), rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**20), dim=st.integers(2, 8), data=st.data())
def test_a_field_of_few_rows_needs_as_many_dimensions_as_rows(seed, dim, data):
    rows = data.draw(st.integers(1, dim))
    table, curvature = random_problem(seed, rows, dim, dim, dim)
    tail = table.double() @ basis_of(table, curvature)[:, rows:]
    torch.testing.assert_close(tail, torch.zeros_like(tail), rtol=0, atol=1e-5)


def aligned(column, direction):
    return float((column @ direction).abs() / direction.norm()) == pytest.approx(1.0, abs=1e-3)


def test_where_all_directions_matter_alike_the_basis_is_that_of_principal_components():
    torch.manual_seed(0)
    directions, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    table = (torch.randn(4000, 4, dtype=torch.float64) * torch.tensor([1.0, 8.0, 2.0, 4.0], dtype=torch.float64)) @ directions.T
    basis = basis_of(table, torch.eye(4, dtype=torch.float64).unsqueeze(0))
    values, vectors = torch.linalg.eigh(table.T @ table)
    assert values.diff().min() > 0
    for place in range(4):
        assert aligned(basis[:, place], vectors[:, 3 - place])


def test_where_rows_vary_alike_the_directions_that_move_the_logit_come_first():
    torch.manual_seed(0)
    directions, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    weights = torch.tensor([0.5, 0.0, 9.0, 3.0], dtype=torch.float64)
    curvature = (directions * weights) @ directions.T
    table = torch.cat([torch.eye(4, dtype=torch.float64), -torch.eye(4, dtype=torch.float64)])
    basis = basis_of(table, curvature.unsqueeze(0))
    for place, original in enumerate([2, 3, 0, 1]):
        assert aligned(basis[:, place], directions[:, original])


def test_large_energy_that_the_model_ignores_comes_after_small_energy_that_it_reads():
    table = torch.tensor([[100.0, 0.1], [-100.0, -0.1], [100.0, -0.1], [-100.0, 0.1]])
    curvature = torch.tensor([[[1e-9, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    assert aligned(basis_of(table, curvature)[:, 0], torch.tensor([0.0, 1.0], dtype=torch.float64))


def test_rows_count_as_often_as_they_are_looked_up():
    table, isotropic = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.eye(2, dtype=torch.float64).unsqueeze(0)
    assert aligned(basis_of(table, isotropic, torch.tensor([1, 1]))[:, 0], torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert aligned(basis_of(table, isotropic, torch.tensor([100, 1]))[:, 0], torch.tensor([1.0, 0.0], dtype=torch.float64))


def test_fields_do_not_mix_however_rows_are_read():
    torch.manual_seed(0)
    table, curvature = torch.randn(40, 4), torch.stack([torch.eye(4, dtype=torch.float64)] * 2)
    field_V = (torch.arange(40) >= 25).long()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(costs, "CHUNK_ROWS", 7)
        both = balanced_basis(table, torch.ones(40), field_V, curvature)
    for own in range(2):
        torch.testing.assert_close(both[own], basis_of(table[field_V == own], curvature[:1]))


def rotated(problem, model):
    shown_V = torch.from_numpy(problem.vocabulary.exposures_V(0.1, len(problem.train)))
    field_V, ends = torch.from_numpy(problem.vocabulary.fields_V), torch.tensor([0, problem.config.dim])
    curvature = sample_effects(model, problem.train, field_V, ends, CPU, ALL, seed=0).curvature_FDD
    return rotate(model, balanced_basis(model.embedding.weight.detach(), shown_V, field_V, curvature), field_V)


SHAPES = {
    "numbers and lists": {},
    "no numbers": {"events": EVENTS | {"fields": FIELDS[:3]}},
    "no lists": {"events": EVENTS | {"fields": [FIELDS[0], FIELDS[1], FIELDS[3]]}},
    "a field alone": {"events": EVENTS | {"fields": FIELDS[:1]}},
}


@pytest.mark.parametrize("dim", [5, 6, 24], ids=["D odd", "D even", "fields of fewer rows than D"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_predictions_at_full_size_do_not_change(backbone, shape, dim):
    problem = problem_of(settings_of(**SHAPES[shape], train={"backbone": backbone, "dim": dim}), rows=300)
    model = problem.model().eval()
    before, stored = model(problem.validation).detach(), model.embedding.weight.detach().clone()
    rotated(problem, model)
    assert not torch.allclose(model.embedding.weight, stored, atol=0.1)
    torch.testing.assert_close(model(problem.validation).detach(), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_rows_come_back_as_z_times_r_and_fade_beyond_their_field_s_rank(backbone):
    problem, model = toy(backbone, dim=24), toy(backbone, dim=24).model()
    before = model.embedding.weight.detach().double().clone()
    read = rotated(problem, model)
    for field, rows in enumerate(problem.vocabulary.sizes.values()):
        members = torch.from_numpy(problem.vocabulary.fields_V == field)
        stored = model.embedding.weight.detach()[members].double()
        torch.testing.assert_close(stored @ read[field], before[members], rtol=0, atol=1e-5)
        beyond = stored[:, rows:].norm() / before[members].norm()
        assert beyond == 0 if backbone == "mlp" else beyond < 0.02


def test_a_stored_basis_is_what_codes_of_reflectors_give_back():
    problem, model = toy("dlrm"), toy("dlrm").model()
    read = rotated(problem, model)
    assert torch.equal(storable(model.embedder.basis_FDD).float(), model.embedder.basis_FDD)
    torch.testing.assert_close(read @ read.transpose(1, 2), torch.eye(6, dtype=torch.float64).expand(3, -1, -1), rtol=0, atol=1e-12)
    assert torch.equal(model.embedder.basis_FDD, read.float())


def test_the_mlp_keeps_no_basis():
    problem, model = toy(), toy().model()
    rotated(problem, model)
    assert model.embedder.basis_FDD is None


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_rotation_can_be_undone(backbone):
    problem, model = toy(backbone), toy(backbone).model().eval()
    rotated(problem, model)
    before = model(problem.validation).detach()
    undo_rotation(model, torch.from_numpy(problem.vocabulary.fields_V))
    assert model.embedder.basis_FDD is None
    torch.testing.assert_close(model(problem.validation).detach(), before, rtol=1e-4, atol=1e-5)
