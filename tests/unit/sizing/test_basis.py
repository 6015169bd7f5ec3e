"""The basis per field: orthonormal, ordered by what matters, and back again without a change of predictions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import toy, with_settings

from amtl.sizing.basis import CODES, balanced_basis, curvature_FDD, rotate, tail_energies

CPU = torch.device("cpu")
ONE_FIELD = np.zeros(40, dtype=np.int64)


def random_problem(seed, rows, dim, rank_table, rank_curvature):
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(rows, rank_table, generator=generator) @ torch.randn(rank_table, dim, generator=generator)
    root = torch.randn(dim, rank_curvature, generator=generator, dtype=torch.float64)
    return table, (root @ root.T).unsqueeze(0)


def basis_of(table, curvature, weight=None):
    weight = np.ones(len(table)) if weight is None else weight
    return balanced_basis(table, weight, np.zeros(len(table), dtype=np.int64), curvature)[0]


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
    assert aligned(basis_of(table, isotropic, np.array([1, 1]))[:, 0], torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert aligned(basis_of(table, isotropic, np.array([100, 1]))[:, 0], torch.tensor([1.0, 0.0], dtype=torch.float64))


def test_fields_do_not_mix():
    torch.manual_seed(0)
    table, curvature = torch.randn(40, 4), torch.stack([torch.eye(4, dtype=torch.float64)] * 2)
    field = np.arange(40) % 2
    both = balanced_basis(table, np.ones(40), field, curvature)
    for own in range(2):
        torch.testing.assert_close(both[own], basis_of(table[torch.from_numpy(field == own)], curvature[:1]))


@pytest.mark.parametrize("backbone", ["mlp", "dlrm"])
def test_curvature_is_the_mean_of_p_times_one_minus_p_times_the_gradient_s_square(backbone):
    problem, model = toy(backbone), toy(backbone).model().eval()
    found = curvature_FDD(model, problem.validation, CPU, 10**9, seed=0)
    expected = torch.zeros_like(found)
    for index in range(len(problem.validation)):
        event = problem.validation.take(torch.tensor([index]))
        vectors = model.embedder(event).detach().requires_grad_()
        logit = model.backbone(vectors, event.numbers_BK)[0]
        (gradient,) = torch.autograd.grad(logit, vectors)
        p = float(torch.sigmoid(logit.detach()))
        for field, own in enumerate(gradient[0].double()):
            expected[field] += p * (1 - p) * torch.outer(own, own) / len(problem.validation)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)


def test_curvature_is_the_same_every_time_for_dropout_is_off():
    problem = with_settings(toy(), train={"dropout": 0.5})
    model = problem.model().train()
    assert torch.equal(*(curvature_FDD(model, problem.train, CPU, 10**9, seed=0) for _ in range(2)))


def rotated(problem, model):
    shown, field_V = problem.vocabulary.exposures_V(0.1, len(problem.train)), problem.vocabulary.fields_V
    curvature = curvature_FDD(model, problem.train, CPU, 10**9, seed=0)
    read = rotate(model, balanced_basis(model.embedding.weight.detach(), shown, field_V, curvature), field_V)
    return curvature, read


@pytest.mark.parametrize(("backbone", "dim", "tolerance"), [("mlp", 6, 1e-5), ("mlp", 24, 1e-5), ("dlrm", 6, 1e-5), ("dlrm", 24, 3e-3)])
def test_predictions_at_full_size_do_not_change(backbone, dim, tolerance):
    """Exact up to rounding; but where R is stored in int8 a field of fewer rows than D keeps fewer dimensions, and is not."""
    problem, model = toy(backbone, dim=dim), toy(backbone, dim=dim).model().eval()
    before, stored = torch.sigmoid(model(problem.validation)).detach(), model.embedding.weight.detach().clone()
    rotated(problem, model)
    assert not torch.allclose(model.embedding.weight, stored, atol=0.1)
    torch.testing.assert_close(torch.sigmoid(model(problem.validation)).detach(), before, rtol=0, atol=tolerance)


@pytest.mark.parametrize("backbone", ["mlp", "dlrm"])
def test_rows_come_back_as_z_times_r_and_are_zero_beyond_their_field_s_rank(backbone):
    problem, model = toy(backbone, dim=24), toy(backbone, dim=24).model()
    before = model.embedding.weight.detach().double().clone()
    _, read = rotated(problem, model)
    for field, rows in enumerate(problem.vocabulary.sizes.values()):
        members = torch.from_numpy(problem.vocabulary.fields_V == field)
        stored = model.embedding.weight.detach()[members].double()
        tolerance = 1e-5 if rows >= 24 or backbone == "mlp" else 0.03
        torch.testing.assert_close(stored @ read[field], before[members], rtol=0, atol=tolerance)
        assert not stored[:, rows:].any()


def test_the_dlrm_s_basis_is_what_int8_codes_give_back_exactly():
    problem, model = toy("dlrm"), toy("dlrm").model()
    _, read = rotated(problem, model)
    codes = (model.embedder.basis_FDD.double() * CODES).round()
    assert codes.abs().max() <= 127
    assert torch.equal((codes / CODES).float(), model.embedder.basis_FDD)
    assert torch.equal(model.embedder.basis_FDD, read.float())


def test_the_mlp_keeps_no_basis():
    problem, model = toy(), toy().model()
    rotated(problem, model)
    assert model.embedder.basis_FDD is None


@pytest.mark.parametrize("backbone", ["mlp", "dlrm"])
def test_tail_energy_is_half_the_curvature_along_what_a_cut_takes_away(backbone):
    problem, model = toy(backbone, dim=16), toy(backbone, dim=16).model()
    curvature, read = rotated(problem, model)
    stored = model.embedding.weight.detach()
    energies = tail_energies(stored, curvature, read, problem.vocabulary.fields_V)
    assert energies.shape == (problem.vocabulary.rows, 4)
    for row, field in enumerate(problem.vocabulary.fields_V):
        for column, cut in enumerate([0, 2, 4, 8]):
            lost = sum(stored[row, j].double() * read[field, j] for j in range(cut, 16))
            assert float(energies[row, column]) == pytest.approx(float(0.5 * lost @ curvature[field] @ lost), rel=1e-3, abs=1e-7)
