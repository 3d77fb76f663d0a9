"""Forward and backward loops of one bottleneck block, a middle channel at a time, in numba.

A middle channel touches no other between expand and project: its expand, norms, gates and depthwise filter run on data
that stays in the cache, and pruned weights cost nothing. The arrays are *flat*: every channel is one row of ``L``
values, all images one after another, each with ``k // 2`` zeros after every line and ``k // 2`` lines of zeros after
the last, so that the taps of a filter are offsets into the row (:mod:`predfuse.training.fast.block_layout`).

Scores of predictors are sums of small integers, exact in 32-bit floats whatever their order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from predfuse.graph.nodes import Array
from predfuse.training.fast.block_loops import (
    ONE,
    REORDERED,
    ZERO,
    Real,
    activate,
    add_up,
    back_through_first,
    back_through_second,
    choose,
    choose_taps,
    combine,
    correlate,
    quantise,
    scale_and_shift,
    scatter,
    spread,
)


class Block(NamedTuple):
    """A block and its inputs as the loops read them.

    Attributes:
        x: ``[C, L]`` flat inputs, zero outside the images.
        xq: Their quantised form; ``[0, 0]`` without predictor.
        inside: ``[L]``, 1 on pixels of the images.
        output_inside: ``[L]``, 1 where the depthwise filter has an output (its stride).
        margin: Zeros before the first image.
        step: Values worked on before the next ones, a whole number of images.
        groups: Of expand and project.
        codes: ``[2]``, what follows the two norms.
        gated: Whether there is a predictor.
        surrogate: Whether gradients go through its gates to it.
        expand: ``[M, C/groups]``, the expand norm's factor folded in.
        expand_shift: ``[M]``, what the expand norm adds.
        whole_expand: ``[M, C/groups]``; this and what else is the predictor's is empty without one.
        expand_offset: ``[M]``.
        hidden_scale: ``[M]``.
        hidden_max: Largest quantised hidden value.
        taps: ``[k*k]`` offsets of the filter's taps.
        depthwise: ``[M, k*k]``.
        whole_depthwise: ``[M, k*k]``.
        depthwise_offset: ``[M]``.
        gamma: ``[M]`` of the depthwise norm, 64-bit floats as all of this norm.
        beta: ``[M]``, 0 where it has no shift.
        shifted: ``[M]``, 0 where the norm only scales.
        mean: ``[M]``; statistics of the batch if ``use_batch`` (:func:`forward` fills them in), else those to be used.
        variance: ``[M]``; likewise.
        eps: Of the norm.
        use_batch: Whether the norm uses the batch's statistics.
        outputs: Number of outputs of one channel.
        project: ``[M, O/groups]``.
        expand_width: ``[M]``, half-widths of the gates' surrogate gradients.
        depthwise_width: Likewise.
    """

    x: Array
    xq: Array
    inside: Array
    output_inside: Array
    margin: int
    step: int
    groups: int
    codes: Array
    gated: bool
    surrogate: bool
    expand: Array
    expand_shift: Array
    whole_expand: Array
    expand_offset: Array
    hidden_scale: Array
    hidden_max: float
    taps: Array
    depthwise: Array
    whole_depthwise: Array
    depthwise_offset: Array
    gamma: Array
    beta: Array
    shifted: Array
    mean: Array
    variance: Array
    eps: float
    use_batch: bool
    outputs: float
    project: Array
    expand_width: Array
    depthwise_width: Array


class Gradients(NamedTuple):
    """What :func:`backward` fills in, all zero before.

    Attributes:
        x: ``[C, L]``; without what goes through the statistics of the expand norm.
        xq: ``[C, L]``; ``[0, 0]`` without predictor.
        expand: ``[M, C/groups]``: sums of the gradient of the normalised expand times the inputs, where the weight is
            not zero.
        expand_shift: ``[M]``: sums of that gradient.
        whole_expand: ``[M, C/groups]``, of all weights, as that of the other whole ones.
        expand_offset: ``[M]``.
        depthwise: ``[M, k*k]``, where the weight is not zero.
        whole_depthwise: ``[M, k*k]``.
        depthwise_offset: ``[M]``.
        gamma: ``[M]``, of the depthwise norm.
        beta: ``[M]``.
        project: ``[M, O/groups]``, where the weight is not zero.
    """

    x: Array
    xq: Array
    expand: Array
    expand_shift: Array
    whole_expand: Array
    expand_offset: Array
    depthwise: Array
    whole_depthwise: Array
    depthwise_offset: Array
    gamma: Array
    beta: Array
    project: Array


class Scratch(NamedTuple):
    """Room for one channel, ``[1, L]`` each: normalised expand, first score, hidden value and its quantised form,
    depthwise output, second score; and lists of a filter's weights that are not zero."""

    a: Array
    z1: Array
    h: Array
    q1: Array
    d: Array
    z2: Array
    rows: Array
    offsets: Array
    zeros: Array
    chosen: Array


@njit(nogil=True, fastmath=REORDERED)
def row(length: int) -> Array:
    return np.zeros((1, length), np.float32)


@njit(nogil=True, fastmath=REORDERED)
def scratch(block: Block) -> Scratch:
    length = len(block.inside)
    size = max(block.expand.shape[1], block.project.shape[1], len(block.taps))
    return Scratch(
        row(length),
        row(length),
        row(length),
        row(length),
        row(length),
        row(length),
        np.zeros(size, np.int64),
        np.zeros(size, np.int64),
        np.zeros(size, np.int64),
        np.zeros(size, np.float32),
    )


@njit(nogil=True, fastmath=REORDERED)
def to_depthwise(block: Block, channel: int, lo: int, hi: int, room: Scratch) -> None:
    """From the inputs to the depthwise output of one channel, and the predictor's scores, on some images."""
    first = channel // (len(block.expand) // block.groups) * block.expand.shape[1]
    count = choose(block.expand[channel], room.rows, room.chosen, first)
    combine(block.x, room.rows, room.zeros, room.chosen, count, block.expand_shift[channel], room.a[0], lo, hi)
    if block.gated:
        count = choose(block.whole_expand[channel], room.rows, room.chosen, first)
        combine(block.xq, room.rows, room.zeros, room.chosen, count, block.expand_offset[channel], room.z1[0], lo, hi)
        quantise(room.z1[0], block.hidden_scale[channel], block.hidden_max, block.inside, room.q1[0], lo, hi)
    activate(room.a[0], room.z1[0], block.codes[0], block.inside, room.h[0], lo, hi)
    count = choose_taps(block.depthwise[channel], block.taps, room.offsets, room.chosen)
    combine(room.h, room.zeros, room.offsets, room.chosen, count, 0.0, room.d[0], lo, hi)
    if block.gated:
        count = choose_taps(block.whole_depthwise[channel], block.taps, room.offsets, room.chosen)
        offset = block.depthwise_offset[channel]
        combine(room.q1, room.zeros, room.offsets, room.chosen, count, offset, room.z2[0], lo, hi)


@njit(nogil=True, fastmath=REORDERED)
def depthwise_norm(block: Block, channel: int) -> tuple[Real, np.float32, np.float32]:
    """Deviation, factor and shift of one channel's depthwise norm: ``normalised = factor * d + shift``."""
    deviation = np.sqrt(block.variance[channel] + block.eps)
    scale = block.gamma[channel] / deviation
    return deviation, np.float32(scale), np.float32(block.beta[channel] - block.mean[channel] * scale)


@njit(nogil=True, fastmath=REORDERED)
def forward(block: Block, y: Array) -> None:
    """One block up to its project norm: ``y = project(activation(norm(depthwise(activation(norm(expand(x)))))))``.

    Args:
        block: What it does, and to what.
        y: ``[O, L]``, zero; filled. What lies outside ``output_inside`` means nothing.
    """
    middle, group_outputs = block.project.shape
    end = len(block.inside) - block.margin
    room = scratch(block)
    everywhere = np.ones(len(block.inside), np.float32)
    normed, u = row(len(block.inside))[0], row(len(block.inside))[0]
    for channel in range(middle):
        for lo in range(block.margin, end, block.step):
            to_depthwise(block, channel, lo, min(lo + block.step, end), room)
        if block.use_batch:
            total = add_up(room.d[0], 0.0, 1, block.output_inside)
            block.mean[channel] = block.shifted[channel] * total / block.outputs
            squares = add_up(room.d[0], block.mean[channel], 2, block.output_inside)
            block.variance[channel] = squares / block.outputs
        _, factor, shift = depthwise_norm(block, channel)
        first = channel // (middle // block.groups) * group_outputs
        count = choose(block.project[channel], room.rows, room.chosen, first)
        for lo in range(block.margin, end, block.step):
            hi = min(lo + block.step, end)
            scale_and_shift(room.d[0, lo:hi], factor, shift, normed[lo:hi])
            activate(normed, room.z2[0], block.codes[1], everywhere, u, lo, hi)
            spread(u, y, room.rows, room.chosen, count, lo, hi)


@njit(nogil=True, fastmath=REORDERED)
def backward(block: Block, y: Array, found: Gradients) -> None:
    """Gradients of :func:`forward`; what that computed is computed again, which is cheaper than keeping it.

    Args:
        block: As :func:`forward` left it.
        y: ``[O, L]`` gradient of the outputs, zero outside ``output_inside``.
        found: Filled.
    """
    end, length = len(block.inside) - block.margin, len(block.inside)
    room = scratch(block)
    of_d, of_z2, of_h, of_z1, u = row(length), row(length), row(length), row(length), row(length)
    sums, tap_sums = np.zeros(len(room.rows), np.float64), np.zeros(len(room.rows), np.float64)
    for channel in range(len(block.expand)):
        _back_to_depthwise(block, channel, y, room, u[0], of_d[0], of_z2[0], of_h[0], sums, found)
        sums[:] = 0
        tap_sums[:] = 0
        count = choose_taps(block.depthwise[channel], block.taps, room.offsets, room.chosen)
        for lo in range(block.margin, end, block.step):
            hi = min(lo + block.step, end)
            correlate(of_d[0], room.h, room.zeros, room.offsets, count, sums, lo, hi)
            if block.surrogate:
                correlate(of_z2[0], room.q1, room.zeros, block.taps, len(block.taps), tap_sums, lo, hi)
        scatter(sums, block.depthwise[channel], found.depthwise[channel])
        if block.surrogate:
            found.whole_depthwise[channel] = tap_sums[: len(block.taps)]
        _back_to_inputs(block, channel, room, of_d, of_z2, of_h[0], of_z1[0], sums, tap_sums, found)


@njit(nogil=True, fastmath=REORDERED)
def _back_to_depthwise(
    block: Block,
    channel: int,
    y: Array,
    room: Scratch,
    u: Array,
    of_d: Array,
    of_z2: Array,
    of_u: Array,
    sums: Array,
    found: Gradients,
) -> None:
    """From the gradient of the outputs to those of one channel's depthwise output and second score."""
    middle, group_outputs = block.project.shape
    first = channel // (middle // block.groups) * group_outputs
    mean = block.mean[channel]
    deviation, factor, shift = depthwise_norm(block, channel)
    inverse = np.float32(1 / block.depthwise_width[channel]) if block.surrogate else ZERO
    end = len(block.inside) - block.margin
    total: Real = 0.0
    total_d: Real = 0.0
    total_z2: Real = 0.0
    sums[:] = 0
    for lo in range(block.margin, end, block.step):
        hi = min(lo + block.step, end)
        to_depthwise(block, channel, lo, hi, room)
        count = choose(block.project[channel], room.rows, room.chosen, first)
        combine(y, room.rows, room.zeros, room.chosen, count, 0.0, of_u, lo, hi)
        part, part_d, part_z2 = back_through_second(
            of_u[lo:hi],
            room.d[0, lo:hi],
            room.z2[0, lo:hi],
            factor,
            shift,
            inverse,
            block.codes[1],
            u[lo:hi],
            of_d[lo:hi],
            of_z2[lo:hi],
        )
        total, total_d, total_z2 = total + part, total_d + part_d, total_z2 + part_z2
        correlate(u, y, room.rows, room.zeros, count, sums, lo, hi)
    scatter(sums, block.project[channel], found.project[channel])
    found.gamma[channel] = (total_d - mean * total) / deviation
    found.beta[channel] = total
    if block.surrogate:
        found.depthwise_offset[channel] = total_z2
    constant, slope = ZERO, ZERO
    if block.use_batch:
        c1, c2 = block.shifted[channel] * total / block.outputs, found.gamma[channel] / block.outputs
        scale = block.gamma[channel] / deviation
        slope = np.float32(scale * c2 / deviation)
        constant = np.float32(scale * (c1 - mean * c2 / deviation))
    d = room.d[0]
    for p in range(len(of_d)):
        of_d[p] = factor * of_d[p] - block.output_inside[p] * (constant + slope * d[p])


@njit(nogil=True, fastmath=REORDERED)
def _back_to_inputs(
    block: Block,
    channel: int,
    room: Scratch,
    of_d: Array,
    of_z2: Array,
    of_h: Array,
    of_z1: Array,
    sums: Array,
    whole_sums: Array,
    found: Gradients,
) -> None:
    """From one channel's depthwise output and second score to the inputs."""
    middle, group_channels = block.expand.shape
    first = channel // (middle // block.groups) * group_channels
    inverse = np.float32(1 / block.expand_width[channel]) if block.surrogate else ZERO
    hidden = np.float32(block.hidden_scale[channel]) if block.gated else ONE
    limit = np.float32(block.hidden_max + 1)
    end = len(block.inside) - block.margin
    total: Real = 0.0
    total_z1: Real = 0.0
    sums[:] = 0
    whole_sums[:] = 0
    for lo in range(block.margin, end, block.step):
        hi = min(lo + block.step, end)
        count = choose_taps(block.depthwise[channel], -block.taps, room.offsets, room.chosen)
        combine(of_d, room.zeros, room.offsets, room.chosen, count, 0.0, of_h, lo, hi)
        if block.surrogate:
            count = choose_taps(block.whole_depthwise[channel], -block.taps, room.offsets, room.chosen)
            combine(of_z2, room.zeros, room.offsets, room.chosen, count, 0.0, of_z1, lo, hi)
        part, part_z1 = back_through_first(
            of_h[lo:hi],
            of_z1[lo:hi],
            room.a[0, lo:hi],
            room.z1[0, lo:hi],
            block.inside[lo:hi],
            inverse,
            hidden,
            limit,
            block.codes[0],
            block.surrogate,
        )
        total, total_z1 = total + part, total_z1 + part_z1
        count = choose(block.expand[channel], room.rows, room.chosen, first)
        correlate(of_h, block.x, room.rows, room.zeros, count, sums, lo, hi)
        spread(of_h, found.x, room.rows, room.chosen, count, lo, hi)
        if block.surrogate:
            count = choose(block.whole_expand[channel], room.rows, room.chosen, first)
            spread(of_z1, found.xq, room.rows, room.chosen, count, lo, hi)
            for j in range(group_channels):
                room.rows[j] = first + j
            correlate(of_z1, block.xq, room.rows, room.zeros, group_channels, whole_sums, lo, hi)
    scatter(sums, block.expand[channel], found.expand[channel])
    found.expand_shift[channel] = total
    if block.surrogate:
        found.expand_offset[channel] = total_z1
        found.whole_expand[channel] = whole_sums[:group_channels]
