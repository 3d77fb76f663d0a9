"""Bits set in 64-bit words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array, UInt64Array


@njit(cache=True, nogil=True)
def ones(word: Any) -> Any:
    """Bits set in a 64-bit word."""
    x = np.uint64(word)
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, nogil=True)
def count_ones(words: UInt64Array) -> Int64Array:
    """Bits set in every 64-bit word, int64."""
    counts = np.empty(words.size, np.int64)
    for index in range(words.size):
        counts[index] = ones(words[index])
    return counts
