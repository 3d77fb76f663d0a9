"""Magnitude pruning of the blocks of a network, to give an untrained network the published densities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from predfuse.arrays import Array, Item
from predfuse.errors import InputError
from predfuse.graph.nodes import Bottleneck, Conv, Network, Node
from predfuse.hardware.workload import DEPTHWISE, EXPAND_OR_LAYER, PROJECT, layer_of, stage_of

POINTWISE_DENSITY = 0.2
"""Share of 1x1 weights kept in the published networks."""
DEPTHWISE_DENSITY = 0.3
"""Share of depthwise weights kept in the published networks."""


def keep_largest(weight: npt.NDArray[Item], density: float) -> npt.NDArray[Item]:
    """The largest weights (any shape), ``density`` of them (a share, 0..1), the others zero; of equals the first.

    Source: magnitude pruning (Han 2015, arXiv 1506.02626).
    """
    keep = round(density * weight.size)
    if keep == 0:
        return np.zeros_like(weight)
    magnitude = np.abs(weight).reshape(-1)
    smallest_kept = np.partition(magnitude, weight.size - keep)[weight.size - keep]
    chosen = magnitude > smallest_kept
    equals = np.flatnonzero(magnitude == smallest_kept)
    chosen[equals[: keep - np.count_nonzero(chosen)]] = True
    pruned: npt.NDArray[Item] = np.where(chosen.reshape(weight.shape), weight, 0)
    return pruned


def prune_blocks(
    network: Network,
    pointwise_density: float = POINTWISE_DENSITY,
    depthwise_density: float = DEPTHWISE_DENSITY,
    shift_density: float = 1.0,
) -> Network:
    """Prune expand, depthwise and project of every block, each by itself; stem, tail and classifier stay dense.

    ``pointwise_density``, ``depthwise_density`` and ``shift_density`` are the shares that are kept, 0..1. Shifts are
    the biases of expand and depthwise, of :class:`~predfuse.graph.nodes.Bottleneck` nodes only.

    Blocks are :class:`~predfuse.graph.nodes.Bottleneck` nodes and convolutions named ``b1.expand``, ``b1.depthwise``,
    ``b1.project``.

    Raises:
        InputError: A density lies outside 0..1.

    Source: docs/explanation/ics21.md; predfuse.hardware.pruning.keep_largest.
    """
    shares = {"pointwise": pointwise_density, "depthwise": depthwise_density, "shift": shift_density}
    for option, density in shares.items():
        if not 0.0 <= density <= 1.0:
            raise InputError(f"{option} density", f"is {density}", "use a share between 0 and 1")

    def pruned(node: Node) -> Node:
        if isinstance(node, Bottleneck):
            return replace(
                node,
                expand_weight=keep_largest(node.expand_weight, pointwise_density),
                expand_bias=keep_largest(node.expand_bias, shift_density),
                depthwise_bias=keep_largest(node.depthwise_bias, shift_density),
                depthwise_weight=keep_largest(node.depthwise_weight, depthwise_density),
                project_weight=keep_largest(node.project_weight, pointwise_density),
            )
        stage = stage_of(node.name)
        if isinstance(node, Conv) and layer_of(node.name) != node.name:
            if stage in (EXPAND_OR_LAYER, PROJECT):
                return replace(node, weight=keep_largest(node.weight, pointwise_density))
            if stage == DEPTHWISE:
                return replace(node, weight=keep_largest(node.weight, depthwise_density))
        return node

    return replace(network, nodes=tuple(pruned(node) for node in network.nodes))


def with_pruned_rest(network: Network) -> Network:
    """The network with every 1x1 convolution outside its blocks pruned to the published density too.

    Source: predfuse.hardware.pruning.keep_largest.
    """

    def pruned(node: Node) -> Node:
        if not isinstance(node, Conv) or node.kernel != (1, 1) or np.count_nonzero(node.weight) < node.weight.size:
            return node
        return replace(node, weight=keep_largest(node.weight, POINTWISE_DENSITY))

    return replace(network, nodes=tuple(map(pruned, network.nodes)))


def with_shifts(network: Network, change: Callable[[Array], Array]) -> Network:
    """The network with ``change`` applied to the shifts inside its blocks: the biases of expand and depthwise, ``[M]``.

    Source: docs/explanation/arithmetic.md, The block.
    """
    return network.with_blocks(
        lambda block: replace(block, expand_bias=change(block.expand_bias), depthwise_bias=change(block.depthwise_bias))
    )
