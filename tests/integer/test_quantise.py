"""Scales, weights, biases and widths of plain layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st
from strategies import SEEDS

from predfuse.errors import InputError
from predfuse.graph.nodes import INPUT, Add, Concat, Conv, Pool
from predfuse.integer.arithmetic import round_half_up, saturate
from predfuse.integer.options import CompileOptions
from predfuse.integer.quantise import (
    fraction_bits_for,
    quantise_add,
    quantise_concat,
    quantise_conv,
    quantise_pool,
    weight_exponents,
)

WIDE = CompileOptions(accumulator_bits=63)


@given(st.integers(-(2**40), 2**40), st.integers(0, 45))
def test_rounding_shift_is_half_up(value: int, shift: int) -> None:
    expected = math.floor(value / 2**shift + 0.5) if abs(value) < 2**30 else (value + (1 << shift >> 1)) >> shift
    assert round_half_up(np.array([value]), shift)[0] == expected


def test_rounding_of_halves() -> None:
    np.testing.assert_array_equal(round_half_up(np.array([-3, -2, -1, 0, 1, 2, 3]), 1), [-1, -1, 0, 0, 1, 1, 2])


def test_saturation_counts_what_does_not_fit() -> None:
    for highest, bits in ((32767, 16), (127, 8)):
        limited, count = saturate(np.array([-highest - 2, -highest - 1, 0, highest, highest + 1, 10**12]), bits)
        np.testing.assert_array_equal(limited, [-highest - 1, -highest - 1, 0, highest, highest, highest])
        assert limited.dtype == np.int16 and count == 3


@given(st.floats(1e-15, 1e15), st.sampled_from((1.0, 1.5)), st.sampled_from((8, 16)))
def test_scale_is_the_finest_that_fits(largest: float, margin: float, width: int) -> None:
    bits, highest = fraction_bits_for("a", largest, margin, width), 2 ** (width - 1) - 1
    assert largest * margin * 2.0**bits <= highest < largest * margin * 2.0 ** (bits + 1)


def test_scale_out_of_range_is_refused() -> None:
    for largest in (1e30, 1e-30):
        with pytest.raises(InputError, match=r"layer a: needs a scale of 2\*\*"):
            fraction_bits_for("a", largest)


@given(st.floats(1e-20, 1e20), st.integers(2, 16))
def test_weight_exponent_is_the_finest_that_fits(largest: float, bits: int) -> None:
    exponent = int(weight_exponents(np.array([largest]), bits)[0])
    limit = 2 ** (bits - 1) - 1
    assert np.rint(np.ldexp(largest, exponent)) <= limit < np.rint(np.ldexp(largest, exponent + 1))


@given(SEEDS, st.integers(2, 16), st.integers(-8, 16), st.integers(-20, 24))
def test_convolution_stands_for_its_float_weights(seed: int, bits: int, input_bits: int, output_bits: int) -> None:
    """Weight and bias times their scales are the float ones to half a step, whatever the sizes of the channels."""
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.integers(-4, 3, (3, 1, 1, 1)) * (rng.random((3, 1, 1, 1)) < 0.8)
    conv = Conv("c", (INPUT,), rng.normal(size=(3, 2, 3, 3)) * sizes, rng.normal(size=3))
    layer = quantise_conv(conv, input_bits, output_bits, CompileOptions(weight_bits=bits, accumulator_bits=63))
    assert layer.fraction_bits <= output_bits
    scale = 2.0 ** (layer.fraction_bits + layer.shift.astype(float) - input_bits)  # of the weights
    assert np.abs(layer.weight).max() < 2 ** (bits - 1)
    np.testing.assert_array_less(
        np.abs(layer.weight / scale[:, None, None, None] - conv.weight).max((1, 2, 3)), 0.501 / scale
    )
    bias_scale = scale * 2.0**input_bits
    np.testing.assert_array_less(np.abs(layer.bias / bias_scale - conv.bias), 0.501 / bias_scale)
    # The weights use all their bits, unless the output could not show it.
    largest = np.abs(layer.weight).max((1, 2, 3))
    full = (largest >= 2 ** (bits - 2)) | (layer.shift == 32) | ~conv.weight.any(axis=(1, 2, 3))
    assert full.all()


def test_wide_accumulators_are_refused() -> None:
    conv = Conv("c", (INPUT,), np.ones((1, 4, 3, 3)), np.zeros(1))
    needed = quantise_conv(conv, 12, 10, WIDE).accumulator_bits
    assert quantise_conv(conv, 12, 10, CompileOptions(accumulator_bits=needed)).accumulator_bits == needed
    with pytest.raises(InputError, match=f"layer c: needs a {needed}-bit accumulator, has {needed - 1}"):
        quantise_conv(conv, 12, 10, CompileOptions(accumulator_bits=needed - 1))


def test_bias_beyond_64_bits_is_refused() -> None:
    conv = Conv("c", (INPUT,), np.full((1, 1, 1, 1), 1e-3), np.full(1, 1e18))
    with pytest.raises(InputError, match="overflows its accumulator"):
        quantise_conv(conv, 12, 10, WIDE)


@given(st.lists(st.integers(-10, 20), min_size=2, max_size=4), st.integers(-10, 20))
def test_sums_align_all_inputs_exactly(input_bits: list[int], output_bits: int) -> None:
    names = tuple(f"n{index}" for index in range(len(input_bits)))
    layer = quantise_add(Add("a", names), input_bits, output_bits, WIDE)
    for bits, left in zip(input_bits, layer.align, strict=True):
        assert bits + int(left) - layer.shift == layer.fraction_bits == output_bits
    assert min(*layer.align, layer.shift) == 0


def test_sums_of_scales_too_far_apart_are_refused() -> None:
    with pytest.raises(InputError, match="needs a 77-bit accumulator"):
        quantise_add(Add("a", ("x", "y")), [-30, 30], 0, WIDE)


def test_concatenation_takes_the_coarsest_scale() -> None:
    layer = quantise_concat(Concat("c", ("x", "y", "z")), [5, 3, 9], 16)
    assert layer.fraction_bits == 3
    np.testing.assert_array_equal(layer.shift, [2, 0, 6])


@given(st.integers(1, 5), st.integers(0, 2), st.booleans(), st.sampled_from((8, 16)))
def test_averages_divide_by_the_pixels_they_count(kernel: int, pad: int, count_padding: bool, bits: int) -> None:
    assume(pad < kernel)
    node = Pool("p", (INPUT,), "average", kernel, 1, (pad, 0, 0, pad), count_padding)
    layer = quantise_pool(node, (2, 6, 7), 10, 10, CompileOptions(weight_bits=bits, accumulator_bits=63))
    inverse = layer.multiplier / 2.0**layer.shift
    rows, columns = layer.multiplier.shape
    for i in range(rows):
        for j in range(columns):
            inside = (kernel - max(0, pad - i)) * (kernel - max(0, j + kernel - 7))
            assert inverse[i, j] * (kernel**2 if count_padding else inside) == pytest.approx(1, abs=2.0 ** (1 - bits))


def test_options_are_checked() -> None:
    assert CompileOptions(bits=8) == CompileOptions(bits=8, weight_bits=8, sum_bits=12)
    widths = ({"bits": 12}, {"bits": 8, "weight_bits": 9}, {"weight_bits": 17}, {"sum_bits": 32}, {"sum_bits": 8})
    for options in (*widths, {"margin": 0.5}, {"margin": math.nan}):
        with pytest.raises(InputError):
            CompileOptions(**options)
