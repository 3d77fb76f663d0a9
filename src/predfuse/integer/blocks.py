"""A predicted bottleneck in integers: its factors at power-of-two scales, its fused weights within given widths.

``F = project * depthwise * expand`` is not quantised entry by entry. The three factors are, each middle channel at
scales of its own that cancel in the product, and ``F`` is defined by rounded integer products of them. So a machine
may store ``F`` or make it from far fewer factors, and the result is the same, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from predfuse.arrays import FloatArray, Int32Array, Int64Array, Item, Mask
from predfuse.errors import InputError
from predfuse.fusion.weights import SparseLists
from predfuse.graph.nodes import Bottleneck
from predfuse.integer.arithmetic import round_half_up
from predfuse.integer.fused_weights import (
    Factors,
    Products,
    factor_products,
    list_widths,
    round_lists,
    round_products,
    sum_ranges,
)
from predfuse.integer.options import CompileOptions
from predfuse.integer.program import (
    ACCUMULATOR_LIMIT,
    SHIFT_LIMIT,
    SUM_LIMIT,
    FusedBlock,
)
from predfuse.integer.quantise import (
    COARSEST_SHIFT,
    NEAREST,
    Rounding,
    quantise_bias,
    require_accumulator,
    require_fraction_bits,
    weight_exponents,
)
from predfuse.integer.reachable_gates import without_unreachable_gates
from predfuse.integer.widths import EXTRA_BIAS_BITS, bias_factor_bits, largest_exponent, product_shift

TYPICAL_INPUT = 5
"""Inputs of so many bits less than a word, a sixteenth of its range, are typical where the precision of biases is
weighed."""


@dataclass(frozen=True, eq=False)
class ScaledFactors:
    """Factors with the scales of their products.

    Attributes:
        factors: Integers.
        project_exponent: ``[O]``; the weight products are ``2**(project_exponent - bits + 1)`` times the real ones.
        expand_reach: The products of the expand biases are ``2**expand_reach`` times smaller than those of the weights.
        depthwise_reach: The products of the depthwise biases are ``2**(bits - 1 - depthwise_reach)`` times larger.
    """

    factors: Factors
    project_exponent: Int64Array
    expand_reach: int
    depthwise_reach: int


def scale_factors(block: Bottleneck, input_bits: int, bits: int) -> ScaledFactors:
    """Quantise the factors of a block to ``bits``.

    Middle channel ``m`` of expand and depthwise gets scales that use all bits, and the column ``m`` of project
    their inverse. A channel whose bias exceeds its weights times a typical input gets the scale that suits the bias, so
    that a row of project is as precise for biases as for weights. The biases themselves have 8 bits more and share
    their channel's scale but for one power of two per block.
    """
    expand, depthwise, project = (
        array.astype(np.float64) for array in (block.expand_weight, block.depthwise_weight, block.project_weight)
    )
    expand_bias, depthwise_bias = block.expand_bias.astype(np.float64), block.depthwise_bias.astype(np.float64)
    # A middle channel without a path from the input contributes its depthwise bias only.
    reached = (expand.any(axis=1) | (expand_bias != 0)) & depthwise.any(axis=(1, 2))
    expand, expand_bias = expand * reached[:, None], expand_bias * reached
    depthwise = depthwise * reached[:, None, None]
    typical = bits - TYPICAL_INPUT - input_bits  # a typical input, as a power of two

    largest = np.abs(expand_bias)
    first = weight_exponents(np.abs(expand).max(axis=1), bits)
    first = _bounded(first, weight_exponents(largest, bits) + typical, expand.any(axis=1), largest > 0)
    reach = _reach(first - weight_exponents(largest, bias_factor_bits(bits)), largest > 0)

    largest = np.ldexp(np.abs(depthwise_bias), first - product_shift(bits))
    second = weight_exponents(np.abs(depthwise).max(axis=(1, 2)), bits)
    second = _bounded(second, weight_exponents(largest, bits) + typical, reached, largest > 0)
    inner_reach = product_shift(bits) + _reach(second - weight_exponents(largest, bias_factor_bits(bits)), largest > 0)
    both = first + second

    def by_output(middle: npt.NDArray[Item]) -> npt.NDArray[Item]:
        """Values of the middle channels as those of the columns of project, ``[O, M/groups]``."""
        return np.repeat(middle.reshape(block.groups, -1), block.out_channels // block.groups, axis=0)

    # Channels that contribute nothing have no scale to balance, and must not decide about that of the others.
    balanced = np.ldexp(project, -by_output(both)) * by_output(reached | (depthwise_bias != 0))
    outer = weight_exponents(np.abs(balanced).max(axis=1), bits)

    def integers(values: FloatArray, exponents: Int64Array) -> Int32Array:
        return np.rint(np.ldexp(values, exponents)).astype(np.int32)

    factors = Factors(
        project=integers(balanced, outer[:, None]).astype(np.int16),
        expand=integers(expand, first[:, None]).astype(np.int16),
        expand_bias=integers(expand_bias, first - reach),
        depthwise=integers(depthwise, second[:, None, None]).astype(np.int16),
        depthwise_bias=integers(depthwise_bias, both - inner_reach),
        groups=block.groups,
        bits=bits,
    )
    return ScaledFactors(factors, outer, reach, inner_reach)


def _reach(excess: Int64Array, live: Mask) -> int:
    """Bits by which all biases must be coarser than weights (finer if negative) for the largest one to fit.

    Args:
        excess: ``[M]`` how much finer than its bias allows a channel's scale is.
        live: ``[M]`` channels that have a bias.
    """
    return int(np.max(excess, where=live, initial=-EXTRA_BIAS_BITS))


def _bounded(weights: Int64Array, biases: Int64Array, has_weights: Mask, has_biases: Mask) -> Int64Array:
    """``[M]`` exponents that suit both weights and biases, or the one a channel has; 0 for neither."""
    both: Int64Array = np.where(has_biases, np.minimum(weights, biases), weights)
    return np.where(has_weights, both, np.where(has_biases, biases, 0))


def smallest_shifts(products: SparseLists, start: Int64Array, weight_bits: int, sum_bits: int) -> Int64Array:
    """Smallest right shifts ``[O]``, at least ``start``, at which every entry and every list's sum fits.

    Args:
        products: Lists, the same number for each of the ``O`` output channels.
        start: ``[O]``.
        weight_bits: Of an entry, with sign.
        sum_bits: Of a sum, with sign.
    """
    outputs = len(start)
    shift = start.astype(np.int64)
    per_output = products.rows // outputs
    owner = products.row_of_entries() // per_output
    largest = np.zeros(outputs, np.int64)
    np.maximum.at(largest, owner, np.abs(products.value.astype(np.int64)))
    while True:
        too_wide: Mask = round_half_up(largest, shift) >= 1 << (weight_bits - 1)
        if not too_wide.any():
            break
        shift += too_wide
    while True:
        positive, negative = sum_ranges(round_lists(products, shift))
        sums = np.maximum(positive, negative).reshape(outputs, -1)
        too_wide = np.any(sums >= 1 << (sum_bits - 1), axis=1)
        if not too_wide.any():
            return shift
        shift += too_wide


def quantise_block(
    block: Bottleneck, input_bits: int, output_bits: int, options: CompileOptions, rounding: Rounding = NEAREST
) -> FusedBlock:
    """A predicted block in integers.

    Args:
        block: Floating weights, with a predictor.
        input_bits: Fraction bits of its input.
        output_bits: Fraction bits its output should have; fewer where the accumulator does not resolve them.
        options: Widths.
        rounding: How its input and output are rounded.

    Raises:
        InputError: No predictor, a predictor finer than the input, too many fused weights, or widths that do not fit.
    """
    predictor = block.predictor
    if predictor is None:
        raise InputError(f"layer {block.name}", "has no predictor", "train one, or compile without require_fused")
    predictor_shift = predictor.input_exponent + input_bits
    if not 0 <= predictor_shift <= SHIFT_LIMIT:
        what = f"its predictor reads steps of 2**{predictor.input_exponent}, its input has steps of 2**{-input_bits}"
        raise InputError(f"layer {block.name}", what, "retrain the predictor or rescale the weights before it")
    block = without_unreachable_gates(block)
    if rounding.input_half:
        block = _with_half_steps(block, input_bits)
    scaled = scale_factors(block, input_bits, options.bits)
    products = factor_products(block.name, scaled.factors)
    widths = (options.weight_bits, options.sum_bits)
    start = np.zeros(block.out_channels, np.int64)
    # At shift 0 the accumulator has this many more fraction bits than the input; every shift takes one away.
    resolution = input_bits + scaled.project_exponent - product_shift(options.bits)
    silent: Mask = np.logical_not(scaled.factors.project.any(axis=1))

    weight_shift = smallest_shifts(products.weights, start, *widths)
    expand_shift = smallest_shifts(products.expand_bias, start, *widths)
    depthwise_shift = smallest_shifts(products.depthwise_bias, start, *widths)
    # Exponents of the bias sums are these plus the bias shift minus the weight shift, and must be 0 or more.
    expand_gain = input_bits + scaled.expand_reach
    depthwise_gain = input_bits + scaled.depthwise_reach - product_shift(options.bits)
    has_expand, has_depthwise = _filled(products.expand_bias, silent), _filled(products.depthwise_bias, silent)
    for has, gain, bias_shift in (
        (has_expand, expand_gain, expand_shift),
        (has_depthwise, depthwise_gain, depthwise_shift),
    ):
        needed = gain + bias_shift - largest_exponent(options.bits)
        weight_shift = np.where(has, np.maximum(weight_shift, needed), weight_shift)
    resolved = np.where(silent, output_bits, resolution - weight_shift)
    output_bits = require_fraction_bits(block.name, min(output_bits, int(resolved.min())))
    weight_shift = np.maximum(weight_shift, resolution - output_bits - COARSEST_SHIFT)
    weight_shift = np.where(silent, 0, weight_shift)
    expand_shift = np.where(has_expand, np.maximum(expand_shift, weight_shift - expand_gain), 0)
    depthwise_shift = np.where(has_depthwise, np.maximum(depthwise_shift, weight_shift - depthwise_gain), 0)
    if max(weight_shift.max(), expand_shift.max(), depthwise_shift.max()) > SHIFT_LIMIT:
        raise InputError(f"layer {block.name}", "its weights and biases differ too much in size", "rescale the block")

    accumulator_scale = np.where(silent, output_bits, resolution - weight_shift)
    shift = accumulator_scale - output_bits
    layer = FusedBlock(
        bits=options.bits,
        name=block.name,
        inputs=block.inputs,
        fraction_bits=output_bits,
        expand=scaled.factors.expand,
        expand_bias=scaled.factors.expand_bias,
        depthwise=scaled.factors.depthwise,
        depthwise_bias=scaled.factors.depthwise_bias,
        project=scaled.factors.project,
        weight_shift=weight_shift.astype(np.int8),
        expand_bias_shift=expand_shift.astype(np.int8),
        depthwise_bias_shift=depthwise_shift.astype(np.int8),
        expand_bias_exponent=np.where(has_expand, expand_gain + expand_shift - weight_shift, 0).astype(np.int8),
        depthwise_bias_exponent=np.where(has_depthwise, depthwise_gain + depthwise_shift - weight_shift, 0).astype(
            np.int8
        ),
        output_bias=quantise_bias(
            block.name,
            block.project_bias.astype(np.float64),
            accumulator_scale,
            np.ldexp(_half_steps(block, input_bits - output_bits, rounding), shift),
        ),
        shift=shift.astype(np.int8),
        weight_bits=options.weight_bits,
        sum_bits=SUM_LIMIT,
        accumulator_bits=ACCUMULATOR_LIMIT,
        predictor=predictor,
        predictor_shift=predictor_shift,
        expand_gated=block.expand_activation != "linear",
        depthwise_gated=block.depthwise_activation != "linear",
        stride=block.stride,
        padding=block.padding,
        groups=block.groups,
        shuffle_groups=block.shuffle_groups,
        residual=block.residual,
        residual_shift=input_bits - output_bits if block.residual else 0,
    )
    return _size(layer, products, options)


def _with_half_steps(block: Bottleneck, input_bits: int) -> Bottleneck:
    """The block for an input that is half a step larger than its integers say.

    Only channels that have an expand bias anyway allow for it: a bias that was trained away stays away.
    """
    halves = block.expand_weight.sum(axis=1) * 2.0 ** (-input_bits - 1)
    return replace(block, expand_bias=block.expand_bias + np.where(block.expand_bias != 0, halves, 0))


def _half_steps(block: Bottleneck, residual_shift: int, rounding: Rounding) -> float:
    """What is added to the output before the residual, in steps of the output.

    The half step of the residual's input is added where it is not lost in the alignment: shifting right by rounding
    to nearest adds it by itself.
    """
    residual = 2.0 ** (-residual_shift - 1) if block.residual and rounding.input_half and residual_shift <= 0 else 0.0
    return residual - (0.5 if rounding.down else 0.0)


def _filled(lists: SparseLists, silent: Mask) -> Mask:
    """``[O]`` bool: whether an output channel has entries in these lists."""
    return (np.diff(lists.indptr).reshape(len(silent), -1) > 0).any(axis=1) & ~silent


def _size(layer: FusedBlock, products: Products, options: CompileOptions) -> FusedBlock:
    """The layer with the widths its lists really need."""
    needed = list_widths(round_products(layer, products), layer)
    return replace(
        layer,
        weight_bits=needed.weight_bits,
        sum_bits=needed.sum_bits,
        accumulator_bits=require_accumulator(layer.name, needed.accumulator_bits, options),
    )
