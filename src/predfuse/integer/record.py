"""What one image leaves behind in a machine."""

from __future__ import annotations

from dataclasses import dataclass, field

from predfuse.arrays import Int8Array, Int16Array


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """Everything a program computed for one image.

    Attributes:
        values: int16 output of every node, and ``"input"``, by name.
        masks: ``(mask1 [M, H, W], mask2 [M, P, Q])`` of every fused block, int8 0 or 1, by name.
        saturations: Values of every node that did not fit int16, by name.
    """

    values: dict[str, Int16Array] = field(default_factory=dict)
    masks: dict[str, tuple[Int8Array, Int8Array]] = field(default_factory=dict)
    saturations: dict[str, int] = field(default_factory=dict)
