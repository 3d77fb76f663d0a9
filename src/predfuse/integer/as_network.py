"""A program seen as a network again: for counting and simulating, not for computing."""

from __future__ import annotations

from typing import Any

from predfuse.graph.nodes import Add, Concat, Conv, Network, Node, Pool, Shuffle
from predfuse.integer.program import FusedBlock, IntegerAdd, IntegerConcat, IntegerConv, IntegerPool, Program


def integer_network(program: Program) -> Network:
    """A program's layers as nodes of :mod:`predfuse.graph.nodes`: its shapes, which weights are zero, its predictors.

    The weights are the program's integers, without their scales: it is for counting, not for computing.
    """
    return Network(program.name, program.input_shape, tuple(_plain_node(node) for node in program.nodes))


def _plain_node(node: Any) -> Node:
    if isinstance(node, FusedBlock):
        return node.as_bottleneck()
    if isinstance(node, IntegerConv):
        return Conv(
            node.name,
            node.inputs,
            weight=node.weight,
            bias=node.bias,
            stride=node.stride,
            padding=node.padding,
            dilation=node.dilation,
            groups=node.groups,
            activation=node.activation,
        )
    if isinstance(node, IntegerPool):
        return Pool(node.name, node.inputs, node.kind, node.kernel, node.stride, node.padding)
    if isinstance(node, IntegerAdd):
        return Add(node.name, node.inputs, node.activation)
    if isinstance(node, IntegerConcat):
        return Concat(node.name, node.inputs)
    return Shuffle(node.name, node.inputs, node.groups)
