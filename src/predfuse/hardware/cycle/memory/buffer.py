"""The global buffer: which feature maps stay in it, where the maps of a layer are, and cycles of its accesses."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from predfuse.graph.nodes import INPUT
from predfuse.hardware.energy import Actions
from predfuse.hardware.spec import AcceleratorSpec
from predfuse.hardware.workload import Operation, WorkItem, Workload

PARTS = 4
"""A map written in place of its input is made in at least so many parts, one of which lies there twice."""


@dataclass(frozen=True)
class LayerMaps:
    """The maps of one layer.

    Attributes:
        name: Of the layer and of the map it makes.
        sources: Maps it reads.
        words: Of its map that are there at once (words).
        reserved_words: Buffer it needs for its tiles and weights (words).
        replaces: The source in whose place its map may be written, if nothing reads that one later; empty if none.
        twice_words: What then lies there beside what it replaces (words).
    """

    name: str
    sources: tuple[str, ...]
    words: int
    reserved_words: int
    replaces: str = ""
    twice_words: int = 0


@dataclass(frozen=True)
class Residency:
    """What the global buffer holds besides the layers' own tiles.

    Attributes:
        maps: Names of the feature maps that never leave the chip.
        words: Words of such maps alive while a layer runs, its input and output included, by layer (words).
    """

    maps: frozenset[str]
    words: Mapping[str, int]


def plan_residency(layers: Sequence[LayerMaps], capacity_words: int) -> Residency:
    """Keep every map that fits, in the order they are made, beside what the layers need for themselves.

    The network's input comes from the DRAM and its output goes there. A map that may replace a source nothing reads
    later takes only what it is larger, and what lies there twice.

    Args:
        layers: In order; maps nobody reads are outputs.
        capacity_words: Of the global buffer (words).
    """
    last_use = {source: index for index, layer in enumerate(layers) for source in layer.sources if source != INPUT}
    alive = [0] * len(layers)
    maps: dict[str, int] = {}  # with their words
    for index, layer in enumerate(layers):
        span = range(index, last_use.get(layer.name, -1) + 1)
        added = [layer.words] * len(span)
        if added and layer.replaces in maps and last_use[layer.replaces] == index:
            added[0] = min(layer.words, max(0, layer.words - maps[layer.replaces]) + layer.twice_words)
        taken = [alive[at] + words for at, words in zip(span, added, strict=True)]
        room = all(words + layers[at].reserved_words <= capacity_words for at, words in zip(span, taken, strict=True))
        if added and room:
            maps[layer.name] = layer.words
            alive[span.start : span.stop] = taken
    return Residency(frozenset(maps), {layer.name: words for layer, words in zip(layers, alive, strict=True)})


@dataclass(frozen=True)
class Place:
    """The maps of one layer.

    Attributes:
        input_on_chip: The input stays in the global buffer.
        output_on_chip: So does the output.
        residual_on_chip: So does what is added to the output, if anything is.
        free_words: Room in the global buffer beside all maps that stay there (words).
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
        map_words: Size of every map, and of the network's input (words).
    """

    spec: AcceleratorSpec
    layers: Mapping[str, LayerMaps]
    residency: Residency
    map_words: Mapping[str, int]

    @classmethod
    def plan(
        cls,
        work: Workload,
        spec: AcceleratorSpec,
        split: Collection[str],
        reserved_words: Mapping[str, int],
        in_parts: Callable[[Operation], bool],
    ) -> Places:
        """Keep what fits. Of a map that only the pooling behind it reads, a part: channels are pooled as they are made.

        Args:
            work: The network.
            spec: The machine.
            split: Blocks run as three layers.
            reserved_words: What each node needs for itself, any of its layers (words).
            in_parts: Whether the machine makes the map of an operation in :data:`PARTS` parts or more, each of which
                needs no input of another, so that it can be written in place of its input.
        """
        layers: list[LayerMaps] = []
        sizes = {INPUT: int(np.prod(work.input_shape))}
        pooled = _pooled_at_once(work)
        made: dict[str, tuple[str, ...]] = {}  # the maps a node's output consists of
        for item in work.items:
            sources = tuple(name for source in item.inputs for name in made.get(source, (source,)))
            if item.only_renames:
                made[item.node] = sources
                continue
            words, reserved = int(np.prod(item.shape)), reserved_words[item.node]
            twice = -(-words // PARTS)
            if item.node not in split:
                sizes[item.node] = words
                words = pooled.get(item.node, words)
                apart = item.is_elementwise or _apart(item, in_parts)
                replaced = sources[0] if apart and len(sources) == 1 and sources[0] not in pooled else ""
                layers.append(LayerMaps(item.node, sources, words, reserved, replaced, twice))
                made[item.node] = (item.node,)
                continue
            names = [part(item.node, index) for index in range(3)]
            expanded, depthwise = (operation.outputs * operation.out_pixels for operation in item.operations[:2])
            replaced = names[0] if in_parts(item.operations[1]) else ""
            added = sources if item.residual else ()
            sizes |= zip(names, (expanded, depthwise, words), strict=True)
            layers += [
                LayerMaps(names[0], sources, expanded, reserved),
                LayerMaps(names[1], (names[0],), depthwise, reserved, replaced, -(-depthwise // PARTS)),
                LayerMaps(names[2], (names[1], *added), words, reserved, added[0] if len(added) == 1 else ""),
            ]
            made[item.node] = (names[2],)
        residency = plan_residency(layers, spec.buffer_words)
        return cls(spec, {layer.name: layer for layer in layers}, residency, sizes)

    def of(self, name: str) -> Place:
        """The maps of one layer; several inputs count as on chip if all are."""
        layer = self.layers[name]
        kept = [source in self.residency.maps for source in layer.sources]
        last = name.endswith(part("", 2))
        return Place(
            input_on_chip=kept[0] if last else all(kept),
            output_on_chip=name in self.residency.maps,
            residual_on_chip=all(kept[1:]) if last else all(kept),
            free_words=self.spec.buffer_words - self.residency.words[name],
        )

    def input_words(self, item: WorkItem) -> int:
        """Size of all inputs of a node (words)."""
        return sum(self.map_words[source] for source in self.layers[item.node].sources)


def _pooled_at_once(work: Workload) -> dict[str, int]:
    """Layers whose map nothing reads but the pooling that comes next, and words of one of :data:`PARTS` parts of it."""
    readers = Counter(source for item in work.items for source in item.inputs)
    found = {}
    for item, after in pairwise(work.items):
        alone = after.is_pooling and after.inputs == (item.node,) and readers[item.node] == 1
        if alone and len(item.operations) == 1:
            operation = item.operations[0]
            found[item.node] = -(-operation.outputs // PARTS) * operation.out_pixels
    return found


def _apart(item: WorkItem, in_parts: Callable[[Operation], bool]) -> bool:
    """Whether a node that is one layer can be written in place of its input; a fused block goes group by group."""
    if item.is_block:
        return item.block is not None and item.block.groups >= PARTS
    return len(item.operations) == 1 and in_parts(item.operations[0])


def part(name: str, index: int) -> str:
    """Name of one of the three layers of a block: expand, depthwise, project."""
    return f"{name}/{index}"


def buffer_cycles(actions: Actions, spec: AcceleratorSpec) -> int:
    """Least cycles for the accesses of the global buffer: every bank makes one a cycle, however many words it moves."""
    accesses = actions.global_buffer_reads + actions.global_buffer_writes
    return math.ceil(round(accesses / spec.global_buffer.banks, 6))


def on_chip(actions: Actions, input_bits: float, output_bits: float, spec: AcceleratorSpec) -> Actions:
    """Actions of a layer whose maps of so many bits never leave the global buffer."""
    width = spec.global_buffer.width_bits
    return actions.with_counts(
        dram_read_bits=actions.dram_read_bits - input_bits,
        dram_written_bits=actions.dram_written_bits - output_bits,
        global_buffer_writes=actions.global_buffer_writes - input_bits / width,
        global_buffer_reads=actions.global_buffer_reads - output_bits / width,
    )
