"""Loops over some rows at a time, in numba, each made once for every number of rows: one pass, nothing in memory twice.

A loop takes ``count`` *terms*: slices of ``base`` that begin at ``offsets[j]``, each with a weight. Loops are made for
the numbers :data:`SIZES`; :func:`padded` fills up to the next one with terms of weight zero, and more terms than the
largest are taken in pieces. As :mod:`predfuse.training.fast.block_loops`, none is cached on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from predfuse.graph.nodes import Array
from predfuse.training.fast.block_loops import REORDERED, ZERO, Real

SIZES = (1, 2, 3, 4, 6, 8, 9)
MOST = SIZES[-1]
INFINITY = np.float32(np.inf)

_TERMS = "s{j} = base[offsets[{j}] : offsets[{j}] + size]; w{j} = weights[{j}]; t{j} = ZERO"

_COMBINE = """
def combine(base, offsets, weights, bias, low, high, out):
    size = len(out)
    {terms}
    for p in range(size):
        value = bias + {total}
        value = value if value > low else low
        out[p] = value if value < high else high
"""

_ADD = """
def add(base, offsets, weights, out):
    size = len(out)
    {terms}
    for p in range(size):
        out[p] += {total}
"""

_CORRELATE = """
def correlate(base, offsets, weights, gradient, sums):
    size = len(gradient)
    {terms}
    for p in range(size):
        {sums}
    {store}
"""

_BACK_PROJECT = """
def back_project(base, offsets, weights, d, factor, shift, low, high, u, gd, sums):
    size = len(d)
    {terms}
    total, total_d = ZERO, ZERO
    for p in range(size):
        value = factor * d[p] + shift
        g = {total}
        g = g if (value > low) & (value < high) else ZERO
        value = value if value > low else low
        value = value if value < high else high
        u[p] = value
        gd[p] = g
        total += g
        total_d += g * d[p]
        {value_sums}
    {store}
    return total, total_d
"""

_BACK_FILTER = """
def back_filter(base, offsets, weights, h, low, high, out, sums):
    size = len(h)
    {terms}
    total = ZERO
    for p in range(size):
        value = h[p]
        g = {total}
        g = g if (value > low) & (value < high) else ZERO
        out[p] = g
        total += g
        {value_sums}
    {store}
    return total
"""


def _made(template: str, count: int) -> Callable[..., Any]:
    """One loop of so many terms."""

    def lines(line: str, indent: int) -> str:
        return ("\n" + " " * indent).join(line.format(j=j) for j in range(count))

    source = template.format(
        terms=lines(_TERMS, 4),
        total=" + ".join(f"w{j} * s{j}[p]" for j in range(count)),
        sums=lines("t{j} += gradient[p] * s{j}[p]", 8),
        value_sums=lines("t{j} += value * s{j}[p]", 8),
        store=lines("sums[{j}] += t{j}", 4),
    )
    found: dict[str, Any] = {"ZERO": ZERO}
    exec(compile(source, f"<{count} terms>", "exec"), found)
    name = template.split("(")[0].split()[-1]
    loop: Callable[..., Any] = njit(nogil=True, fastmath=REORDERED)(found[name])
    return loop


def _by_size(template: str) -> Callable[..., Any]:
    """The loop made for each size, chosen by the number of offsets, which is one of them."""
    one, two, three, four, six, eight, nine = (_made(template, count) for count in SIZES)

    @njit(nogil=True, fastmath=REORDERED)
    def chosen(base: Array, offsets: Array, *rest: Any) -> Any:
        count = len(offsets)
        if count == 1:
            return one(base, offsets, *rest)
        if count == 2:
            return two(base, offsets, *rest)
        if count == 3:
            return three(base, offsets, *rest)
        if count == 4:
            return four(base, offsets, *rest)
        if count == 6:
            return six(base, offsets, *rest)
        if count == 8:
            return eight(base, offsets, *rest)
        return nine(base, offsets, *rest)

    result: Callable[..., Any] = chosen
    return result


_combine, _add, _correlate = _by_size(_COMBINE), _by_size(_ADD), _by_size(_CORRELATE)
_back_project, _back_filter = _by_size(_BACK_PROJECT), _by_size(_BACK_FILTER)


@njit(nogil=True, fastmath=REORDERED)
def padded(count: int, offsets: Array, weights: Array) -> int:
    """Fill terms up with zeros to the next number there is a loop for; above :data:`MOST`, to whole pieces."""
    wanted = (count + MOST - 1) // MOST * MOST
    for size in SIZES[::-1]:
        if count <= size:
            wanted = size
    for j in range(count, wanted):
        offsets[j] = offsets[0] if count else 0
        weights[j] = 0
    return wanted


@njit(nogil=True, fastmath=REORDERED)
def combine(base: Array, offsets: Array, weights: Array, bias: Real, low: Real, high: Real, out: Array) -> None:
    """``out = clip(bias + sum_j weights[j] * base[offsets[j] :], low, high)``."""
    if len(offsets) <= MOST:
        _combine(base, offsets, weights, bias, low, high, out)
        return
    _combine(base, offsets[:MOST], weights[:MOST], bias, -INFINITY, INFINITY, out)
    for j in range(MOST, len(offsets), MOST):
        _add(base, offsets[j : j + MOST], weights[j : j + MOST], out)
    for p in range(len(out)):
        value = out[p] if out[p] > low else low
        out[p] = value if value < high else high


@njit(nogil=True, fastmath=REORDERED)
def add(base: Array, offsets: Array, weights: Array, out: Array) -> None:
    """``out += sum_j weights[j] * base[offsets[j] :]``."""
    for j in range(0, len(offsets), MOST):
        _add(base, offsets[j : j + MOST], weights[j : j + MOST], out)


@njit(nogil=True, fastmath=REORDERED)
def correlate(base: Array, offsets: Array, weights: Array, gradient: Array, sums: Array) -> None:
    """``sums[j] += sum_p gradient[p] * base[offsets[j] + p]``; the weights are not read."""
    for j in range(0, len(offsets), MOST):
        _correlate(base, offsets[j : j + MOST], weights[j : j + MOST], gradient, sums[j : j + MOST])


@njit(nogil=True, fastmath=REORDERED)
def back_project(
    base: Array,
    offsets: Array,
    weights: Array,
    d: Array,
    factor: Real,
    shift: Real,
    low: Real,
    high: Real,
    u: Array,
    gd: Array,
    sums: Array,
) -> tuple[Real, Real]:
    """Back through project and the activation before it.

    Args:
        base: The gradients of the outputs.
        offsets: Of the outputs that read this channel.
        weights: Theirs.
        d: The depthwise output; ``value = factor * d + shift`` is what the activation sees.
        factor: See ``d``.
        shift: Likewise.
        low: The activation clips to this and more.
        high: And to this and less.
        u: Filled with what project reads.
        gd: Filled with the gradient of ``value``.
        sums: Of ``u`` times every term, added to.

    Returns:
        Sums of ``gd`` and of ``gd * d``.
    """
    if len(offsets) <= MOST:
        return _back_project(base, offsets, weights, d, factor, shift, low, high, u, gd, sums)
    whole, first, unused = np.empty(len(d), np.float32), np.zeros(1, np.int64), np.zeros(1, np.float64)
    combine(base, offsets, weights, ZERO, -INFINITY, INFINITY, whole)
    totals = _back_project(whole, first, np.ones(1, np.float32), d, factor, shift, low, high, u, gd, unused)
    correlate(base, offsets, weights, u, sums)
    return totals


@njit(nogil=True, fastmath=REORDERED)
def back_filter(
    base: Array, offsets: Array, weights: Array, h: Array, low: Real, high: Real, out: Array, sums: Array
) -> Real:
    """Back through the depthwise filter and the activation before it.

    Args:
        base: The gradients of the filter's outputs.
        offsets: Of its taps.
        weights: Theirs.
        h: What the filter reads: clipped to ``low`` and ``high`` by the activation.
        low: See ``h``.
        high: Likewise.
        out: Filled with the gradient of what the activation reads.
        sums: Of ``h`` times every term, added to.

    Returns:
        The sum of ``out``.
    """
    if len(offsets) <= MOST:
        return _back_filter(base, offsets, weights, h, low, high, out, sums)
    whole, first, unused = np.empty(len(h), np.float32), np.zeros(1, np.int64), np.zeros(1, np.float64)
    combine(base, offsets, weights, ZERO, -INFINITY, INFINITY, whole)
    total = _back_filter(whole, first, np.ones(1, np.float32), h, low, high, out, unused)
    correlate(base, offsets, weights, h, sums)
    return total


@njit(nogil=True, fastmath=REORDERED)
def clip(d: Array, factor: Real, shift: Real, low: Real, high: Real, out: Array) -> None:
    """``out = clip(factor * d + shift, low, high)``."""
    for p in range(len(d)):
        value = factor * d[p] + shift
        value = value if value > low else low
        out[p] = value if value < high else high


@njit(nogil=True, fastmath=REORDERED)
def total(values: Array) -> Real:
    """Sum, in pieces of 32-bit floats."""
    result: Real = 0.0
    for start in range(0, len(values), 1024):
        part = ZERO
        piece = values[start : start + 1024]
        for p in range(len(piece)):
            part += piece[p]
        result += part
    return result


@njit(nogil=True, fastmath=REORDERED)
def total_square(values: Array, centre: Real) -> Real:
    """Sum of squared distances from ``centre``, in pieces of 32-bit floats."""
    result: Real = 0.0
    middle = np.float32(centre)
    for start in range(0, len(values), 1024):
        part = ZERO
        piece = values[start : start + 1024]
        for p in range(len(piece)):
            part += (piece[p] - middle) * (piece[p] - middle)
        result += part
    return result


@njit(nogil=True, fastmath=REORDERED)
def back_norm(gradient: Array, d: Array, factor: Real, constant: Real, slope: Real, out: Array) -> None:
    """``out = factor * gradient - (constant + slope * d)``: back through a norm on the statistics of the batch."""
    for p in range(len(out)):
        out[p] = factor * gradient[p] - (constant + slope * d[p])
