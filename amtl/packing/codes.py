"""Numbers in a few bits: uniform codes with one scale a column, fitted to the least squared error, laid bit by bit.

A code c of b bits stands for (c + 1/2 - 2^(b-1)) * scale: *mid-rise*, symmetric, all 2^b codes in use. Against *mid-tread* (a code
for zero) it has the smaller error on Gaussian, Laplacian, Student-t and two-sided columns: .119 against .149 of the variance at 2
bits, .0380 against .0411 at 3, equal from 5 bits on; only columns of mostly zeros would prefer mid-tread.

Scales are powers of 2^(1/6), one byte each; a scale at most 6% from the best one costs nothing that can be measured. The fit tries
them from the one that reaches the largest number down over eight octaves: clipping a few large numbers often pays.

Shapes: R rows, S columns, X any number of rows, D dimensions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

OCTAVE, LOWEST = 6, -24  # steps of the ladder of scales from 2^-24; the last byte stands for 0
ZERO = 255
TRIES = 8 * OCTAVE
FIT_ROWS = 8192  # rows that a fit looks at, evenly spread

GAUSSIAN_ERROR = (1.0, 0.3634, 0.1188, 0.03744, 0.01154, 0.003495, 0.001041, 0.0003035, 0.00008714)
"""Mean squared error of the best uniform code of 0 to 8 bits for a Gaussian column of variance 1 (Max, 1960)."""


def scale_of(step: Tensor) -> Tensor:
    """The scale that a byte stands for, float32: 2^(step / 6 - 24), and 0 for 255."""
    ladder = torch.exp2(torch.arange(ZERO, dtype=torch.float64) / OCTAVE + LOWEST).float()
    return torch.cat([ladder, torch.zeros(1)])[step.long()]


def fit_scales(numbers_RS: Tensor, bits_S: Tensor) -> Tensor:
    """The steps of the scales with the least squared error, uint8 [S].

    Args:
        numbers_RS: float32, finite; of many rows, some evenly spread ones will do. bits_S: bits of each column's codes.

    Raises:
        ValueError: a number is not finite.
    """
    sample_RS = numbers_RS[every(len(numbers_RS))]
    largest_S = sample_RS.abs().amax(0) if len(sample_RS) else torch.zeros(sample_RS.shape[1])
    _check_finite(largest_S)
    widest_S = torch.ceil((torch.log2(largest_S.double() / (_half(bits_S) - 0.5)) - LOWEST) * OCTAVE).clamp(0, ZERO - 1).to(torch.int64)
    step_TS = (widest_S - torch.arange(TRIES).unsqueeze(1)).clamp(min=0)
    best_S, least_S = torch.full_like(widest_S, ZERO), sample_RS.square().sum(0)
    for step_S, scale_S in zip(step_TS, scale_of(step_TS), strict=True):
        error_S = (nearest(sample_RS, scale_S, bits_S) - sample_RS).square_().sum(0)
        best_S, least_S = torch.where(error_S < least_S, step_S, best_S), torch.minimum(error_S, least_S)
    return best_S.to(torch.uint8)


def every(rows: int) -> slice:
    """The rows that a fit looks at."""
    return slice(None, None, max(1, -(-rows // FIT_ROWS)))


def encode(numbers_RS: Tensor, scale_S: Tensor, bits_S: Tensor) -> Tensor:
    """Codes, uint8 [R, S]; numbers beyond the scale's reach take the outermost code. A scale of 0 takes any code.

    Raises:
        ValueError: a number is not finite.
    """
    _check_finite(numbers_RS)
    half_S = _half(bits_S)
    return _cells(numbers_RS, scale_S, half_S).add_(half_S).to(torch.uint8)


def decode(codes_RS: Tensor, scale_S: Tensor, bits_S: Tensor) -> Tensor:
    """What codes stand for, float32 [R, S]."""
    return (codes_RS + (0.5 - _half(bits_S))) * scale_S


def bit_stream(codes_RS: Tensor, bits_S: Tensor) -> Tensor:
    """Rows laid bit by bit, one after the other, each number's lowest bit first, uint8 [ceil(R * sum(bits) / 8)]."""
    owner_W = torch.repeat_interleave(torch.arange(len(bits_S)), bits_S.long())
    shift_W = torch.arange(len(owner_W)) - (bits_S.long().cumsum(0) - bits_S)[owner_W]
    bits_RW = (codes_RS[:, owner_W] >> shift_W.to(torch.uint8)) & 1
    return torch.from_numpy(np.packbits(bits_RW.numpy().reshape(-1), bitorder="little"))


def quantised(weight_XD: Tensor, bits: int = 8) -> Tensor:
    """What is left of a matrix after codes of so many bits with a scale for each column, float32 [X, D]."""
    weight_XD = weight_XD.detach().float()
    _check_finite(weight_XD)
    bits_D = torch.full((weight_XD.shape[1],), bits)
    scale_D = scale_of(fit_scales(weight_XD.cpu(), bits_D))
    return nearest(weight_XD.cpu(), scale_D, bits_D).to(weight_XD.device)


def quantised_bytes(rows: int, dim: int, bits: int = 8) -> int:
    """Bytes of the codes and scales of such a matrix."""
    return (rows * dim * bits + 7) // 8 + dim


def _check_finite(numbers: Tensor) -> None:
    if not bool(torch.isfinite(numbers).all()):
        raise ValueError("the table holds numbers that are not finite; they cannot be coded")


def nearest(numbers_RS: Tensor, scale_S: Tensor, bits_S: Tensor) -> Tensor:
    """What is left of numbers after coding, without the codes: `decode(encode(...))`."""
    return _cells(numbers_RS, scale_S, _half(bits_S)).add_(0.5).mul_(scale_S)


def _cells(numbers_RS: Tensor, scale_S: Tensor, half_S: Tensor) -> Tensor:
    """In which interval each number lies: code - 2^(b-1), float32 [R, S]."""
    cells_RS = (numbers_RS / scale_S.clamp(min=torch.finfo(torch.float32).tiny)).floor_()
    return torch.clamp(cells_RS, -half_S, half_S - 1, out=cells_RS)


def _half(bits_S: Tensor) -> Tensor:
    """Half the number of codes, float32 [S]."""
    return torch.exp2(bits_S.float() - 1)
