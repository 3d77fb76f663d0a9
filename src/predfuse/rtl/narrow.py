"""A predictor's numbers as narrow as the gateware has them: every gate and hidden activation stays what it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from predfuse.arrays import Int8Array, Int32Array, Int64Array
from predfuse.errors import InputError
from predfuse.graph.predictor import Predictor


def narrowed(name: str, predictor: Predictor, channels: Int64Array, score_bits: int) -> Predictor:
    """Some channels of a predictor, in their order, with numbers that fit the scores of a machine.

    A channel whose gate and hidden activation no input changes has them in its offset alone: no weights, and a shift of
    0, or of 1 for a gate that is on with a hidden activation of 0. So has a gate of the second stage that no hidden
    activation changes. Every other gate has a score of 0 or less for some input and one above for another, so that none
    is further from 0 than its sums range; larger scores matter to hidden activations alone, where the shift is large. A
    shift by all bits of a score is as good as one by more.

    Args:
        name: Of the layer.
        predictor: With activations of 4 bits.
        channels: Which, ``[N]``.
        score_bits: Of the first score, with sign.

    Raises:
        InputError: A hidden activation depends on larger scores.

    Source: docs/explanation/rtl.md, What the machine is told.
    """
    expand, taps = predictor.expand[channels], predictor.depthwise.reshape(len(predictor.depthwise), -1)[channels]
    shift = predictor.shift[channels].astype(np.int64)
    least, most = _ends(expand, predictor.input_min, predictor.input_max, predictor.expand_offset[channels])
    low, high = (np.clip(score >> shift, 0, predictor.hidden_max) for score in (least, most))
    fixed = (low == high) & ((least > 0) == (most > 0))
    widest = int(most[~fixed].max(initial=0))
    if widest >= 1 << (score_bits - 1):
        what = f"has a predictor with first scores up to {widest}, the gateware's have {score_bits} bits with sign"
        mend = "use smaller offsets and shifts, or enlarge design.structures.predictor_inputs"
        raise InputError(f"layer {name}", what, mend)
    first = np.where(fixed, np.maximum(high, most > 0), predictor.expand_offset[channels])
    least, most = _ends(taps, 0, predictor.hidden_max, predictor.depthwise_offset[channels])
    settled = (least > 0) == (most > 0)
    second = np.where(settled, most > 0, predictor.depthwise_offset[channels])
    return replace(
        predictor,
        expand=np.where(fixed[:, None], 0, expand).astype(np.int8),
        expand_offset=first.astype(np.int32),
        shift=np.where(fixed, high == 0, np.minimum(shift, score_bits - 1)).astype(np.int8),
        depthwise=np.where(settled[:, None], 0, taps).reshape(-1, *predictor.depthwise.shape[1:]).astype(np.int8),
        depthwise_offset=second.astype(np.int32),
    )


def _ends(weights: Int8Array, least: int, most: int, offset: Int32Array) -> tuple[Int64Array, Int64Array]:
    """The smallest and the largest score of every channel, ``[N]``, of terms from ``least`` to ``most``."""
    terms = weights.astype(np.int64)[:, :, None] * np.array((least, most), np.int64)
    total = offset.astype(np.int64)
    return terms.min(axis=2).sum(axis=1) + total, terms.max(axis=2).sum(axis=1) + total
