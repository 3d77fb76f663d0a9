"""Which feature maps stay in the global buffer from the layer that makes them to the last that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from predfuse.ir import INPUT, Network


@dataclass(frozen=True)
class Residency:
    """What the global buffer holds besides the layers' own tiles.

    Attributes:
        maps: Names of the feature maps that never leave the chip.
        words: Words of such maps alive while a node runs, its input and output included, by node (16-bit words).
    """

    maps: frozenset[str]
    words: Mapping[str, int]


def plan_residency(network: Network, capacity_words: int, reserved_words: Mapping[str, int]) -> Residency:
    """Keep every map that fits, in the order they are made, beside what the layers need for themselves.

    The network's input comes from the DRAM and its output goes there.

    Args:
        network: The network.
        capacity_words: Of the global buffer (16-bit words).
        reserved_words: What each node needs for its tiles and weights, by node (16-bit words).
    """
    order = {node.name: index for index, node in enumerate(network.nodes)}
    last_use = {
        source: max(order[node.name] for node in network.nodes if source in node.inputs)
        for source in {source for node in network.nodes for source in node.inputs} - {INPUT}
    }
    shapes = network.shapes()
    free = [capacity_words - reserved_words.get(node.name, 0) for node in network.nodes]
    alive = [0] * len(network.nodes)
    maps = set()
    for node in network.nodes:
        if node.name not in last_use:
            continue
        words = int(np.prod(shapes[node.name]))
        span = range(order[node.name], last_use[node.name] + 1)
        if all(alive[index] + words <= free[index] for index in span):
            maps.add(node.name)
            for index in span:
                alive[index] += words
    return Residency(frozenset(maps), {node.name: alive[order[node.name]] for node in network.nodes})
