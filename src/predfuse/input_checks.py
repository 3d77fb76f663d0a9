"""What images, their normalisation and the names of classes may be, wherever they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from predfuse.arrays import FloatArray
from predfuse.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

LEAST_STD, LARGEST_STD = 1 / 255 / 1000, 10.0
"""Of pixels of 0..1. A channel whose deviation is smaller is constant but for rounding; one step would be enormous."""
LARGEST_VALUE = 1e6
"""Of a normalised image: more than any pixel gives at the smallest deviation."""


def require_dense(tensor: Tensor, where: str) -> None:
    """Refuse a tensor that is sparse, or has a shape and no values.

    Raises:
        InputError: It is one.
    """
    if tensor.is_meta or str(tensor.layout) != "torch.strided":
        kind = "on the meta device, without values" if tensor.is_meta else "sparse"
        raise InputError(where, f"are a tensor that is {kind}", "give a dense one with values")


def require_finite(images: FloatArray, where: str = "images") -> None:
    """Refuse images ``[N, ...]`` that no picture gives.

    Raises:
        InputError: One holds NaN, infinite or enormous values.
    """
    for number, image in enumerate(images):
        if not np.isfinite(image).all():
            raise InputError(where, f"hold NaN or infinite values in image {number}", "leave it out or mend it")
        if not np.abs(image).max(initial=0) <= LARGEST_VALUE:
            what = f"hold values beyond {LARGEST_VALUE:,.0f} in image {number}"
            raise InputError(where, what, "normalise the images: (pixel / 255 - mean) / std")


def require_normalisation(where: str, mean: Sequence[float], std: Sequence[float], channels: int) -> None:
    """Refuse what cannot be the mean and divisor of pixels of 0..1: one of each per channel, or none of both.

    Raises:
        InputError: It cannot.
    """
    for label, values in (("mean", mean), ("std", std)):
        if len(values) not in (0, channels):
            raise InputError(where, f"{label} has {len(values)} values for {channels} channels", "give one per channel")
    if bool(mean) != bool(std):
        given, lacking = ("std", "mean") if std else ("mean", "std")
        raise InputError(where, f"has {given} without {lacking}", "give both or neither (a mean of 0, a std of 1)")
    if not all(abs(value) <= 1 for value in mean):
        raise InputError(where, f"mean is {tuple(mean)}", "give it for pixels of 0..1 (divide by 255)")
    if not all(LEAST_STD <= value <= LARGEST_STD for value in std):
        mend = f"give it for pixels of 0..1, {LEAST_STD:.1e} or more; 1 for a constant channel"
        raise InputError(where, f"std is {tuple(std)}", mend)


def require_labels(where: str, labels: Sequence[str], classes: int) -> None:
    """Refuse names that do not tell the classes apart; none at all are fine.

    Raises:
        InputError: Another number of them than classes, or one is given twice.
    """
    if labels and len(labels) != classes:
        raise InputError(where, f"has {len(labels)} labels for {classes} classes", "give one per class, or none")
    doubled = [label for label in labels if labels.count(label) > 1]
    if doubled:
        raise InputError(where, f"has the label {doubled[0]!r} twice", "give every class a name of its own")
