"""How wide the integers of a program may be: limits, accumulators of the worst case, and the checks that hold them."""

from __future__ import annotations

import numpy as np

from predfuse.arrays import Array, Int8Array, Int16Array, Int64Array, IntegerArray
from predfuse.errors import InputError
from predfuse.graph.nodes import ACTIVATIONS, Padding, Shape, window_size

WORD_WIDTHS = (16, 8)
"""Widths a program may have: of every activation, of every weight and of every factor of a fused weight (bits)."""
FRACTION_LIMIT = 64
"""Scales reach from ``2**-64`` to ``2**64``."""
SHIFT_LIMIT = 62
"""Largest right shift of an accumulator."""
ACCUMULATOR_LIMIT = 63
"""Widest accumulator (bits, with sign), so that 64-bit arithmetic never wraps."""
SUM_LIMIT = 31
"""Widest sum of fused weights (bits, with sign)."""


EXTRA_BIAS_BITS = 8
"""What biases among factors have more than the others: their size varies more between channels."""


def highest(bits: int) -> int:
    """Largest integer of ``bits`` with sign; the smallest is ``-highest(bits) - 1``."""
    return (1 << bits - 1) - 1


def product_shift(bits: int) -> int:
    """Right shift after the first product of two factors of a fused weight, each of ``bits``."""
    return bits - 1


def bias_factor_bits(bits: int) -> int:
    """Bits, with sign, of the biases among factors of ``bits``."""
    return bits + EXTRA_BIAS_BITS


def largest_exponent(bits: int) -> int:
    """Largest power of two a bias sum is multiplied with: the constant input is itself an activation of ``bits``."""
    return bits - 2


def layer_error(name: str, what: str) -> InputError:
    """The error of an impossible layer."""
    return InputError(f"layer {name}", what, "compile the network again")


def require_array(name: str, label: str, array: Array, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        found = getattr(array, "dtype", type(array).__name__)
        raise layer_error(name, f"{label} has type {found}, expected {np.dtype(dtype)}")
    if array.shape != shape or 0 in array.shape:
        raise layer_error(name, f"{label} has shape {array.shape}, expected {shape}")


def require_word(name: str, label: str, values: Array, bits: int) -> None:
    """Check that integers fit ``bits`` with sign."""
    require_range(name, label, values, -highest(bits) - 1, highest(bits))


def require_range(name: str, label: str, values: IntegerArray | int, low: int, high: int) -> None:
    if np.min(values) < low or np.max(values) > high:
        raise layer_error(name, f"{label} lies outside {low}..{high}")


def accumulator_bits(positive: int, negative: int, largest_shift: int) -> int:
    """Bits (with sign) that hold every value from ``-negative`` to ``positive`` and the rounding of the shift."""
    rounding = (1 << largest_shift) >> 1
    return max(int(positive) + rounding, int(negative)).bit_length() + 1


def conv_bits(weight: Int16Array, bias: Int64Array, shift: Int8Array, bits: int) -> int:
    """Accumulator bits of a convolution's worst case, inputs of ``bits``: ``weight [O, ...]``, ``bias``, ``shift``."""
    reach = np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1) << bits - 1
    ends = [max(int(r) + max(sign * int(b), 0) for r, b in zip(reach, bias, strict=True)) for sign in (1, -1)]
    return accumulator_bits(ends[0], ends[1], int(shift.max()))


def pool_bits(multiplier: Int16Array, pixels: int, shift: Int8Array, bits: int) -> int:
    """Accumulator bits of a pooling's worst case; ``pixels`` of a window, of ``bits`` each, are summed."""
    reach = int(multiplier.max()) * pixels << bits - 1
    return accumulator_bits(reach, reach, int(shift.max()))


def add_bits(align: Int8Array | list[int], shift: int, bits: int) -> int:
    """Accumulator bits of a sum's worst case; ``align`` are the left shifts of the inputs, of ``bits`` each."""
    reach = sum(1 << (bits - 1 + int(left)) for left in align)
    return accumulator_bits(reach, reach, shift)


def require_accumulator(name: str, bits: int, needed: int) -> None:
    require_range(name, "accumulator_bits", bits, 1, ACCUMULATOR_LIMIT)
    if needed > bits:
        raise layer_error(name, f"accumulator_bits is {bits}, needs {needed}")


def require_activation(name: str, activation: str, ceiling: int) -> None:
    if activation not in ACTIVATIONS:
        raise layer_error(name, f"unknown activation {activation!r}")
    if ceiling < 0 or (activation != "relu6" and ceiling):
        raise layer_error(name, f"ceiling {ceiling} with activation {activation}")


def pool_counts(shape: Shape, kernel: int, stride: int, padding: Padding, count_padding: bool) -> Int64Array:
    """Pixels each window of a pooling counts, ``[P, Q]`` int64; ``kernel`` 0 is the whole image."""
    if kernel == 0:
        return np.full((1, 1), shape[1] * shape[2], np.int64)
    top, bottom, left, right = padding
    rows = _inside(shape[1], kernel, stride, top, bottom)
    columns = _inside(shape[2], kernel, stride, left, right)
    counts: Int64Array = np.outer(rows, columns)
    return np.full_like(counts, kernel**2) if count_padding else counts


def _inside(size: int, kernel: int, stride: int, before: int, after: int) -> Int64Array:
    """Pixels inside the image for every position of a window along one dimension."""
    start = np.arange(window_size(size, kernel, stride, before, after)) * stride - before
    inside: Int64Array = np.minimum(start + kernel, size) - np.maximum(start, 0)
    return inside
