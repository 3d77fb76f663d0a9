"""Which feature maps stay in the global buffer from the layer that makes them to the last that reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from predfuse.graph.nodes import INPUT


@dataclass(frozen=True)
class LayerMaps:
    """The maps of one layer.

    Attributes:
        name: Of the layer and of the map it makes.
        sources: Maps it reads.
        words: Size of its map (16-bit words).
        reserved_words: Buffer it needs for its tiles and weights (16-bit words).
    """

    name: str
    sources: tuple[str, ...]
    words: int
    reserved_words: int


@dataclass(frozen=True)
class Residency:
    """What the global buffer holds besides the layers' own tiles.

    Attributes:
        maps: Names of the feature maps that never leave the chip.
        words: Words of such maps alive while a layer runs, its input and output included, by layer (16-bit words).
    """

    maps: frozenset[str]
    words: Mapping[str, int]


def plan_residency(layers: Sequence[LayerMaps], capacity_words: int) -> Residency:
    """Keep every map that fits, in the order they are made, beside what the layers need for themselves.

    The network's input comes from the DRAM and its output goes there.

    Args:
        layers: In order; maps nobody reads are outputs.
        capacity_words: Of the global buffer (16-bit words).
    """
    last_use = {source: index for index, layer in enumerate(layers) for source in layer.sources if source != INPUT}
    alive = [0] * len(layers)
    maps = set()
    for index, layer in enumerate(layers):
        span = range(index, last_use.get(layer.name, -1) + 1)
        room = all(alive[at] + layer.words + layers[at].reserved_words <= capacity_words for at in span)
        if len(span) and room:
            maps.add(layer.name)
            for at in span:
                alive[at] += layer.words
    return Residency(frozenset(maps), {layer.name: words for layer, words in zip(layers, alive, strict=True)})
