"""The integers of one block's ReLU predictor, and the checks that they fit the block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predfuse.arrays import Int8Array, Int32Array, ShortRepr
from predfuse.graph.base import check_array, fault

PREDICTOR_WEIGHTS = (0, 1, 2, 4)
"""Magnitudes of the weights of a predictor that needs no multiplication."""


@dataclass(frozen=True, eq=False, repr=False)
class Predictor(ShortRepr):
    """The multiplication-free ReLU predictor of one block, in integers ("arithmetic: predictor").

        xq = clamp(floor(x / 2**input_exponent), -8, 7)
        t1 = sum_c expand[m,c] xq[c]                    mask1 = t1 + expand_offset[m] > 0
        q1 = clamp((t1 + expand_offset[m]) >> shift[m], 0, 15)
        t2 = sum_k depthwise[m,k] q1[m, s*p+k]          mask2 = t2 + depthwise_offset[m] > 0

    ``x`` is a float feature map; an integer map with scale ``2**-f`` is shifted right by ``input_exponent + f``.
    Outside the image ``q1`` is 0.

    Attributes:
        input_exponent: One power of two per block.
        input_min: Smallest quantised activation (-8 for 4 bits).
        input_max: Largest quantised activation (7 for 4 bits).
        hidden_max: Largest quantised first-stage output (15 for 4 bits).
        expand: ``[M, C/groups]`` int8, the sign of the batch-norm slope folded in: -1, 0 and 1 (ternary), or powers of
            two up to :attr:`largest_weight` too, which cost a shift.
        expand_offset: ``[M]`` int32.
        shift: ``[M]`` int8, 0 or more.
        depthwise: ``[M, k, k]`` int8, likewise.
        depthwise_offset: ``[M]`` int32.

    Source: docs/explanation/arithmetic.md, Predictor.
    """

    input_exponent: int
    expand: Int8Array
    expand_offset: Int32Array
    shift: Int8Array
    depthwise: Int8Array
    depthwise_offset: Int32Array
    input_min: int = -8
    input_max: int = 7
    hidden_max: int = 15

    @property
    def largest_weight(self) -> int:
        """Largest magnitude of its weights: 1 if they are ternary, 2 or 4."""
        return int(max(np.abs(part.astype(np.int64)).max(initial=1) for part in (self.expand, self.depthwise)))

    @property
    def activation_bits(self) -> int:
        """Bits that hold its quantised inputs, with sign, and its first-stage outputs, without."""
        signed = max(int(self.input_max), -int(self.input_min) - 1).bit_length() + 1
        return max(signed, int(self.hidden_max).bit_length())

    def validate(self, name: str, middle: int, group_channels: int, kernel: int) -> None:
        """Check shapes and value ranges against the block the predictor belongs to.

        Args:
            name: The block.
            middle: Its channels inside.
            group_channels: Its input channels per group.
            kernel: Side of its depthwise kernel (pixels).

        Raises:
            InputError: One does not fit.
        """
        check_array(name, "predictor expand", self.expand, (middle, group_channels))
        check_array(name, "predictor depthwise", self.depthwise, (middle, kernel, kernel))
        for label in ("expand_offset", "shift", "depthwise_offset"):
            check_array(name, f"predictor {label}", getattr(self, label), (middle,))
        for label in ("expand", "depthwise", "expand_offset", "shift", "depthwise_offset"):
            if getattr(self, label).dtype.kind != "i":
                raise fault(name, f"predictor {label} is not an integer array", "retrain the predictor")
        for label in ("expand", "depthwise"):
            if not np.isin(np.abs(getattr(self, label).astype(np.int64)), PREDICTOR_WEIGHTS).all():
                what = f"predictor {label} holds other values than 0, 1, 2, 4 and their negatives"
                raise fault(name, what, "retrain the predictor")
        for label in ("input_exponent", "input_min", "input_max", "hidden_max"):
            if not isinstance(getattr(self, label), int | np.integer):
                raise fault(name, f"predictor {label} is not a whole number", "retrain the predictor")
        if self.shift.min() < 0 or self.shift.max() > 31:
            raise fault(name, "predictor shift lies outside 0..31", "retrain the predictor")
        if not (self.input_min <= 0 < self.input_max and self.hidden_max > 0 and abs(self.input_exponent) <= 64):
            raise fault(name, "predictor ranges are unusable", "retrain the predictor")
