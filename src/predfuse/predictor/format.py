"""What the numbers of a predictor are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from predfuse.errors import InputError

Scales = Literal["power-of-two", "float"]
LargestWeight = Literal[1, 2, 4]
MOST_BITS = 8


@dataclass(frozen=True)
class PredictorFormat:
    """What the numbers of a predictor are.

    Attributes:
        bits: Of its activations, 2 to 8.
        scales: ``"power-of-two"``, or ``"float"``, where neither input exponent nor shifts have to be whole: for
            comparison in training only, there are no integers of it.
        largest_weight: 1: its weights are -1, 0 and 1, as published. 2: -2 and 2 too, one shift more and still no
            multiplication; 4: -4 and 4 too.

    Raises:
        InputError: Another number.
    """

    bits: int = 4
    scales: Scales = "power-of-two"
    largest_weight: int = 1

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not 2 <= self.bits <= MOST_BITS:
            raise InputError("bits", f"is {self.bits!r}", f"use a whole number from 2 to {MOST_BITS}")
        if self.scales not in get_args(Scales):
            raise InputError("scales", f"is {self.scales!r}", f"use {' or '.join(get_args(Scales))}")
        if type(self.largest_weight) is not int or self.largest_weight not in get_args(LargestWeight):
            raise InputError("largest_weight", f"is {self.largest_weight!r}", "use 1, 2 or 4")


PUBLISHED_FORMAT = PredictorFormat()
"""Ternary weights, activations of 4 bits."""
