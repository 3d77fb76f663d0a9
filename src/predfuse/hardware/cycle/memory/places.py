"""Where the feature maps a layer reads and writes are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from predfuse.graph.nodes import INPUT, Bottleneck, Concat, Network, Node, Shuffle
from predfuse.hardware.cycle.memory.residency import LayerMaps, Residency, plan_residency
from predfuse.hardware.spec import AcceleratorSpec


@dataclass(frozen=True)
class Place:
    """The maps of one layer.

    Attributes:
        input_on_chip: The input stays in the global buffer.
        output_on_chip: So does the output.
        residual_on_chip: So does what is added to the output, if anything is.
        free_words: Room in the global buffer beside all maps that stay there (16-bit words).
    """

    input_on_chip: bool
    output_on_chip: bool
    residual_on_chip: bool
    free_words: int


@dataclass(frozen=True, eq=False)
class Places:
    """The maps of all layers of a network. Shuffles and concatenations only change addresses: they have none.

    Attributes:
        spec: The machine.
        layers: Every layer by name; of a block run as three layers ``part(name, 0)`` to ``part(name, 2)``.
        residency: Which maps stay.
        network_input_words: Size of the network's input (16-bit words).
    """

    spec: AcceleratorSpec
    layers: Mapping[str, LayerMaps]
    residency: Residency
    network_input_words: int

    @classmethod
    def plan(
        cls, network: Network, spec: AcceleratorSpec, split: Collection[str], reserved_words: Mapping[str, int]
    ) -> Places:
        """Keep what fits.

        Args:
            network: The network.
            spec: The machine.
            split: Blocks run as three layers.
            reserved_words: What each node needs for itself, any of its layers (16-bit words).
        """
        layers: list[LayerMaps] = []
        made: dict[str, tuple[str, ...]] = {}  # the maps a node's output consists of
        shapes = network.shapes()
        for node in network.nodes:
            sources = tuple(name for source in node.inputs for name in made.get(source, (source,)))
            if isinstance(node, Shuffle | Concat):
                made[node.name] = sources
                continue
            words, reserved = int(np.prod(shapes[node.name])), reserved_words[node.name]
            if not (isinstance(node, Bottleneck) and node.name in split):
                layers.append(LayerMaps(node.name, sources, words, reserved))
                made[node.name] = (node.name,)
                continue
            into = shapes[node.inputs[0]]
            names = [part(node.name, index) for index in range(3)]
            expanded = node.middle_channels * into[1] * into[2]
            depthwise = node.middle_channels * shapes[node.name][1] * shapes[node.name][2]
            layers += [
                LayerMaps(names[0], sources, expanded, reserved),
                LayerMaps(names[1], (names[0],), depthwise, reserved),
                LayerMaps(names[2], (names[1], *(sources if node.residual else ())), words, reserved),
            ]
            made[node.name] = (names[2],)
        residency = plan_residency(layers, spec.global_buffer.words)
        return cls(spec, {layer.name: layer for layer in layers}, residency, int(np.prod(network.input_shape)))

    def of(self, name: str) -> Place:
        """The maps of one layer; several inputs count as on chip if all are."""
        layer = self.layers[name]
        kept = [source in self.residency.maps for source in layer.sources]
        last = name.endswith(part("", 2))
        return Place(
            input_on_chip=kept[0] if last else all(kept),
            output_on_chip=name in self.residency.maps,
            residual_on_chip=all(kept[1:]) if last else all(kept),
            free_words=self.spec.global_buffer.words - self.residency.words[name],
        )

    def input_words(self, node: Node) -> int:
        """Size of all inputs of a node (16-bit words)."""
        return sum(
            self.network_input_words if source == INPUT else self.layers[source].words
            for source in self.layers[node.name].sources
        )


def part(name: str, index: int) -> str:
    """Name of one of the three layers of a block: expand, depthwise, project."""
    return f"{name}/{index}"
