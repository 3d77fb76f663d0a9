"""Channels between convolutions brought to similar size, by powers of two that cancel.

A tensor has one scale for all its channels. Where a convolution is read by convolutions only, a channel that stays far
below the others can be made larger by a power of two, and the weights that read it smaller, so that it uses more of
its 16 bits. The network computes the same.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from predfuse.arrays import Float64Array, Int64Array
from predfuse.graph.nodes import Conv, Linear, Network, Node, Pool, Shuffle

CHANNEL_MARGIN = 1.5
"""Headroom of a channel over the largest value it had: fewer values were seen of it than of the whole tensor."""
LARGEST_GAIN = 6
"""Largest power of two."""


def channel_gains(network: Network, largest: dict[str, Float64Array]) -> dict[str, Int64Array]:
    """Powers of two, ``[C]`` int64 per node, by which to make the channels of its output larger.

    Args:
        network: Without unpredicted blocks.
        largest: ``[C]`` largest magnitude of every channel of every node.
    """
    gains: dict[str, Int64Array] = {}
    for node in network.nodes:
        magnitudes = largest[node.name]
        if isinstance(node, Conv) and node.activation != "relu6" and _read_by_convolutions(network, node.name):
            gains[node.name] = _gain(magnitudes)
        elif isinstance(node, Pool) and node.inputs[0] in gains:
            gains[node.name] = gains[node.inputs[0]]
        elif isinstance(node, Shuffle) and node.inputs[0] in gains:
            gains[node.name] = gains[node.inputs[0]].reshape(node.groups, -1).T.ravel()
        else:
            gains[node.name] = np.zeros(magnitudes.size, np.int64)
    return gains


def _gain(magnitudes: Float64Array) -> Int64Array:
    """Powers of two that bring channels of these largest magnitudes near the largest of all."""
    used = magnitudes > 0
    ratio = magnitudes.max() / (CHANNEL_MARGIN * np.where(used, magnitudes, np.inf))
    return np.where(used, np.clip(np.frexp(ratio)[1] - 1, 0, LARGEST_GAIN), 0).astype(np.int64)


def _read_by_convolutions(network: Network, name: str) -> bool:
    """Whether only convolutions and linear layers read a node, directly or through shuffles and pooling."""
    readers = [node for node in network.nodes if name in node.inputs]
    return bool(readers) and all(
        isinstance(node, Conv | Linear)
        or (isinstance(node, Shuffle | Pool) and _read_by_convolutions(network, node.name))
        for node in readers
    )


def equalise(network: Network, gains: dict[str, Int64Array]) -> Network:
    """The network with the channels of its nodes larger by powers of two, as :func:`channel_gains` gives them."""
    return dataclasses.replace(network, nodes=tuple(_scaled(node, gains, network) for node in network.nodes))


def _scaled(node: Node, gains: dict[str, Int64Array], network: Network) -> Node:
    source = gains.get(node.inputs[0])
    own = gains[node.name]
    if isinstance(node, Conv):
        weight = node.weight
        if source is not None:
            grouped = source.reshape(node.groups, 1, -1)  # the input channels of each group
            repeated = np.repeat(grouped, node.out_channels // node.groups, axis=1).reshape(node.out_channels, -1)
            weight = np.ldexp(weight, -repeated[:, :, None, None])
        weight = np.ldexp(weight, own[:, None, None, None])
        return dataclasses.replace(node, weight=weight, bias=np.ldexp(node.bias, own))
    if isinstance(node, Linear) and source is not None:
        pixels = node.weight.shape[1] // source.size
        return dataclasses.replace(node, weight=np.ldexp(node.weight, -np.repeat(source, pixels)))
    return node
