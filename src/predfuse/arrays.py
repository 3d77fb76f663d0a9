"""The types of the project's arrays, by what they hold."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias, TypeGuard, TypeVar

import numpy as np
import numpy.typing as npt

Item = TypeVar("Item", bound=np.generic)
"""Of ``npt.NDArray[Item]``: what a function that keeps the type of its argument takes and gives."""
Array: TypeAlias = npt.NDArray[Any]
"""An array of any type: read from a file, or integers and floats by the same formula."""
Int8Array: TypeAlias = npt.NDArray[np.int8]
Int16Array: TypeAlias = npt.NDArray[np.int16]
Int32Array: TypeAlias = npt.NDArray[np.int32]
Int64Array: TypeAlias = npt.NDArray[np.int64]
UInt8Array: TypeAlias = npt.NDArray[np.uint8]
UInt64Array: TypeAlias = npt.NDArray[np.uint64]
IntegerArray: TypeAlias = npt.NDArray[np.integer[Any]]
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
Float32Array: TypeAlias = npt.NDArray[np.float32]
Float64Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
ImageArray: TypeAlias = UInt8Array | FloatArray
"""Images: pixels 0..255, or normalised floats."""


def are_pixels(images: ImageArray) -> TypeGuard[UInt8Array]:
    """Whether images are pixels of 8 bits."""
    return images.dtype == np.uint8


def are_floats(images: ImageArray) -> TypeGuard[FloatArray]:
    """Whether images are floats."""
    return images.dtype.kind == "f"


class ShortRepr:
    """A dataclass that shows types and shapes of its arrays instead of their values; made with ``repr=False``."""

    def __repr__(self) -> str:
        fields = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{name}={_shown(value)}' for name, value in fields)})"


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    return repr(value)
