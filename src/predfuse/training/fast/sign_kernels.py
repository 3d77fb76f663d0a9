"""The layer-wise loss of one block a middle channel at a time, in numba, and the block's output.

See :mod:`predfuse.training.fast.block_kernels` for the arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from predfuse.graph.nodes import Array
from predfuse.training.fast.block_kernels import Block, depthwise_norm, row, scratch, to_depthwise
from predfuse.training.fast.block_loops import (
    REORDERED,
    activate,
    back_through_hidden,
    choose,
    choose_taps,
    combine,
    correlate,
    scale_and_shift,
    sign_loss,
    spread,
    summed,
)


class SignGradients(NamedTuple):
    """What :func:`layerwise` fills in, by channel, all zero before; losses are sums, not yet over the sum of weights.

    Attributes:
        losses: ``[M, 2]``: of the first and the second stage.
        weights: ``[M, 2]``: their weights.
        expand: ``[M, 2, C/groups]``: gradients of both losses.
        expand_offset: ``[M, 2]``.
        depthwise: ``[M, k*k]``: gradient of the second loss.
        depthwise_offset: ``[M]``.
    """

    losses: Array
    weights: Array
    expand: Array
    expand_offset: Array
    depthwise: Array
    depthwise_offset: Array


@njit(nogil=True, fastmath=REORDERED)
def layerwise(block: Block, y: Array, found: SignGradients) -> None:
    """Both stages' sign losses of one block under its true masks, their gradients, and what the project puts out.

    Args:
        block: With a predictor, but with the codes of its activations, and statistics to be used.
        y: ``[O, L]``, zero; filled as by :func:`predfuse.training.fast.block_kernels.forward`.
        found: Filled.
    """
    middle, group_channels = block.expand.shape
    length = len(block.inside)
    end, taps = length - block.margin, len(block.taps)
    room = scratch(block)
    normed, u, of_z1, of_z2, through = row(length), row(length), row(length), row(length), row(length)
    everywhere, bits = np.ones(length, np.float32), np.zeros(length, np.int32)
    group_rows = np.zeros(group_channels, np.int64)
    for channel in range(middle):
        group = channel // (middle // block.groups)
        _, factor, shift = depthwise_norm(block, channel)
        first_slope, second_slope = 4 / block.expand_width[channel], 4 / block.depthwise_width[channel]
        for lo in range(block.margin, end, block.step):
            hi = min(lo + block.step, end)
            to_depthwise(block, channel, lo, hi, room)
            scale_and_shift(room.d[0, lo:hi], factor, shift, normed[0, lo:hi])
            activate(normed[0], room.z2[0], block.codes[1], everywhere, u[0], lo, hi)
            count = choose(block.project[channel], room.rows, room.chosen, group * block.project.shape[1])
            spread(u[0], y, room.rows, room.chosen, count, lo, hi)
            loss, weight = sign_loss(
                room.z1[0, lo:hi], room.a[0, lo:hi], block.inside[lo:hi], first_slope, bits[lo:hi], of_z1[0, lo:hi]
            )
            found.losses[channel, 0] += loss
            found.weights[channel, 0] += weight
            loss, weight = sign_loss(
                room.z2[0, lo:hi],
                normed[0, lo:hi],
                block.output_inside[lo:hi],
                second_slope,
                bits[lo:hi],
                of_z2[0, lo:hi],
            )
            found.losses[channel, 1] += loss
            found.weights[channel, 1] += weight
        hidden, limit = np.float32(block.hidden_scale[channel]), np.float32(block.hidden_max + 1)
        count = choose_taps(block.whole_depthwise[channel], -block.taps, room.offsets, room.chosen)
        for j in range(group_channels):
            group_rows[j] = group * group_channels + j
        for lo in range(block.margin, end, block.step):
            hi = min(lo + block.step, end)
            combine(of_z2, room.zeros, room.offsets, room.chosen, count, 0.0, through[0], lo, hi)
            back_through_hidden(through[0, lo:hi], room.z1[0, lo:hi], block.inside[lo:hi], hidden, limit)
            found.expand_offset[channel, 0] += summed(of_z1[0, lo:hi])
            found.expand_offset[channel, 1] += summed(through[0, lo:hi])
            found.depthwise_offset[channel] += summed(of_z2[0, lo:hi])
            correlate(of_z1[0], block.xq, group_rows, room.zeros, group_channels, found.expand[channel, 0], lo, hi)
            correlate(through[0], block.xq, group_rows, room.zeros, group_channels, found.expand[channel, 1], lo, hi)
            correlate(of_z2[0], room.q1, room.zeros, block.taps, taps, found.depthwise[channel], lo, hi)
