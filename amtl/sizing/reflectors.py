"""A stored basis as int8 codes of reflectors: the fewest numbers that an orthonormal basis can be written in.

The rows r_1 ... r_D of an orthonormal matrix are taken to the axes one after the other by Householder reflections
H_j = I - 2 v_j v_j' / v_j' v_j, where v_j is 0 before entry j (Golub and Van Loan, Matrix Computations, section 5.1). The first t rows
need the first t reflectors alone: R_t = [I_t 0] H_t ... H_1. The scale of v_j is free and its entry j can be made the largest by the
sign of the row, which is free too; with that entry fixed, row j is D - j numbers in [-1, 1], and t rows are t D - t (t + 1) / 2 bytes,
where the rows themselves would be t D. Whatever the codes, the matrix is orthonormal: its inverse is its transpose.

Shapes: F fields, D dimensions, T rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

CODES = 127


def reflectors(basis_DD: Tensor) -> Tensor:
    """Codes of the reflectors of an orthonormal matrix whose rows may change sign, int8 [D, D], zero on and below the diagonal.

    Each reflector is rounded before the next is found, so errors do not add up. `rows_of` the result have this same result.
    """
    rest_DD, dim = basis_DD.double().clone(), len(basis_DD)
    codes_DD = torch.zeros(dim, dim, dtype=torch.int8)
    for place in range(dim):
        row = rest_DD[place, place:] / rest_DD[place, place:].norm().clamp(min=1e-30)
        row = -row if row[0] > 0 else row
        tail = -row[1:] / (1 - row[0])
        codes = (tail * CODES).round()
        if codes.square().sum() >= CODES**2:
            codes = (tail * (CODES - 1)).trunc()  # the reflected row's first entry stays negative: its sign is found again
        codes_DD[place, place + 1 :] = codes.to(torch.int8)
        rest_DD[place + 1 :, place:] = _reflected(rest_DD[place + 1 :, place:], codes)
    return codes_DD


def rows_of(codes_TD: Tensor) -> Tensor:
    """The first T rows of the orthonormal matrix that the codes of T reflectors stand for, float64 [T, D]."""
    rows_TD = torch.eye(*codes_TD.shape, dtype=torch.float64)
    for place in range(len(codes_TD) - 1, -1, -1):
        rows_TD[:, place:] = _reflected(rows_TD[:, place:], codes_TD[place, place + 1 :].double())
    return rows_TD


def _reflected(rows_TX: Tensor, codes: Tensor) -> Tensor:
    """Rows times H, of which v = (CODES, codes)."""
    vector = torch.cat([codes.new_full((1,), CODES), codes])
    return rows_TX - torch.outer(rows_TX @ vector, vector) * (2 / vector.square().sum())


def storable(basis_FDD: Tensor) -> Tensor:
    """Orthonormal matrices as codes give them back, rows of either sign, float64 [F, D, D]."""
    return torch.stack([rows_of(reflectors(basis_DD)) for basis_DD in basis_FDD])


def stored_numbers(rows: Tensor, dim: int) -> Tensor:
    """How many codes the reflectors of the first rows of a basis are, rows and result alike in shape."""
    return rows * dim - rows * (rows + 1) // 2


def flat(codes_DD: Tensor, rows: int) -> Tensor:
    """The codes of the first reflectors one after the other, int8 [`stored_numbers`]."""
    return codes_DD[:rows][_above_diagonal(rows, len(codes_DD))]


def unflat(codes_N: Tensor, rows: int, dim: int) -> Tensor:
    """The inverse of `flat`, int8 [rows, D].

    Raises:
        RuntimeError: there are not as many codes as that.
    """
    above_TD = _above_diagonal(rows, dim)
    if len(codes_N) != int(above_TD.sum()):
        raise RuntimeError(f"{rows} rows of a basis of {dim} dimensions do not have {len(codes_N)} codes")
    return torch.zeros(rows, dim, dtype=torch.int8).masked_scatter_(above_TD, codes_N)


def _above_diagonal(rows: int, dim: int) -> Tensor:
    return torch.ones(rows, dim, dtype=torch.bool).triu(1)
