"""Plain layers in integers: weights and biases at power-of-two scales, accumulators sized for the worst case."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from predfuse.arrays import FloatArray, Int16Array, Int64Array
from predfuse.errors import InputError
from predfuse.graph.nodes import Activation, Add, Concat, Conv, Linear, Pool, Shape
from predfuse.integer.nodes import IntegerAdd, IntegerConcat, IntegerConv, IntegerPool
from predfuse.integer.options import CompileOptions
from predfuse.integer.widths import FRACTION_LIMIT, add_bits, conv_bits, highest, pool_bits, pool_counts

COARSEST_SHIFT = 32
"""Weights need no finer scale than one where the accumulator has this many bits below the output: a rounding error of
a weight then stays below ``2**-17`` of an output step, whatever the input."""
BIAS_LIMIT = 2.0**62


def weight_exponents(largest: FloatArray, bits: int) -> Int64Array:
    """The largest power of two per channel at which ``rint(largest * 2**e)`` fits ``bits`` with sign; 0 for 0.

    Args:
        largest: ``[O]`` largest magnitudes.
        bits: With sign.
    """
    fraction, exponent = np.frexp(largest)
    chosen = bits - 1 - exponent
    too_large = np.rint(np.ldexp(fraction, bits - 1)) > (1 << (bits - 1)) - 1
    return np.where(largest == 0, 0, chosen - too_large).astype(np.int64)


def quantise_weights(weight: FloatArray, exponents: Int64Array) -> Int16Array:
    """``rint(weight * 2**exponents)`` as int16, exponents along the first axis."""
    spread = (-1, *[1] * (weight.ndim - 1))
    return np.rint(np.ldexp(weight, exponents.reshape(spread))).astype(np.int16)


@dataclass(frozen=True)
class Rounding:
    """How a layer treats the half steps that rounding down leaves behind.

    A tensor that a predictor reads is rounded down, not to nearest: rounding down twice, to a word and then to the
    predictor's steps, is rounding down once, so that the predictor sees what it would see of the unrounded value. Such
    an integer stands for ``(integer + 1/2) * 2**-fraction_bits`` in the mean, which the layers reading it allow for.
    Both are constants that go into biases.

    Attributes:
        input_half: The input was rounded down.
        down: The output is rounded down.
    """

    input_half: bool = False
    down: bool = False


NEAREST = Rounding()


def quantise_bias(name: str, bias: FloatArray, exponents: Int64Array, offset: FloatArray | float = 0.0) -> Int64Array:
    """``rint(bias * 2**exponents + offset)`` as int64.

    Raises:
        InputError: Beyond 62 bits.
    """
    scaled = np.rint(np.ldexp(bias, exponents) + offset)
    if np.abs(scaled).max() >= BIAS_LIMIT:
        what = f"bias {np.abs(bias).max():.3g} overflows its accumulator"
        raise InputError(f"layer {name}", what, "rescale the layer or use fewer weight bits")
    return scaled.astype(np.int64)


def require_accumulator(name: str, needed: int, options: CompileOptions) -> int:
    """``needed`` bits, if the hardware has them.

    Raises:
        InputError: It has not.
    """
    if needed > options.accumulator_bits:
        what = f"needs a {needed}-bit accumulator, has {options.accumulator_bits}"
        raise InputError(f"layer {name}", what, "use fewer weight bits or a wider accumulator")
    return needed


def require_fraction_bits(name: str, bits: int) -> int:
    """``bits``, if a program allows that scale.

    Raises:
        InputError: It does not.
    """
    if abs(bits) > FRACTION_LIMIT:
        what = f"needs a scale of 2**{-bits}, outside 2**-{FRACTION_LIMIT}..2**{FRACTION_LIMIT}"
        raise InputError(f"layer {name}", what, "rescale the weights around it")
    return bits


def fraction_bits_for(name: str, largest: float, margin: float = 1.0, bits: int = 16) -> int:
    """Fraction bits of the finest scale at which ``largest * margin`` fits ``bits`` with sign; one less for 0.

    Raises:
        InputError: The exponent lies outside what a program allows.
    """
    return require_fraction_bits(name, finest_fraction_bits(largest, margin, bits))


def finest_fraction_bits(largest: float, margin: float, bits: int) -> int:
    """As :func:`fraction_bits_for`, of any size."""
    if largest == 0:
        return bits - 1
    fraction, exponent = math.frexp(largest * margin)  # fraction in [1/2, 1)
    return bits - 1 - exponent - (math.ldexp(fraction, bits - 1) > highest(bits))


def ceiling_of(activation: Activation, fraction_bits: int) -> int:
    """ReLU6's 6 in units of the output; at most 2**31, which no word reaches; 0 for other activations."""
    return min(round(math.ldexp(6, fraction_bits)), 1 << 31) if activation == "relu6" else 0


def quantise_conv(
    conv: Conv, input_bits: int, output_bits: int, options: CompileOptions, rounding: Rounding = NEAREST
) -> IntegerConv:
    """A plain convolution in integers.

    Args:
        conv: Floating weights.
        input_bits: Fraction bits of its input.
        output_bits: Fraction bits its output should have; fewer where the accumulator does not resolve them.
        options: Widths.
        rounding: How its input and output are rounded.

    Raises:
        InputError: The accumulator does not fit.
    """
    weight, bias = conv.weight.astype(np.float64), conv.bias.astype(np.float64)
    exponents = weight_exponents(np.abs(weight).max(axis=(1, 2, 3)), options.weight_bits)
    silent = ~weight.any(axis=(1, 2, 3))
    resolved = np.where(silent, output_bits, input_bits + exponents)
    output_bits = require_fraction_bits(conv.name, min(output_bits, int(resolved.min())))
    exponents = np.where(
        silent, output_bits - input_bits, np.minimum(exponents, output_bits - input_bits + COARSEST_SHIFT)
    )
    shift = (input_bits + exponents - output_bits).astype(np.int8)
    integers = quantise_weights(weight, exponents)
    halves = integers.reshape(len(integers), -1).sum(axis=1, dtype=np.int64) / 2 if rounding.input_half else 0.0
    offset = halves - (np.ldexp(0.5, shift) if rounding.down else 0.0)
    integer_bias = quantise_bias(conv.name, bias, input_bits + exponents, offset)
    needed = conv_bits(integers, integer_bias, shift, options.bits)
    return IntegerConv(
        name=conv.name,
        bits=options.bits,
        inputs=conv.inputs,
        fraction_bits=output_bits,
        weight=integers,
        bias=integer_bias,
        shift=shift,
        accumulator_bits=require_accumulator(conv.name, needed, options),
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        groups=conv.groups,
        activation=conv.activation,
        ceiling=ceiling_of(conv.activation, output_bits),
    )


def quantise_linear(
    node: Linear, shape: Shape, input_bits: int, output_bits: int, options: CompileOptions
) -> IntegerConv:
    """A fully connected layer as a convolution whose window is its whole input ``shape``."""
    weight = node.weight.reshape(-1, *shape)
    conv = Conv(name=node.name, inputs=node.inputs, weight=weight, bias=node.bias, activation=node.activation)
    return quantise_conv(conv, input_bits, output_bits, options)


def quantise_pool(node: Pool, shape: Shape, input_bits: int, output_bits: int, options: CompileOptions) -> IntegerPool:
    """Pooling in integers: averages multiply by the inverse of the window's pixel count.

    Args:
        node: The pooling.
        shape: ``(C, H, W)`` of its input.
        input_bits: Fraction bits of its input.
        output_bits: Fraction bits averages should have; maxima keep those of the input.
        options: Widths.
    """
    counts = pool_counts(shape, node.kernel, node.stride, node.padding, node.count_padding)
    if node.kind == "max":
        output_bits = input_bits
        exponents = np.zeros_like(counts)
        multiplier = np.ones(counts.shape, np.int16)
    else:
        exponents = weight_exponents((1 / counts).ravel(), options.weight_bits).reshape(counts.shape)
        output_bits = require_fraction_bits(node.name, min(output_bits, input_bits + int(exponents.min())))
        exponents = np.minimum(exponents, output_bits - input_bits + COARSEST_SHIFT)
        multiplier = np.rint(np.ldexp(1 / counts, exponents)).astype(np.int16)
        if multiplier.min() < 1:
            what = f"averages {int(counts.max())} pixels into a much finer scale"
            raise InputError(f"layer {node.name}", what, "use more weight bits")
    shift = (input_bits + exponents - output_bits).astype(np.int8)
    pixels = 1 if node.kind == "max" else node.kernel**2 or shape[1] * shape[2]
    needed = pool_bits(multiplier, pixels, shift, options.bits)
    return IntegerPool(
        name=node.name,
        bits=options.bits,
        inputs=node.inputs,
        fraction_bits=output_bits,
        kind=node.kind,
        kernel=node.kernel,
        stride=node.stride,
        padding=node.padding,
        multiplier=multiplier,
        shift=shift,
        accumulator_bits=require_accumulator(node.name, needed, options),
    )


def quantise_add(node: Add, input_bits: list[int], output_bits: int, options: CompileOptions) -> IntegerAdd:
    """A sum in integers: all inputs shifted left, exactly, to the finest scale, then rounded to the output's."""
    finest = max(*input_bits, output_bits)
    align = [finest - bits for bits in input_bits]
    needed = require_accumulator(node.name, add_bits(align, finest - output_bits, options.bits), options)
    return IntegerAdd(
        name=node.name,
        bits=options.bits,
        inputs=node.inputs,
        fraction_bits=output_bits,
        align=np.array(align, np.int8),
        shift=finest - output_bits,
        accumulator_bits=needed,
        activation=node.activation,
        ceiling=ceiling_of(node.activation, output_bits),
    )


def quantise_concat(node: Concat, input_bits: list[int], bits: int) -> IntegerConcat:
    """A concatenation in integers, at the coarsest scale of its inputs."""
    coarsest = min(input_bits)
    shifts = [bits - coarsest for bits in input_bits]
    return IntegerConcat(node.name, node.inputs, coarsest, np.array(shifts, np.int8), bits=bits)
