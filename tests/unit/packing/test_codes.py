"""Codes against a loop, scales against every other scale, and the errors that the choice of codes rests on."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amtl.packing.codes import GAUSSIAN_ERROR, ZERO, bit_stream, decode, encode, fit_scales, quantised, quantised_bytes, scale_of


def columns(rows=4000):
    """One column of each kind."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(rows, 4, generator=generator)
    heavy = normal[:, 1] / (normal[:, 2:].square().mean(1)).sqrt()
    return {"gaussian": normal[:, 0], "heavy": heavy, "uniform": torch.rand(rows, generator=generator) - 0.5}


def error_of(column, step, bits):
    """Mean squared error of a scale, number by number."""
    scale, half = float(scale_of(torch.tensor([step]))), 2 ** (bits - 1)
    cells = np.clip(np.floor(column.numpy() / scale), -half, half - 1) if scale else np.full(len(column), -0.5)
    return float((((cells + 0.5) * scale - column.numpy()) ** 2).mean())


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("kind", ["gaussian", "heavy", "uniform"])
def test_no_other_scale_of_the_ladder_has_a_smaller_error(bits, kind):
    column = columns()[kind]
    step = int(fit_scales(column.unsqueeze(1), torch.tensor([bits])))
    best = min(error_of(column, other, bits) for other in range(256))
    assert error_of(column, step, bits) == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
def test_a_gaussian_column_s_error_is_the_published_one(bits):
    column = columns(8000)["gaussian"].unsqueeze(1)
    error = (quantised(column, bits) - column).square().mean() / column.square().mean()
    assert float(error) == pytest.approx(GAUSSIAN_ERROR[bits], rel=0.12)


def test_mid_rise_beats_mid_tread_where_bits_are_few():
    """What the module says of its choice; the reach of mid-tread is fitted as finely."""
    for kind in ("gaussian", "uniform"):
        column = columns()[kind]
        for bits in (2, 3):
            tread = min(
                float(((column / scale).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * scale - column).square().mean())
                for scale in scale_of(torch.arange(100, 190)).tolist()
            )
            assert float((quantised(column.unsqueeze(1), bits).squeeze() - column).square().mean()) < 0.95 * tread


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=8), st.integers(2, 8), st.integers(0, 255))
def test_codes_are_the_interval_that_a_number_lies_in(numbers, bits, step):
    scale, width = scale_of(torch.tensor([step])), torch.tensor([bits])
    codes = encode(torch.tensor(numbers).unsqueeze(1), scale, width)
    half = 2 ** (bits - 1)
    for number, code, read in zip(numbers, codes.flatten().tolist(), decode(codes, scale, width).flatten().tolist(), strict=True):
        assert 0 <= code < 2 * half
        if step != ZERO:
            assert code == min(max(int(np.floor(np.float32(number) / scale.numpy()[0])) + half, 0), 2 * half - 1)
        assert read == float(np.float32(code + 0.5 - half) * scale.numpy()[0])


def test_a_column_of_zeros_is_read_back_as_zeros_and_tiny_numbers_are_not_worth_a_scale():
    table = torch.tensor([[0.0, 1e-9, -3.0], [0.0, -1e-12, -3.0]])
    for bits in (2, 8):
        found = quantised(table, bits)
        assert not found[:, :2].any()
        torch.testing.assert_close(found[:, 2], table[:, 2], rtol=0.06, atol=0)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused(number):
    with pytest.raises(ValueError, match="finite"):
        fit_scales(torch.tensor([[1.0], [number]]), torch.tensor([4]))


def test_scales_are_a_ladder_with_six_steps_an_octave_and_zero_at_its_end():
    scales = scale_of(torch.arange(256)).double()
    torch.testing.assert_close(scales[6:255] / scales[:249], torch.full((249,), 2.0, dtype=torch.float64), rtol=1e-6, atol=0)
    assert scales[144] == 1
    assert scales[255] == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_bit_stream_is_one_large_number(data):
    bits = data.draw(st.lists(st.integers(2, 8), min_size=0, max_size=5))
    rows = data.draw(st.integers(0, 6))
    codes = [[data.draw(st.integers(0, 2**width - 1)) for width in bits] for _ in range(rows)]
    expected, place = 0, 0
    for row in codes:
        for code, width in zip(row, bits, strict=True):
            expected |= code << place
            place += width
    stream = bit_stream(torch.tensor(codes, dtype=torch.uint8).view(rows, len(bits)), torch.tensor(bits, dtype=torch.int64))
    assert stream.numpy().tobytes() == expected.to_bytes(-(-place // 8), "little")


def test_a_dense_matrix_takes_its_codes_and_a_scale_for_each_column():
    assert quantised_bytes(100, 7) == 707
    assert quantised_bytes(3, 5, bits=3) == 6 + 5
    weight = torch.randn(50, 3, requires_grad=True)
    found = quantised(weight)
    assert not found.requires_grad
    assert ((found - weight).abs() <= weight.abs().amax(0) / 100).all()
