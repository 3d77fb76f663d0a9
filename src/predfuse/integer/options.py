"""What a user can choose when compiling."""

from __future__ import annotations

import math
from dataclasses import dataclass

from predfuse.errors import InputError
from predfuse.integer.program import ACCUMULATOR_LIMIT, SUM_LIMIT
from predfuse.integer.widths import WORD_WIDTHS

COMPILE_IMAGES = 32
"""Images of a trained run that the scales of its program are chosen on, in a comparison or a search."""


@dataclass(frozen=True)
class CompileOptions:
    """Widths and margins of a program.

    Attributes:
        bits: Of every activation, weight and factor (with sign): 16 or 8.
        weight_bits: Of plain weights, and of fused weights and bias entries (with sign); 0: as many as ``bits``.
        sum_bits: Widest sum of fused weights the hardware adds (with sign); 0: four more than ``bits``. Output channels
            whose worst case needs more get a coarser scale.
        accumulator_bits: Widest accumulator the hardware has (with sign); a layer that needs more is refused.
        margin: Headroom of every scale over the largest value seen on the calibration images (factor, 1 or more).
        require_fused: Refuse networks with a block that has no predictor.
    """

    bits: int = 16
    weight_bits: int = 0
    sum_bits: int = 0
    accumulator_bits: int = 48
    margin: float = 1.125
    require_fused: bool = False

    def __post_init__(self) -> None:
        if self.bits not in WORD_WIDTHS:
            raise InputError("bits", f"is {self.bits!r}", f"use {' or '.join(map(str, WORD_WIDTHS))}")
        object.__setattr__(self, "weight_bits", self.weight_bits or self.bits)
        object.__setattr__(self, "sum_bits", self.sum_bits or self.bits + 4)
        ranges = {"weight_bits": (2, self.bits), "sum_bits": (2, SUM_LIMIT)}
        ranges["accumulator_bits"] = (16, ACCUMULATOR_LIMIT)
        for name, (low, high) in ranges.items():
            if type(getattr(self, name)) is not int or not low <= getattr(self, name) <= high:
                raise InputError(name, f"is {getattr(self, name)!r}", f"use a whole number from {low} to {high}")
        if self.sum_bits < self.weight_bits:
            raise InputError("sum_bits", f"is {self.sum_bits}, below weight_bits", f"use {self.weight_bits} or more")
        if not math.isfinite(self.margin) or not 1 <= self.margin <= 1024:
            raise InputError("margin", f"is {self.margin}", "use a factor from 1 to 1024")
