"""The two operations every integer layer ends with: rounding shift and saturation."""

from __future__ import annotations

import numpy as np

from predfuse.arrays import Int16Array, Int64Array, IntegerArray
from predfuse.graph.nodes import Activation
from predfuse.integer.widths import highest


def round_half_up(values: IntegerArray, shift: IntegerArray | int) -> Int64Array:
    """``floor(values / 2**shift + 1/2)``, exactly, int64; ``shift`` 0 or more, broadcast."""
    wide = np.asarray(values, np.int64)
    bits = np.asarray(shift, np.int64)
    rounded: Int64Array = (wide + ((np.int64(1) << bits) >> 1)) >> bits
    return rounded


def activate(values: Int64Array, activation: Activation, ceiling: int) -> Int64Array:
    """The activation function on integers; ``ceiling`` is where ReLU6 ends."""
    if activation == "linear":
        return values
    positive: Int64Array = np.maximum(values, 0)
    return np.minimum(positive, ceiling) if activation == "relu6" else positive


def saturate(values: Int64Array, bits: int) -> tuple[Int16Array, int]:
    """``values`` limited to ``bits`` with sign, 16 at most, and how many did not fit."""
    limited = np.clip(values, -highest(bits) - 1, highest(bits)).astype(np.int16)
    return limited, int(np.count_nonzero(limited != values))
