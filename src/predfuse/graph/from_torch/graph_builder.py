"""Nodes of a network under construction: a node of the graph, what it came from, and two kinds only tracing knows."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from predfuse.arrays import FloatArray
from predfuse.graph.from_torch.ledger import Part
from predfuse.graph.nodes import Activation, Add, Conv, Node, Padding, Shape


@dataclass(frozen=True, eq=False)
class Pad(Node):
    """A constant border, to be absorbed by the layer that reads it.

    Attributes:
        image: ``(C, H, W)`` before padding.
        padding: ``(top, bottom, left, right)`` pixels.
        value: What the border holds.
    """

    image: Shape
    padding: Padding
    value: float = 0.0

    def output_shape(self, shapes: list[Shape]) -> Shape:
        (shape,) = shapes
        top, bottom, left, right = self.padding
        return (shape[0], shape[1] + top + bottom, shape[2] + left + right)


@dataclass(frozen=True, eq=False)
class Draft:
    """A node and where it came from.

    Attributes:
        node: A node of :mod:`predfuse.graph.nodes`, or :class:`Pad`.
        parts: The operations it stands for.
        origin: Graph node whose value the node computes; empty for a step that no graph node takes by itself.
        affine: Whether it is a per-channel scale and shift, written as a 1x1 depthwise convolution.
        reason: Why the ledger calls it plain or unsupported.
    """

    node: Node
    parts: tuple[Part, ...]
    origin: str
    affine: bool = False
    reason: str = ""

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def source(self) -> str:
        """The node it reads first."""
        return self.node.inputs[0]

    def absorbing(self, earlier: Draft, node: Node) -> Draft:
        """This draft after ``earlier`` became part of it: ``node`` computes both, under the name it carries."""
        return dataclasses.replace(self, node=node, parts=earlier.parts + self.parts, affine=False)


def readers(drafts: Iterable[Draft], output: str) -> Counter[str]:
    """How often every name is read; the network's output counts as one more reader."""
    counts = Counter(source for draft in drafts for source in set(draft.node.inputs))
    counts[output] += 1
    return counts


def affine_conv(name: str, source: str, scale: FloatArray, shift: FloatArray) -> Conv:
    """``scale * x + shift`` per channel as a 1x1 depthwise convolution."""
    return Conv(
        name, (source,), weight=scale.reshape(-1, 1, 1, 1).astype(np.float64), bias=shift, groups=int(scale.size)
    )


def activation_node(name: str, source: str, activation: Activation) -> Add:
    """An activation by itself: the sum of one input, then the activation."""
    return Add(name, (source,), activation)
