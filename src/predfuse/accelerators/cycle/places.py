"""Where the feature maps a layer reads and writes are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from predfuse.accelerators.cycle.residency import Residency, plan_residency
from predfuse.accelerators.spec import AcceleratorSpec
from predfuse.ir import Network, Node, Shape


@dataclass(frozen=True)
class Place:
    """The maps of one layer.

    Attributes:
        input_on_chip: The input stays in the global buffer.
        output_on_chip: So does the output.
        free_words: Room in the global buffer beside all maps that stay there (16-bit words).
    """

    input_on_chip: bool
    output_on_chip: bool
    free_words: int


@dataclass(frozen=True, eq=False)
class Places:
    """The maps of all layers of a network."""

    network: Network
    spec: AcceleratorSpec
    residency: Residency
    shapes: Mapping[str, Shape]

    @classmethod
    def plan(cls, network: Network, spec: AcceleratorSpec, reserved_words: Mapping[str, int]) -> Places:
        """Keep what fits; ``reserved_words`` is what each node needs for itself (16-bit words)."""
        residency = plan_residency(network, spec.global_buffer.words, reserved_words)
        return cls(network, spec, residency, network.shapes())

    def of(self, node: Node) -> Place:
        """The maps of one node; several inputs count as on chip if all are."""
        return Place(
            input_on_chip=all(source in self.residency.maps for source in node.inputs),
            output_on_chip=node.name in self.residency.maps,
            free_words=self.spec.global_buffer.words - self.residency.words[node.name],
        )

    def words(self, name: str) -> int:
        """Size of a map (16-bit words)."""
        return int(np.prod(self.shapes[name]))

    def input_words(self, node: Node) -> int:
        """Size of all inputs of a node (16-bit words)."""
        return sum(self.words(source) for source in node.inputs)

    def inside(self, place: Place, part: int, parts: int, words_before: int, words_after: int) -> Place:
        """The maps of one of several convolutions a node consists of, what lies between them kept where there is room.

        Args:
            place: Of the node.
            part: Which convolution, from 0.
            parts: How many.
            words_before: Size of the map between it and the one before (16-bit words).
            words_after: Size of the map between it and the next (16-bit words).
        """
        first, last = part == 0, part == parts - 1
        held_before = not first and words_before <= place.free_words // 4
        held_after = not last and words_after <= place.free_words // 4
        taken = words_before * held_before + words_after * held_after
        return Place(
            input_on_chip=place.input_on_chip if first else held_before,
            output_on_chip=place.output_on_chip if last else held_after,
            free_words=place.free_words - taken,
        )
