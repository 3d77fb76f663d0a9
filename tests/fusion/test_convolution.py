"""Fusion is exact: fused, unfused and ordinary blocks give the same numbers on random blocks."""

from __future__ import annotations

import float_reference as reference
import numpy as np
import pytest
from hypothesis import given, strategies as st
from strategies import SEEDS, BlockCase, bottlenecks, random_masks

from predfuse.arrays import Array
from predfuse.errors import InputError
from predfuse.fusion.convolution import (
    finish_block,
    fused_convolution,
    fused_convolution_unstored,
)
from predfuse.fusion.masks import true_mask
from predfuse.fusion.weights import fuse
from predfuse.graph.nodes import Bottleneck


def _assert_close(got: Array, wanted: Array, scale: float, tolerance: float) -> None:
    """Equal within ``tolerance`` of ``scale``: the largest output, or the largest term summed up to it."""
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= tolerance * scale


def _scale(case: BlockCase) -> float:
    """Size of the terms the block adds up: its output with every sign made positive and every gate open."""
    block = case.block
    a = reference.convolve(
        np.abs(case.x), np.abs(block.expand_weight)[:, :, None, None], np.abs(block.expand_bias), groups=block.groups
    )
    d = np.abs(block.depthwise_weight).sum(axis=(1, 2)) * max(a.max(), 6) + np.abs(block.depthwise_bias)
    terms = np.abs(block.project_weight).sum(axis=1).max() * max(d.max(), 6) + np.abs(block.project_bias).max()
    return float(terms + np.abs(case.x).max())


def _true_masks(block: Bottleneck, x: Array) -> tuple[Array, Array]:
    a = reference.expand(block, x)
    d = reference.depthwise(block, reference.activate(a, block.expand_activation))
    return true_mask(a, block.expand_activation), true_mask(d, block.depthwise_activation)


@given(bottlenecks(), SEEDS)
def test_fused_equals_masked_unfused(case: BlockCase, seed: int) -> None:
    masks = random_masks(np.random.default_rng(seed), case)
    wanted = reference.masked_block(case.block, case.x, *masks)
    _assert_close(reference.fused_block(case.block, case.x, *masks), wanted, np.abs(wanted).max(), 1e-9)
    fused = fused_convolution(fuse(case.block), case.x, *masks)
    _assert_close(finish_block(case.block, fused, case.x), wanted, np.abs(wanted).max(), 1e-9)


@given(bottlenecks())
def test_fused_with_true_masks_equals_ordinary_block(case: BlockCase) -> None:
    block, x = case.block, case.x
    masks = _true_masks(block, x)
    wanted = reference.ordinary_block(block, x)
    scale = np.abs(wanted).max()
    _assert_close(reference.masked_block(block, x, *masks), wanted, scale, 1e-9)
    fused = fuse(block)
    _assert_close(finish_block(block, fused_convolution(fused, x, *masks), x), wanted, scale, 1e-9)
    _assert_close(finish_block(block, fused_convolution_unstored(block, x, *masks), x), wanted, scale, 1e-9)


@given(bottlenecks(activations=st.just("relu6")), SEEDS)
def test_lists_hold_the_fused_weights(case: BlockCase, seed: int) -> None:
    """The reference over the lists equals the formula over the three weight arrays, saturated states included."""
    block, x = case.block, case.x
    masks = random_masks(np.random.default_rng(seed), case)
    got = finish_block(block, reference.fused_convolution_reference(fuse(block), x, *masks), x)
    _assert_close(got, reference.fused_block(block, x, *masks), _scale(case), 1e-12)


@given(bottlenecks(activations=st.just("relu6")), SEEDS)
def test_numba_equals_reference_in_float64(case: BlockCase, seed: int) -> None:
    masks = random_masks(np.random.default_rng(seed), case)
    fused = fuse(case.block)
    wanted = reference.fused_convolution_reference(fused, case.x, *masks)
    _assert_close(fused_convolution(fused, case.x, *masks), wanted, _scale(case), 1e-12)
    _assert_close(fused_convolution_unstored(case.block, case.x, *masks), wanted, _scale(case), 1e-12)


@given(bottlenecks(integer=True, activations=st.just("relu6")), SEEDS, st.integers(1, 500), st.integers(1, 500))
def test_numba_equals_reference_bit_for_bit_in_integers(
    case: BlockCase, seed: int, ceiling1: int, ceiling2: int
) -> None:
    block, x, ceilings = case.block, case.x, (ceiling1, ceiling2)
    masks = random_masks(np.random.default_rng(seed), case)
    fused = fuse(block, ceilings)
    got = fused_convolution(fused, x, *masks)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, reference.fused_convolution_reference(fused, x, *masks))
    finished = finish_block(block, got, x)
    np.testing.assert_array_equal(finished, reference.fused_block(block, x, *masks, ceilings))
    np.testing.assert_array_equal(finished, reference.masked_block(block, x, *masks, ceilings))


def _block(rng: np.random.Generator, **changes: object) -> Bottleneck:
    arguments: dict[str, object] = {
        "name": "b1",
        "inputs": ("input",),
        "expand_weight": rng.normal(size=(6, 2)),
        "expand_bias": rng.normal(size=6),
        "depthwise_weight": rng.normal(size=(6, 3, 3)),
        "depthwise_bias": rng.normal(size=6),
        "project_weight": rng.normal(size=(4, 3)),
        "project_bias": rng.normal(size=4),
        "groups": 2,
    }
    return Bottleneck(**{**arguments, **changes})  # type: ignore[arg-type]


def test_first_stage_shift_stays_inside_the_image() -> None:
    """All gates open on a zero image: only the taps inside the image may add ``expand_bias``."""
    rng = np.random.default_rng(5)
    block = _block(rng)
    x = np.zeros((4, 1, 1))
    ones = np.ones((6, 1, 1), np.int8)
    inner = block.expand_bias * block.depthwise_weight[:, 1, 1] + block.depthwise_bias
    wanted = (
        block.project_bias + np.einsum("gom,gm->go", block.project_weight.reshape(2, 2, 3), inner.reshape(2, 3)).ravel()
    )
    np.testing.assert_allclose(fused_convolution(fuse(block), x, ones, ones)[:, 0, 0], wanted, rtol=1e-12)


def test_padding_wider_than_the_used_image() -> None:
    """With a stride above the image size the last window may end before the image begins."""
    rng = np.random.default_rng(6)
    case = BlockCase(_block(rng, stride=6, padding=(4, 0, 4, 0)), rng.normal(size=(4, 3, 3)))
    masks = random_masks(rng, case)
    fused = fuse(case.block)
    wanted = reference.fused_convolution_reference(fused, case.x, *masks)
    np.testing.assert_allclose(fused_convolution(fused, case.x, *masks), wanted, rtol=1e-12)


def test_arguments_that_do_not_fit_are_refused() -> None:
    rng = np.random.default_rng(7)
    case = BlockCase(_block(rng), rng.normal(size=(4, 5, 5)))
    fused = fuse(case.block)
    mask1, mask2 = random_masks(rng, case)
    with pytest.raises(InputError, match="masks of this block"):
        fused_convolution(fused, case.x, mask1, mask2[:, :3])
    with pytest.raises(InputError, match="masks of this block"):
        fused_convolution(fused, case.x[:2], mask1, mask2)
    with pytest.raises(InputError, match="quantise both or neither"):
        fused_convolution(fused, case.x.astype(np.int64), mask1, mask2)
