"""The predictor's integers, fast and slow, on floats and on scaled integers."""

from __future__ import annotations

import dataclasses
from typing import Any

import float_reference as reference
import numpy as np
import pytest
from hypothesis import assume, given, strategies as st
from strategies import BlockCase, bottlenecks

from predfuse.errors import InputError
from predfuse.fusion.masks import apply_mask, predict_masks, predictor_scores, quantise_input, true_mask
from predfuse.graph.nodes import Bottleneck, Predictor


@given(bottlenecks(with_predictor=True))
def test_masks_equal_the_reference(case: BlockCase) -> None:
    for x in (case.x * 4, (case.x * 4).astype(np.float32)):
        for got, wanted in zip(predict_masks(case.block, x), reference.predict_masks(case.block, x), strict=True):
            np.testing.assert_array_equal(got, wanted)
            assert got.dtype == np.int8


@given(bottlenecks(with_predictor=True), st.integers(-6, 12))
def test_integer_input_gives_the_masks_of_the_value_it_stands_for(case: BlockCase, fraction_bits: int) -> None:
    integers = np.round(case.x * 2**8).astype(np.int16)
    floats = np.ldexp(integers.astype(np.float64), -fraction_bits)
    from_integers = predict_masks(case.block, integers, fraction_bits)
    from_floats = predict_masks(case.block, floats)
    slow = reference.predict_masks(case.block, integers, fraction_bits)
    for got, wanted, obvious in zip(from_integers, from_floats, slow, strict=True):
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(got, obvious)


@given(bottlenecks(with_predictor=True))
def test_large_offsets_stay_exact(case: BlockCase) -> None:
    """Beyond 2**24 float32 would round; the scores must not."""
    predictor = case.block.predictor
    assert predictor is not None
    assume(predictor.expand.any())
    offset = np.full(case.block.middle_channels, 2**30 + 1, np.int32)
    block = dataclasses.replace(case.block, predictor=dataclasses.replace(predictor, expand_offset=offset))
    score1, _ = predictor_scores(block, case.x)
    quantised = quantise_input(predictor, case.x)
    wanted = reference.convolve(quantised, predictor.expand[:, :, None, None], offset, groups=block.groups)
    np.testing.assert_array_equal(score1.astype(np.int64), wanted)


@pytest.mark.parametrize("shift", [-70, -33, -1, 0, 3, 64, 100])
def test_extreme_scales_saturate_instead_of_overflowing(shift: int) -> None:
    rng = np.random.default_rng(0)
    parts: list[Any] = [rng.integers(0, 1, shape) for shape in ((1, 1), (1,), (1,), (1, 1, 1), (1,))]
    predictor = Predictor(0, *parts)
    values = np.array([-(2**40), -1, 0, 1, 2**40])
    wanted = [max(-8, min(7, (v << -shift) if shift < 0 else v >> shift)) for v in values.tolist()]
    assert quantise_input(predictor, values, shift).tolist() == wanted


def test_states_of_the_three_activations() -> None:
    a = np.array([-1.0, 0.0, 2.0, 6.0, 7.0])
    assert true_mask(a, "linear").tolist() == [1, 1, 1, 1, 1]
    assert true_mask(a, "relu").tolist() == [0, 0, 1, 1, 1]
    assert true_mask(a, "relu6").tolist() == [0, 0, 1, 2, 2]
    assert apply_mask(a, true_mask(a, "relu6")).tolist() == [0, 0, 2, 6, 6]


def test_unusable_inputs_are_refused() -> None:
    rng = np.random.default_rng(0)
    parts: list[Any] = [rng.integers(0, 1, shape) for shape in ((2, 2), (2,), (2,), (2, 1, 1), (2,))]
    predictor = Predictor(0, *parts)
    arrays: list[Any] = [rng.normal(size=shape) for shape in ((2, 2), (2,), (2, 1, 1), (2,), (2, 2), (2,))]
    block = Bottleneck("b1", ("input",), *arrays, padding=(0, 0, 0, 0), predictor=predictor)  # type: ignore[misc]
    with pytest.raises(InputError, match="NaN"):
        predict_masks(block, np.full((2, 3, 3), np.nan))
    with pytest.raises(InputError, match="fraction_bits"):
        predict_masks(block, np.ones((2, 3, 3), np.int16))
    with pytest.raises(InputError, match="no predictor"):
        predict_masks(dataclasses.replace(block, predictor=None), np.ones((2, 3, 3)))
