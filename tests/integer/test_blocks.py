"""Fused blocks: factors, widths, and the block's float arithmetic on the same masks."""

from __future__ import annotations

import dataclasses

import float_reference as reference
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from integer.block_cases import EXACT, INPUT_BITS, NARROW, compiled, example_block, integer_input, worst_case
from strategies import BlockCase, bottlenecks

from predfuse.arrays import Float64Array, Int8Array
from predfuse.errors import InputError
from predfuse.fusion.weights import SparseLists
from predfuse.integer.blocks import quantise_block
from predfuse.integer.fused_weights import fused_lists, list_widths
from predfuse.integer.options import CompileOptions
from predfuse.integer.program import FusedBlock, Program
from predfuse.integer.reference import run_image


@given(bottlenecks(with_predictor=True), st.sampled_from((EXACT, NARROW)))
@settings(max_examples=80)
def test_integers_stand_for_the_float_block(case: BlockCase, options: CompileOptions) -> None:
    """On the masks of the integer machine, the float block with the same input gives the same output to 2**-11 of its
    worst case (8 bits: 2**-3) and two steps."""
    bits = options.bits
    assume(case.block.predictor is None or case.block.predictor.input_exponent + INPUT_BITS + bits - 16 >= 0)
    layer = compiled(case, options)
    image = integer_input(case, bits)
    table, scale = np.zeros((image.shape[0], 256), np.int16), INPUT_BITS + bits - 16
    record = run_image(Program("p", image.shape, scale, table, (layer,), bits=bits), image)
    assert record.saturations[layer.name] == 0
    expected = reference.masked_block(case.block, image / 2.0**scale, *record.masks[layer.name])
    step = 2.0**-layer.fraction_bits
    error = worst_case(case).max() * (2**-11 if bits == 16 else 2**-3)
    np.testing.assert_allclose(record.values[layer.name] * step, expected, rtol=0, atol=2 * step + error)


@given(bottlenecks(with_predictor=True), st.integers(2, 16), st.integers(0, 15))
@settings(max_examples=80)
def test_lists_fit_the_widths_asked_for(case: BlockCase, weight_bits: int, more: int) -> None:
    options = CompileOptions(weight_bits=weight_bits, sum_bits=weight_bits + more, accumulator_bits=63)
    layer = compiled(case, options)
    assert layer.weight_bits <= weight_bits and layer.sum_bits <= weight_bits + more
    lists = fused_lists(layer)
    for part in (lists.weights, lists.expand_bias, lists.depthwise_bias):
        assert np.abs(part.value).max(initial=0) < 2 ** (weight_bits - 1)
        for row in range(part.rows):
            values = part.value[part.indptr[row] : part.indptr[row + 1]]
            assert max(values[values > 0].sum(), -values[values < 0].sum()) < 2 ** (layer.sum_bits - 1)
    assert list_widths(lists, layer).accumulator_bits == layer.accumulator_bits


@given(bottlenecks(with_predictor=True))
@settings(max_examples=60)
def test_lists_are_the_rounded_products_of_the_factors(case: BlockCase) -> None:
    layer = compiled(case)
    lists = fused_lists(layer)
    middles, outputs, taps = layer.middle_channels // layer.groups, layer.out_channels // layer.groups, layer.kernel**2

    def rounded(value: int, shift: int) -> int:
        return (value + (1 << shift >> 1)) >> shift

    def row(part: SparseLists, index: int) -> dict[int, int]:
        entries = range(part.indptr[index], part.indptr[index + 1])
        return {int(part.channel[e]): int(part.value[e]) for e in entries}

    for o in range(layer.out_channels):
        group = o // outputs
        depthwise_bias = {}
        for k in range(taps):
            expand_bias = {}
            fused: list[dict[int, int]] = [{} for _ in range(layer.group_channels)]
            for local in range(middles):
                m = group * middles + local
                project, tap = int(layer.project[o, local]), int(layer.depthwise[m].ravel()[k])
                bias = rounded(project * int(layer.expand_bias[m]), 15) * tap
                expand_bias[m] = rounded(bias, int(layer.expand_bias_shift[o]))
                depthwise_bias[m] = rounded(project * int(layer.depthwise_bias[m]), int(layer.depthwise_bias_shift[o]))
                for c in range(layer.group_channels):
                    product = rounded(project * int(layer.expand[m, c]), 15) * tap
                    fused[c][m] = rounded(product, int(layer.weight_shift[o]))
            assert row(lists.expand_bias, o * taps + k) == {m: v for m, v in expand_bias.items() if v}
            for c in range(layer.group_channels):
                index = (o * layer.group_channels + c) * taps + k
                assert row(lists.weights, index) == {m: v for m, v in fused[c].items() if v}
        assert row(lists.depthwise_bias, o) == {m: v for m, v in depthwise_bias.items() if v}


@given(bottlenecks(with_predictor=True))
@settings(max_examples=40)
def test_lists_serve_the_fused_convolution(case: BlockCase) -> None:
    """Biases shifted by their exponents, the lists are fused weights like any other."""
    layer = compiled(case)
    image = integer_input(case)
    table = np.zeros((image.shape[0], 256), np.int16)
    record = run_image(Program("p", image.shape, INPUT_BITS, table, (layer,)), image)
    lists = fused_lists(layer)
    aligned = dataclasses.replace(
        lists,
        expand_bias=_shifted(lists.expand_bias, layer.expand_bias_exponent),
        depthwise_bias=_shifted(lists.depthwise_bias, layer.depthwise_bias_exponent),
    )
    accumulator = reference.fused_convolution_reference(aligned, image.astype(np.int64), *record.masks[layer.name])
    shift = layer.shift.astype(np.int64)[:, None, None]
    y = np.clip((accumulator + (1 << shift >> 1)) >> shift, -32768, 32767)
    y = reference.shuffle(y, layer.shuffle_groups)
    if not layer.residual:
        np.testing.assert_array_equal(record.values[layer.name], y)


def _shifted(lists: SparseLists, exponent: Int8Array) -> SparseLists:
    outputs = lists.row_of_entries() // (lists.rows // len(exponent))
    return dataclasses.replace(lists, value=lists.value << exponent[outputs].astype(np.int64))


@given(bottlenecks(with_predictor=True, residual=True), st.integers(-3, 9))
@settings(max_examples=60)
def test_residual_is_aligned_in_both_directions(case: BlockCase, finer: int) -> None:
    """An output finer or coarser than the input by up to many bits adds the input at its true size."""
    layer = compiled(case, output_bits=INPUT_BITS + finer)
    image = (integer_input(case) >> 4).astype(np.int16)
    table = np.zeros((image.shape[0], 256), np.int16)

    def values(block: FusedBlock) -> tuple[Float64Array, int]:
        record = run_image(Program("p", image.shape, INPUT_BITS, table, (block,)), image)
        return record.values[block.name].astype(float) * 2.0**-block.fraction_bits, record.saturations[block.name]

    total, saturated = values(layer)
    added, _ = values(dataclasses.replace(layer, residual=False, residual_shift=0))
    assume(not saturated)
    np.testing.assert_allclose(total, added + image * 2.0**-INPUT_BITS, rtol=0, atol=2.0**-layer.fraction_bits / 2)


def test_predictor_finer_than_its_input_is_refused() -> None:
    case = example_block()
    assert case.block.predictor is not None
    predictor = dataclasses.replace(case.block.predictor, input_exponent=-INPUT_BITS - 1)
    block = dataclasses.replace(case.block, predictor=predictor)
    with pytest.raises(InputError, match=r"layer b1: its predictor reads steps of 2\*\*-12, its input has steps of 2"):
        quantise_block(block, INPUT_BITS, 8, EXACT)


def test_missing_predictor_and_narrow_accumulator_are_refused() -> None:
    block = example_block().block
    with pytest.raises(InputError, match="has no predictor"):
        quantise_block(dataclasses.replace(block, predictor=None), INPUT_BITS, 8, EXACT)
    with pytest.raises(InputError, match="-bit accumulator, has 20"):
        quantise_block(block, INPUT_BITS, 8, CompileOptions(accumulator_bits=20))


def test_channels_of_very_different_size_keep_their_precision() -> None:
    """Middle channels a million times smaller than their neighbours, whose project weights make up for it, change
    nothing: their scales cancel in the product."""
    case = example_block()
    sizes = 2.0 ** np.arange(-20, 20, 5)
    block = dataclasses.replace(
        case.block,
        expand_weight=case.block.expand_weight * sizes[:, None],
        expand_bias=case.block.expand_bias * sizes,
        depthwise_bias=case.block.depthwise_bias * sizes,
        project_weight=case.block.project_weight / sizes,
    )
    plain, skewed = compiled(case), compiled(BlockCase(block, case.x))
    image = integer_input(case)
    table = np.zeros((4, 256), np.int16)
    values = [
        run_image(Program("p", image.shape, INPUT_BITS, table, (layer,)), image).values["b1"]
        for layer in (plain, skewed)
    ]
    np.testing.assert_array_equal(values[0], values[1])
    assert plain.fraction_bits == skewed.fraction_bits and values[0].any()


def test_channels_that_contribute_nothing_cost_no_precision() -> None:
    """A middle channel pruned away, however large its project weights, leaves the others' scales alone."""
    case = example_block()
    layers = []
    for size in (0.0, 1e6):
        arrays = {name: getattr(case.block, name).copy() for name in ("expand_weight", "expand_bias", "depthwise_bias")}
        for array in arrays.values():
            array[3] = 0
        project = case.block.project_weight.copy()
        project[:, 3] = size
        block = dataclasses.replace(case.block, **arrays, project_weight=project)
        layers.append(quantise_block(block, INPUT_BITS, 8, EXACT))
    np.testing.assert_array_equal(layers[0].project, layers[1].project)
    np.testing.assert_array_equal(layers[0].shift, layers[1].shift)
