"""Loops over one channel's values, in numba; what :mod:`predfuse.training.fast.block_kernels` is made of.

Each works on the values ``lo`` to ``hi`` of flat rows and is written so that the compiler makes vector instructions of
it: one simple loop over slices. None is cached on disk: code that numba loads from there was seen to round otherwise
than code it has just compiled, and an interrupted run must go on to the same bits. Compiling takes about 20 seconds.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from predfuse.graph.nodes import Array

LINEAR, RELU, RELU6, GATED = 0, 1, 2, 3
"""Codes of what follows a norm."""

REORDERED = {"reassoc", "contract", "nsz", "arcp"}
"""Of fast arithmetic: sums may be reordered; NaN and infinity keep their meaning, so that a diverging loss is seen."""

Real = float | np.float32
"""A factor or sum: the loops compute with 32 bits what is given to them with 32."""

ZERO, ONE, SIX = np.float32(0), np.float32(1), np.float32(6)


@njit(nogil=True, fastmath=REORDERED)
def combine(
    source: Array, rows: Array, offsets: Array, weights: Array, count: int, bias: Real, out: Array, lo: int, hi: int
) -> None:
    """``out[p] = bias + sum_j weights[j] * source[rows[j], p + offsets[j]]`` for ``lo <= p < hi``."""
    first = np.float32(bias)
    j = 0
    if count >= 4:
        a, b = source[rows[0], lo + offsets[0] : hi + offsets[0]], source[rows[1], lo + offsets[1] : hi + offsets[1]]
        c, d = source[rows[2], lo + offsets[2] : hi + offsets[2]], source[rows[3], lo + offsets[3] : hi + offsets[3]]
        wa, wb, wc, wd = weights[0], weights[1], weights[2], weights[3]
        target = out[lo:hi]
        for p in range(hi - lo):
            target[p] = first + wa * a[p] + wb * b[p] + wc * c[p] + wd * d[p]
        j = 4
    elif count >= 2:
        a, b = source[rows[0], lo + offsets[0] : hi + offsets[0]], source[rows[1], lo + offsets[1] : hi + offsets[1]]
        wa, wb = weights[0], weights[1]
        target = out[lo:hi]
        for p in range(hi - lo):
            target[p] = first + wa * a[p] + wb * b[p]
        j = 2
    elif count == 1:
        a = source[rows[0], lo + offsets[0] : hi + offsets[0]]
        wa = weights[0]
        target = out[lo:hi]
        for p in range(hi - lo):
            target[p] = first + wa * a[p]
        j = 1
    else:
        out[lo:hi] = first
    while j + 2 <= count:
        a = source[rows[j], lo + offsets[j] : hi + offsets[j]]
        b = source[rows[j + 1], lo + offsets[j + 1] : hi + offsets[j + 1]]
        wa, wb = weights[j], weights[j + 1]
        target = out[lo:hi]
        for p in range(hi - lo):
            target[p] += wa * a[p] + wb * b[p]
        j += 2
    if j < count:
        a = source[rows[j], lo + offsets[j] : hi + offsets[j]]
        wa = weights[j]
        target = out[lo:hi]
        for p in range(hi - lo):
            target[p] += wa * a[p]


@njit(nogil=True, fastmath=REORDERED)
def correlate(
    gradient: Array, source: Array, rows: Array, offsets: Array, count: int, sums: Array, lo: int, hi: int
) -> None:
    """``sums[j] += sum_p gradient[p] * source[rows[j], p + offsets[j]]`` over ``lo <= p < hi``."""
    g = gradient[lo:hi]
    j = 0
    while j + 4 <= count:
        a = source[rows[j], lo + offsets[j] : hi + offsets[j]]
        b = source[rows[j + 1], lo + offsets[j + 1] : hi + offsets[j + 1]]
        c = source[rows[j + 2], lo + offsets[j + 2] : hi + offsets[j + 2]]
        d = source[rows[j + 3], lo + offsets[j + 3] : hi + offsets[j + 3]]
        sa, sb, sc, sd = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for p in range(hi - lo):
            sa += g[p] * a[p]
            sb += g[p] * b[p]
            sc += g[p] * c[p]
            sd += g[p] * d[p]
        sums[j] += sa
        sums[j + 1] += sb
        sums[j + 2] += sc
        sums[j + 3] += sd
        j += 4
    while j < count:
        a = source[rows[j], lo + offsets[j] : hi + offsets[j]]
        sa = np.float32(0)
        for p in range(hi - lo):
            sa += g[p] * a[p]
        sums[j] += sa
        j += 1


@njit(nogil=True, fastmath=REORDERED)
def spread(gradient: Array, target: Array, rows: Array, weights: Array, count: int, lo: int, hi: int) -> None:
    """``target[rows[j], p] += weights[j] * gradient[p]`` for ``lo <= p < hi``."""
    g = gradient[lo:hi]
    for j in range(count):
        row = target[rows[j], lo:hi]
        w = weights[j]
        for p in range(hi - lo):
            row[p] += w * g[p]


@njit(nogil=True, fastmath=REORDERED)
def choose(weights: Array, rows: Array, chosen: Array, first: int) -> int:
    """Positions, plus ``first``, and values of the weights that are not zero; how many."""
    count = 0
    for j in range(len(weights)):
        if weights[j] != 0:
            rows[count] = first + j
            chosen[count] = weights[j]
            count += 1
    return count


@njit(nogil=True, fastmath=REORDERED)
def choose_taps(weights: Array, taps: Array, offsets: Array, chosen: Array) -> int:
    """The same for the taps of a filter, as offsets."""
    count = 0
    for j in range(len(weights)):
        if weights[j] != 0:
            offsets[count] = taps[j]
            chosen[count] = weights[j]
            count += 1
    return count


@njit(nogil=True, fastmath=REORDERED)
def scatter(sums: Array, weights: Array, out: Array) -> None:
    """Sums of the weights that are not zero back to their places."""
    count = 0
    for j in range(len(weights)):
        if weights[j] != 0:
            out[j] = sums[count]
            count += 1


@njit(nogil=True, fastmath=REORDERED)
def activate(a: Array, score: Array, code: int, inside: Array, out: Array, lo: int, hi: int) -> None:
    """``out = inside * activation(a)``; the gate lets through where ``score > 0``."""
    a, score, inside, out = a[lo:hi], score[lo:hi], inside[lo:hi], out[lo:hi]
    if code == GATED:
        for p in range(hi - lo):
            out[p] = (a[p] if score[p] > ZERO else ZERO) * inside[p]
    elif code == RELU:
        for p in range(hi - lo):
            out[p] = (a[p] if a[p] > ZERO else ZERO) * inside[p]
    elif code == RELU6:
        for p in range(hi - lo):
            low = a[p] if a[p] > ZERO else ZERO
            out[p] = (low if low < SIX else SIX) * inside[p]
    else:
        for p in range(hi - lo):
            out[p] = a[p] * inside[p]


@njit(nogil=True, fastmath=REORDERED)
def quantise(score: Array, scale: Real, largest: Real, inside: Array, out: Array, lo: int, hi: int) -> None:
    """``inside * floor(clamp(score * scale, 0, largest))``."""
    factor, top = np.float32(scale), np.float32(largest)
    score, inside, out = score[lo:hi], inside[lo:hi], out[lo:hi]
    for p in range(hi - lo):
        value = score[p] * factor
        value = value if value > ZERO else ZERO
        value = value if value < top else top
        out[p] = np.float32(np.int32(value)) * inside[p]


@njit(nogil=True, fastmath=REORDERED)
def add_up(d: Array, centre: Real, power: int, inside: Array) -> Real:
    """Sum over the outputs of ``d`` (power 1), or of its squared distance from ``centre`` (power 2)."""
    total: Real = 0.0
    mean = np.float32(centre)
    for start in range(0, len(d), 2048):
        values, marks = d[start : start + 2048], inside[start : start + 2048]
        part = np.float32(0)
        if power == 1:
            for p in range(len(values)):
                part += values[p] * marks[p]
        else:
            for p in range(len(values)):
                distance = (values[p] - mean) * marks[p]
                part += distance * distance
        total += part
    return total


@njit(nogil=True, fastmath=REORDERED)
def summed(values: Array) -> Real:
    """Sum of some values."""
    total = np.float32(0)
    for p in range(len(values)):
        total += values[p]
    return total


@njit(nogil=True, fastmath=REORDERED)
def scale_and_shift(source: Array, factor: Real, shift: Real, out: Array) -> None:
    for p in range(len(out)):
        out[p] = factor * source[p] + shift


@njit(nogil=True, fastmath=REORDERED)
def back_through_second(
    gu: Array,
    d: Array,
    z2: Array,
    factor: Real,
    shift: Real,
    inverse: Real,
    code: int,
    u: Array,
    gd: Array,
    gz2: Array,
) -> tuple[Real, Real, Real]:
    """Back through the second activation: fills the block's hidden output ``u`` and the gradients of the normalised
    depthwise output and of the score; sums of both and of the first times ``d``."""
    total, total_d, total_z = np.float32(0), np.float32(0), np.float32(0)
    if code == GATED:
        for p in range(len(gu)):
            value = factor * d[p] + shift
            on = z2[p] > ZERO
            u[p] = value if on else ZERO
            g = gu[p] if on else ZERO
            gd[p] = g
            total += g
            total_d += g * d[p]
            bump = ONE - abs(z2[p] * inverse)
            bump = bump if bump > ZERO else ZERO
            gz = bump * inverse * gu[p] * value
            gz2[p] = gz
            total_z += gz
    else:
        low = ZERO if code != LINEAR else np.float32(-np.inf)
        high = SIX if code == RELU6 else np.float32(np.inf)
        for p in range(len(gu)):
            value = factor * d[p] + shift
            g = gu[p] if (value > low) & (value < high) else ZERO
            value = value if value > low else low
            u[p] = value if value < high else high
            gd[p] = g
            gz2[p] = ZERO
            total += g
            total_d += g * d[p]
    return total, total_d, total_z


@njit(nogil=True, fastmath=REORDERED)
def back_through_first(
    gh: Array,
    gq: Array,
    a: Array,
    z1: Array,
    inside: Array,
    inverse: Real,
    hidden: Real,
    limit: Real,
    code: int,
    gated: bool,
) -> tuple[Real, Real]:
    """Back through the first activation and the hidden quantiser, in place: ``gh`` becomes the gradient of the
    normalised expand, ``gq`` that of the score; sums of both."""
    total, total_z = np.float32(0), np.float32(0)
    if code == GATED:
        for p in range(len(gh)):
            bump = ONE - abs(z1[p] * inverse)
            bump = bump if bump > ZERO else ZERO
            g = gh[p] * inside[p]
            scaled = z1[p] * hidden
            through = gq[p] * hidden if (scaled >= ZERO) & (scaled < limit) else ZERO
            gz = through * inside[p] + bump * inverse * g * a[p]
            gq[p] = gz
            total_z += gz
            g = g if z1[p] > ZERO else ZERO
            gh[p] = g
            total += g
        return total, total_z
    low = ZERO if code != LINEAR else np.float32(-np.inf)
    high = SIX if code == RELU6 else np.float32(np.inf)
    for p in range(len(gh)):
        g = gh[p] * inside[p] if (a[p] > low) & (a[p] < high) else ZERO
        gh[p] = g
        total += g
    if gated:
        back_through_hidden(gq, z1, inside, hidden, limit)
        return total, summed(gq)
    return total, total_z


@njit(nogil=True, fastmath=REORDERED)
def sign_loss(score: Array, target: Array, inside: Array, slope: Real, bits: Array, out: Array) -> tuple[Real, Real]:
    """Logistic loss of predicting ``target > 0`` by ``slope * (score - 0.5) > 0``, weighted by ``|target|``.

    Args:
        score: Integers.
        target: Values whose sign is wanted.
        inside: 1 where there is one, else 0.
        slope: Of the margin.
        bits: As long, int32; scratch.
        out: Filled with the gradient of the loss by the score.

    Returns:
        Sums of the loss and of the weights.
    """
    half, log2_e, lowest = np.float32(0.5), np.float32(1.4426950408889634), np.float32(-120)
    k = np.float32(slope)
    for p in range(len(score)):  # exp(-|margin|) = 2**f * 2**n, f within half of 0: here its first factor
        y = -abs((score[p] - half) * k) * log2_e
        y = y if y > lowest else lowest
        n = np.int32(y - half)
        f = y - np.float32(n)
        bits[p] = (n + np.int32(127)) << np.int32(23)
        power = np.float32(1.5403530e-4) * f + np.float32(1.3333558e-3)
        power = power * f + np.float32(9.6181291e-3)
        power = power * f + np.float32(5.5504109e-2)
        power = power * f + np.float32(0.24022651)
        power = power * f + np.float32(0.69314718)
        out[p] = power * f + ONE
    powers = bits.view(np.float32)
    loss, total = np.float32(0), np.float32(0)
    for p in range(len(score)):
        e = out[p] * powers[p]
        value = target[p] * inside[p]
        weight = abs(value)
        margin = (score[p] - half) * k
        sign = ONE if value > ZERO else -ONE
        wrong = -margin * sign
        ratio = ONE / (ONE + e)
        out[p] = -sign * k * weight * (ratio if wrong > ZERO else e * ratio)
        t = e / (np.float32(2) + e)  # log(1 + e) = 2 * artanh(t)
        s = t * t
        series = s * np.float32(1 / 11) + np.float32(1 / 9)
        series = series * s + np.float32(1 / 7)
        series = series * s + np.float32(1 / 5)
        series = series * s + np.float32(1 / 3)
        softplus = (wrong if wrong > ZERO else ZERO) + np.float32(2) * t * (series * s + ONE)
        loss += softplus * weight
        total += weight
    return loss, total


@njit(nogil=True, fastmath=REORDERED)
def back_through_hidden(gradient: Array, score: Array, inside: Array, hidden: Real, limit: Real) -> None:
    """Back through the hidden quantiser, in place: the gradient of its output becomes that of the score."""
    for p in range(len(gradient)):
        scaled = score[p] * hidden
        gradient[p] = gradient[p] * hidden * inside[p] if (scaled >= ZERO) & (scaled < limit) else ZERO
