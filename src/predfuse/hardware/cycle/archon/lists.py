"""Lists of fused weights as the published machine broadcasts them: their lengths, and cycles to send them."""

from __future__ import annotations

import numpy as np

from predfuse.graph.nodes import Array
from predfuse.hardware.block_work import BlockWork


def list_lengths(work: BlockWork, group: int) -> tuple[Array, Array]:
    """Entries of every list of a group.

    Args:
        work: The block.
        group: Which group.

    Returns:
        Of the weight lists ``[O, C, K]`` int64, and of the bias lists ``[O * (K + 1)]``: for every output those of the
        expand biases tap by tap and that of the depthwise biases.
    """
    span = slice(group * work.group_middle, (group + 1) * work.group_middle)
    project = work.project[group * work.group_outputs : (group + 1) * work.group_outputs].astype(np.float64)
    taps = work.depthwise[span].astype(np.float64)
    factors = (work.expand[span].astype(np.float64)[:, :, None] * taps[:, None, :]).reshape(work.group_middle, -1)
    shape = (work.group_outputs, work.group_channels, work.taps)
    weights = np.rint(project @ factors).astype(np.int64).reshape(shape)
    biases = np.column_stack((work.expand_bias[span, None] * taps, work.depthwise_bias[span]))
    return weights, np.rint(project @ biases).astype(np.int64).ravel()


def broadcast_cycles(lengths: Array, lanes: int) -> int:
    """Cycles to send lists, ``lanes`` entries a cycle; lists share none, an empty one takes one too."""
    return int(np.maximum(1, -(-lengths // lanes)).sum())
