"""Masks: the state of every activation of a block, from the true signs or from the integer predictor.

A mask is an int8 array ``[M, H, W]`` of states: ``OFF`` (the activation gives 0), ``ON`` (it passes its input) and
``SATURATED`` (it gives its ceiling, 6 for ReLU6). Outside the image every state is ``OFF``; masks do not store that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from predfuse.arrays import Array, FloatArray, Int8Array, Int64Array, Item
from predfuse.errors import InputError
from predfuse.fusion import layers
from predfuse.graph.nodes import Activation, Bottleneck, Predictor

OFF, ON, SATURATED = 0, 1, 2
RELU6_CEILING = 6.0


def true_mask(pre_activation: FloatArray, activation: Activation) -> Int8Array:
    """States the activation really takes, int8 of the same shape.

    ``linear`` is always on; ``relu`` is on above 0; ``relu6`` is saturated from 6 on.

    Args:
        pre_activation: The activation's input, of any shape.
        activation: Which activation.

    Source: docs/explanation/arithmetic.md, Masks.
    """
    if activation == "linear":
        return np.ones(pre_activation.shape, np.int8)
    states: Int8Array = np.greater(pre_activation, 0).view(np.int8)
    if activation == "relu6":
        states += np.greater_equal(pre_activation, RELU6_CEILING).view(np.int8)
    return states


def apply_mask(values: npt.NDArray[Item], mask: Int8Array) -> npt.NDArray[Item]:
    """``values``, of any shape, where on, 0 where off, 6 where saturated.

    Source: docs/explanation/arithmetic.md, Masks.
    """
    zero = values.dtype.type(0)
    passed = np.where(mask == ON, values, zero)
    saturated = mask == SATURATED
    return np.where(saturated, values.dtype.type(RELU6_CEILING), passed) if saturated.any() else passed


def quantise_input(predictor: Predictor, x: Array, fraction_bits: int | None = None) -> Int64Array:
    """The predictor's view of a block's input: ``clamp(floor(x / 2**input_exponent), input_min, input_max)``, int64.

    Args:
        predictor: The block's predictor.
        x: Input of the block, any shape: floats, or integers that stand for ``x * 2**-fraction_bits``.
        fraction_bits: Bits right of the point, required for integers.

    Raises:
        InputError: ``x`` holds NaN, or integers without ``fraction_bits``.

    Source: docs/explanation/arithmetic.md, Predictor.
    """
    if x.dtype.kind == "f":
        scaled = np.floor(np.ldexp(x, -predictor.input_exponent))
        if np.isnan(scaled).any():
            raise InputError("predictor input", "holds NaN", "check the images and the weights")
        return np.clip(scaled, predictor.input_min, predictor.input_max).astype(np.int64)
    if fraction_bits is None:
        raise InputError("predictor input", "integers without a scale", "give fraction_bits")
    shift = predictor.input_exponent + fraction_bits
    # Values beyond the clamp stay beyond it, so limiting them first keeps a left shift from overflowing.
    limit = max(-predictor.input_min, predictor.input_max) + 1
    integers = x.astype(np.int64)
    if shift >= 0:
        shifted = np.right_shift(integers, shift)
    else:
        shifted = np.left_shift(np.clip(integers, -limit, limit), min(-shift, 32))
    return np.clip(shifted, predictor.input_min, predictor.input_max)


def predict_masks(block: Bottleneck, x: Array, fraction_bits: int | None = None) -> tuple[Int8Array, Int8Array]:
    """Both masks of a block from its integer predictor; a ``linear`` activation is always on.

    All arithmetic is exact: it runs in floating point only below 2**24 (float32) or 2**53, where every integer is
    representable.

    Args:
        block: A block with a predictor.
        x: ``[C, H, W]`` floats, or integers that stand for ``x * 2**-fraction_bits``.
        fraction_bits: Bits right of the point, required for integers.

    Returns:
        ``mask1 [M, H, W]`` and ``mask2 [M, P, Q]``, int8, states ``OFF`` and ``ON``.

    Raises:
        InputError: The block has no predictor, or the input is unusable.

    Source: docs/explanation/arithmetic.md, Predictor.
    """
    score1, score2 = predictor_scores(block, x, fraction_bits)
    mask1, mask2 = (score1 > 0).view(np.int8), (score2 > 0).view(np.int8)
    if block.expand_activation == "linear":
        mask1 = np.ones_like(mask1)
    if block.depthwise_activation == "linear":
        mask2 = np.ones_like(mask2)
    return mask1, mask2


def predictor_scores(block: Bottleneck, x: Array, fraction_bits: int | None = None) -> tuple[FloatArray, FloatArray]:
    """The predictor's integer scores of both stages, on where above 0; ``fraction_bits``: bits right of the point.

    Returns:
        ``[M, H, W]`` and ``[M, P, Q]``, whole numbers held in a floating type wide enough for them.

    Raises:
        InputError: The block has no predictor, or the input is unusable.

    Source: docs/explanation/arithmetic.md, Predictor.
    """
    predictor = block.predictor
    if predictor is None:
        raise InputError(f"layer {block.name}", "has no predictor", "train one, or run it with true masks")
    dtype: type[Any] = exact_type(predictor)
    quantised = quantise_input(predictor, x, fraction_bits).astype(dtype)
    score1 = layers.pointwise(quantised, predictor.expand.astype(dtype), block.groups)
    score1 += predictor.expand_offset.astype(dtype)[:, None, None]
    hidden = np.floor(score1 * np.ldexp(dtype(1), -predictor.shift.astype(np.int64))[:, None, None].astype(dtype))
    hidden = np.clip(hidden, 0, predictor.hidden_max).astype(dtype)
    score2 = layers.depthwise(
        hidden, predictor.depthwise.astype(dtype), predictor.depthwise_offset.astype(dtype), block.stride, block.padding
    )
    return score1, score2


def exact_type(predictor: Predictor) -> type[np.float32] | type[np.float64]:
    """The narrowest floating type that holds every integer of the predictor exactly.

    Source: docs/explanation/arithmetic.md, Predictor.
    """
    reach = max(-predictor.input_min, predictor.input_max)
    first = np.abs(predictor.expand.astype(np.int64)).sum(axis=1).max() * reach
    second = np.abs(predictor.depthwise.astype(np.int64)).sum(axis=(1, 2)).max() * predictor.hidden_max
    offsets = max(np.abs(a.astype(np.int64)).max() for a in (predictor.expand_offset, predictor.depthwise_offset))
    return np.float32 if max(first, second) + offsets < 2**24 else np.float64
