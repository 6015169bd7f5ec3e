"""A basis as reflectors: orthonormal whatever the codes, near to what was given, found again from its rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amtl.sizing.reflectors import flat, reflectors, rows_of, stored_numbers, unflat


def orthonormal(dim, seed, kind):
    generator = torch.Generator().manual_seed(seed)
    if kind == "dense":
        return torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))[0]
    return torch.eye(dim, dtype=torch.float64)[torch.randperm(dim, generator=generator)]


bases = st.builds(orthonormal, st.integers(1, 40), st.integers(0, 2**20), st.sampled_from(["dense", "axes"]))


def naive_rows(codes):
    """[I_T 0] H_T ... H_1 by whole matrices."""
    rows, dim = codes.shape
    result = torch.eye(rows, dim, dtype=torch.float64)
    for place in reversed(range(rows)):
        vector = torch.zeros(dim, dtype=torch.float64)
        vector[place], vector[place + 1 :] = 127, codes[place, place + 1 :].double()
        result = result @ (torch.eye(dim, dtype=torch.float64) - 2 * torch.outer(vector, vector) / (vector @ vector))
    return result


@settings(max_examples=60, deadline=None)
@given(bases)
def test_rows_are_those_given_up_to_sign_and_rounding(basis):
    found = rows_of(reflectors(basis))
    nearest = torch.where(((found * basis).sum(1) < 0).unsqueeze(1), -basis, basis)
    assert (found - nearest).norm(dim=1).max() < 0.5 / 127 * 2 * len(basis) ** 0.5 + 0.02


@settings(max_examples=60, deadline=None)
@given(bases)
def test_what_was_written_is_found_again_from_single_precision(basis):
    codes = reflectors(basis)
    assert torch.equal(reflectors(rows_of(codes).float()), codes)


@pytest.mark.parametrize("seed", range(20))
def test_a_row_that_begins_with_zero_is_found_again(seed):
    """Rounding must not take its reflection across zero: its sign would be taken for the other one."""
    made = torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    made[0, 0] = 0.0
    codes = reflectors(torch.linalg.qr(made.T)[0].T)
    assert torch.equal(reflectors(rows_of(codes).float()), codes)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 2**20))
def test_any_codes_are_an_orthonormal_basis_whose_first_rows_need_the_first_codes_alone(dim, rows, seed):
    rows = min(rows, dim)
    codes = torch.randint(-127, 128, (dim, dim), generator=torch.Generator().manual_seed(seed)).triu(1).to(torch.int8)
    whole, kept = rows_of(codes), flat(codes, rows)
    torch.testing.assert_close(whole @ whole.T, torch.eye(dim, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(whole, naive_rows(codes), rtol=0, atol=1e-12)
    assert len(kept) == stored_numbers(torch.tensor(rows), dim) == sum(dim - place - 1 for place in range(rows))
    torch.testing.assert_close(rows_of(unflat(kept, rows, dim)), whole[:rows], rtol=0, atol=1e-12)
