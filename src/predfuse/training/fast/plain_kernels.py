"""Forward and backward of one block without predictor, a few middle channels at a time, in numba.

The arrays are *images inside*: a channel is one row, its pixels one after another, each with the values of all images
(:class:`predfuse.training.fast.images_inside.ImagesInside`). A tap of a filter is then a whole number of vectors away,
nothing is computed that is not wanted, and no mask is needed. A middle channel touches no other between expand and
project, so that all its values stay in the cache; some of them together add to an output what they have for it. Weights
that are zero cost nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from predfuse.graph.nodes import Array
from predfuse.training.fast.block_loops import LINEAR, REORDERED, RELU6, SIX, ZERO, Real
from predfuse.training.fast.unrolled_loops import (
    INFINITY,
    MOST,
    add,
    back_filter,
    back_norm,
    back_project,
    clip,
    combine,
    correlate,
    padded,
    total,
    total_square,
)

TOGETHER = 4
"""Middle channels whose outputs are added up before they are put out."""

RUN = 1024
"""Values of a channel worked on at once: with those of some other channels they fit the first-level cache."""

SKEW = 80
"""Values between rows, so that those at one place of a few rows do not share a cache set."""


class Block(NamedTuple):
    """A block and its inputs as the loops read them.

    Attributes:
        x: ``[C, L]`` inputs, images inside.
        images: Of the batch.
        height: Of an image.
        width: Likewise.
        kernel: Side of the depthwise filter.
        stride: Likewise.
        groups: Of expand and project.
        codes: ``[2]``, what follows the two norms.
        expand: ``[M, C/groups]``, the expand norm's factor folded in.
        expand_shift: ``[M]``, what the expand norm adds.
        depthwise: ``[M, k*k]``.
        gamma: ``[M]`` of the depthwise norm, 64-bit floats as all of this norm.
        beta: ``[M]``, 0 where it has no shift.
        shifted: ``[M]``, 0 where the norm only scales.
        mean: ``[M]``; statistics of the batch if ``use_batch`` (:func:`forward` fills them in), else those to be used.
        variance: ``[M]``; likewise.
        eps: Of the norm.
        use_batch: Whether the norm uses the batch's statistics.
        project: ``[M, O/groups]``.
    """

    x: Array
    images: int
    height: int
    width: int
    kernel: int
    stride: int
    groups: int
    codes: Array
    expand: Array
    expand_shift: Array
    depthwise: Array
    gamma: Array
    beta: Array
    shifted: Array
    mean: Array
    variance: Array
    eps: float
    use_batch: bool
    project: Array


class Gradients(NamedTuple):
    """What :func:`backward` fills in, all zero before; those of weights that are zero are zero.

    Attributes:
        x: ``[C, L]``; without what goes through the statistics of the expand norm.
        expand: ``[M, C/groups]``: sums of the gradient of the normalised expand times the inputs.
        expand_shift: ``[M]``: sums of that gradient.
        depthwise: ``[M, k*k]``.
        gamma: ``[M]``, of the depthwise norm.
        beta: ``[M]``.
        project: ``[M, O/groups]``.
    """

    x: Array
    expand: Array
    expand_shift: Array
    depthwise: Array
    gamma: Array
    beta: Array
    project: Array


class Terms(NamedTuple):
    """Room for the terms of a loop: offsets, weights, where the weights are from, sums."""

    offsets: Array
    weights: Array
    places: Array
    sums: Array


@njit(nogil=True, fastmath=REORDERED)
def _terms(block: Block) -> Terms:
    size = max(block.expand.shape[1], block.project.shape[1], block.depthwise.shape[1], TOGETHER) + MOST
    return Terms(
        np.zeros(size, np.int64), np.zeros(size, np.float32), np.zeros(size, np.int64), np.zeros(size, np.float64)
    )


@njit(nogil=True, fastmath=REORDERED)
def _choose(weights: Array, first: int, pitch: int, terms: Terms) -> tuple[Array, Array, int]:
    """Terms of the weights that are not zero, term ``j`` at ``first + j * pitch``: offsets, weights, how many."""
    count = 0
    for j in range(len(weights)):
        if weights[j] != 0:
            terms.offsets[count] = first + j * pitch
            terms.weights[count] = weights[j]
            terms.places[count] = j
            count += 1
    wanted = padded(count, terms.offsets, terms.weights)
    terms.sums[:wanted] = 0
    return terms.offsets[:wanted], terms.weights[:wanted], count


@njit(nogil=True, fastmath=REORDERED)
def _taps(block: Block, channel: int, back: bool, terms: Terms) -> tuple[Array, Array, int]:
    """Terms of a channel's filter, from the top left one; ``back``: for gradients, as the outputs reached."""
    kernel = block.kernel
    line = (block.width + kernel - 1) * block.images
    count = 0
    for j in range(kernel * kernel):
        weight = block.depthwise[channel, j]
        if weight != 0:
            row, column = j // kernel, j % kernel
            if back:
                row, column = kernel - 1 - row, kernel - 1 - column
            terms.offsets[count] = row * line + column * block.images
            terms.weights[count] = weight
            terms.places[count] = j
            count += 1
    wanted = padded(count, terms.offsets, terms.weights)
    terms.sums[:wanted] = 0
    return terms.offsets[:wanted], terms.weights[:wanted], count


@njit(nogil=True, fastmath=REORDERED)
def _keep(terms: Terms, count: int, out: Array) -> None:
    """Sums of terms to where their weights are from."""
    for j in range(count):
        out[terms.places[j]] = terms.sums[j]


@njit(nogil=True, fastmath=REORDERED)
def _limits(code: int) -> tuple[np.float32, np.float32]:
    """What an activation clips to."""
    return -INFINITY if code == LINEAR else ZERO, SIX if code == RELU6 else INFINITY


@njit(nogil=True, fastmath=REORDERED)
def _sizes(block: Block) -> tuple[int, int, int]:
    """Values of a padded image line, of all padded images, and of all outputs of a channel."""
    line = (block.width + block.kernel - 1) * block.images
    rows, columns = (block.height - 1) // block.stride + 1, (block.width - 1) // block.stride + 1
    return line, line * (block.height + block.kernel - 1), rows * columns * block.images


@njit(nogil=True, fastmath=REORDERED)
def _runs(block: Block) -> tuple[Array, Array, int]:
    """Where outputs lie one after another: starts of such runs, places of their first tap in the padded image, length.

    A line of outputs, with a stride a pixel.
    """
    line, _, outputs = _sizes(block)
    rows, columns = (block.height - 1) // block.stride + 1, (block.width - 1) // block.stride + 1
    if block.stride == 1:
        return np.arange(rows) * columns * block.images, np.arange(rows) * line, columns * block.images
    starts, places = np.arange(rows * columns) * block.images, np.zeros(rows * columns, np.int64)
    for j in range(rows * columns):
        places[j] = (j // columns * line + j % columns * block.images) * block.stride
    return starts, places, block.images


@njit(nogil=True, fastmath=REORDERED)
def _to_depthwise(block: Block, channel: int, terms: Terms, runs: tuple[Array, Array, int], h: Array, d: Array) -> None:
    """From the inputs to what one channel's filter reads, padded, and puts out."""
    border, length = block.kernel // 2, block.width * block.images
    line, _, _ = _sizes(block)
    low, high = _limits(block.codes[0])
    inputs, pitch = block.expand.shape[1], block.x.shape[1]
    first = channel // (len(block.expand) // block.groups) * inputs
    offsets, weights, _ = _choose(block.expand[channel], first * pitch, pitch, terms)
    x, shift = block.x.reshape(-1), block.expand_shift[channel]
    for row in range(block.height):
        at = (row + border) * line + border * block.images
        combine(x[row * length :], offsets, weights, shift, low, high, h[at : at + length])
    offsets, weights, _ = _taps(block, channel, False, terms)
    starts, places, size = runs
    for j in range(len(starts)):
        combine(h[places[j] :], offsets, weights, ZERO, -INFINITY, INFINITY, d[starts[j] : starts[j] + size])


@njit(nogil=True, fastmath=REORDERED)
def _norm(block: Block, channel: int) -> tuple[Real, np.float32, np.float32]:
    """Deviation, factor and shift of one channel's depthwise norm: ``normalised = factor * d + shift``."""
    deviation = np.sqrt(block.variance[channel] + block.eps)
    scale = block.gamma[channel] / deviation
    return deviation, np.float32(scale), np.float32(block.beta[channel] - block.mean[channel] * scale)


@njit(nogil=True, fastmath=REORDERED)
def forward(block: Block, y: Array) -> None:
    """One block up to its project norm: ``y = project(activation(norm(depthwise(activation(norm(expand(x)))))))``.

    Args:
        block: What it does, and to what.
        y: ``[O, L']``, zero; filled.
    """
    middle, group_outputs = block.project.shape
    per_group = middle // block.groups
    _, size, outputs = _sizes(block)
    terms, runs = _terms(block), _runs(block)
    low, high = _limits(block.codes[1])
    h, d, u = np.zeros(size, np.float32), row_group(outputs), row_group(RUN)
    values, pitch = u.reshape(-1), u.shape[1]
    for group in range(block.groups):
        for first in range(group * per_group, (group + 1) * per_group, TOGETHER):
            last = min(first + TOGETHER, (group + 1) * per_group)
            for channel in range(first, last):
                found = d[channel - first, :outputs]
                _to_depthwise(block, channel, terms, runs, h, found)
                if block.use_batch:
                    block.mean[channel] = block.shifted[channel] * total(found) / outputs
                    block.variance[channel] = total_square(found, block.mean[channel]) / outputs
            for lo in range(0, outputs, RUN):
                hi = min(lo + RUN, outputs)
                for channel in range(first, last):
                    _, factor, shift = _norm(block, channel)
                    at = channel - first
                    clip(d[at, lo:hi], factor, shift, low, high, u[at, : hi - lo])
                for output in range(group_outputs):
                    offsets, weights, count = _choose(block.project[first:last, output], 0, pitch, terms)
                    if count:
                        add(values, offsets, weights, y[group * group_outputs + output, lo:hi])


@njit(nogil=True, fastmath=REORDERED)
def row_group(size: int) -> Array:
    """Rows for the middle channels worked on together, each with at least ``size`` values."""
    return np.zeros((TOGETHER, (size + 15) // 16 * 16 + SKEW), np.float32)


@njit(nogil=True, fastmath=REORDERED)
def backward(block: Block, y: Array, found: Gradients) -> None:
    """Gradients of :func:`forward`; what that computed is computed again, which is cheaper than keeping it.

    Args:
        block: As :func:`forward` left it.
        y: ``[O, L']`` gradient of the outputs.
        found: Filled.
    """
    middle, inputs = block.expand.shape
    per_group, length = middle // block.groups, block.height * block.width * block.images
    _, size, outputs = _sizes(block)
    terms, runs = _terms(block), _runs(block)
    h, of_d = np.zeros(size, np.float32), np.zeros(size, np.float32)
    d, of_u = np.zeros(outputs, np.float32), np.zeros(outputs, np.float32)
    of_a = row_group(length)
    values, pitch = of_a.reshape(-1), of_a.shape[1]
    for group in range(block.groups):
        for first in range(group * per_group, (group + 1) * per_group, TOGETHER):
            last = min(first + TOGETHER, (group + 1) * per_group)
            for channel in range(first, last):
                _to_depthwise(block, channel, terms, runs, h, d)
                _back_to_depthwise(block, channel, y, terms, runs, d, of_u, of_d, found)
                _back_to_expand(block, channel, terms, h, of_d, of_a[channel - first, :length], found)
            for lo in range(0, length, RUN):
                hi = min(lo + RUN, length)
                for j in range(inputs):
                    offsets, weights, count = _choose(block.expand[first:last, j], lo, pitch, terms)
                    if count:
                        add(values, offsets, weights, found.x[group * inputs + j, lo:hi])


@njit(nogil=True, fastmath=REORDERED)
def _back_to_depthwise(
    block: Block,
    channel: int,
    y: Array,
    terms: Terms,
    runs: tuple[Array, Array, int],
    d: Array,
    of_u: Array,
    of_d: Array,
    found: Gradients,
) -> None:
    """From the gradient of the outputs to that of one channel's depthwise output, at the centre of its taps."""
    middle, group_outputs = block.project.shape
    first, pitch, outputs = channel // (middle // block.groups) * group_outputs, y.shape[1], len(d)
    deviation, factor, shift = _norm(block, channel)
    low, high = _limits(block.codes[1])
    offsets, weights, count = _choose(block.project[channel], first * pitch, pitch, terms)
    flat, u = y.reshape(-1), np.empty(RUN, np.float32)
    sum_g: Real = 0.0
    sum_d: Real = 0.0
    for lo in range(0, outputs, RUN):
        hi = min(lo + RUN, outputs)
        part, part_d = back_project(
            flat[lo:],
            offsets,
            weights,
            d[lo:hi],
            factor,
            shift,
            low,
            high,
            u[: hi - lo],
            of_u[lo:hi],
            terms.sums[: len(offsets)],
        )
        sum_g, sum_d = sum_g + part, sum_d + part_d
    _keep(terms, count, found.project[channel])
    mean = block.mean[channel]
    found.gamma[channel] = (sum_d - mean * sum_g) / deviation
    found.beta[channel] = sum_g
    constant, slope = ZERO, ZERO
    if block.use_batch:
        c1, c2 = block.shifted[channel] * sum_g / outputs, found.gamma[channel] / outputs
        scale = block.gamma[channel] / deviation
        slope = np.float32(scale * c2 / deviation)
        constant = np.float32(scale * (c1 - mean * c2 / deviation))
    starts, places, size = runs
    line, _, _ = _sizes(block)
    centre = block.kernel // 2 * (line + block.images)
    for j in range(len(starts)):
        at, to = starts[j], places[j] + centre
        back_norm(of_u[at : at + size], d[at : at + size], factor, constant, slope, of_d[to : to + size])


@njit(nogil=True, fastmath=REORDERED)
def _back_to_expand(
    block: Block, channel: int, terms: Terms, h: Array, of_d: Array, of_a: Array, found: Gradients
) -> None:
    """From the gradient of one channel's depthwise output to that of its normalised expand, and the weights between."""
    border, length = block.kernel // 2, block.width * block.images
    line, _, _ = _sizes(block)
    low, high = _limits(block.codes[0])
    offsets, weights, count = _taps(block, channel, True, terms)
    sum_a: Real = 0.0
    for row in range(block.height):
        at = (row + border) * line + border * block.images
        to = of_a[row * length : (row + 1) * length]
        sum_a += back_filter(
            of_d[row * line :], offsets, weights, h[at : at + length], low, high, to, terms.sums[: len(offsets)]
        )
    _keep(terms, count, found.depthwise[channel])
    found.expand_shift[channel] = sum_a
    inputs, pitch = block.expand.shape[1], block.x.shape[1]
    first = channel // (len(block.expand) // block.groups) * inputs
    offsets, weights, count = _choose(block.expand[channel], first * pitch, pitch, terms)
    x = block.x.reshape(-1)
    for lo in range(0, len(of_a), RUN):
        correlate(x[lo:], offsets, weights, of_a[lo : lo + RUN], terms.sums[: len(offsets)])
    _keep(terms, count, found.expand[channel])
