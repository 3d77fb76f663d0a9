"""What holds arrays prints as one short line."""

from __future__ import annotations

import numpy as np

from predfuse import data, models
from predfuse.graph.nodes import Conv
from predfuse.integer.compile import compile_network


def test_what_holds_arrays_prints_as_one_short_line() -> None:
    dataset = data.load("fashion-mnist-1000", "test", limit=3)
    network = models.network("mobilenetv2-s")
    program = compile_network(network, np.zeros((1, *network.input_shape), np.uint8))
    assert repr(dataset) == "Dataset('fashion-mnist-1000', test: 3 images of 1x28x28, 10 classes)"
    blocks, nodes = len(list(network.bottlenecks())), len(network.nodes)
    assert repr(network) == f"Network('mobilenetv2-s', input 3x32x32, {nodes} nodes, {blocks} of them blocks)"
    assert repr(program) == f"Program('mobilenetv2-s', input 3x32x32, {len(program.nodes)} nodes, 0 of them fused)"


def test_nodes_print_types_and_shapes_of_their_arrays() -> None:
    network = models.network("mobilenetv2-s")
    conv, block = network.nodes[0], next(iter(network.bottlenecks()))
    assert isinstance(conv, Conv)
    assert repr(conv).startswith(
        f"Conv(name='conv1', inputs=('input',), weight={conv.weight.dtype}[32, 3, 3, 3], bias="
    )
    assert repr(conv).endswith("stride=2, padding=(1, 1, 1, 1), dilation=1, groups=1, activation='relu6')")
    program = compile_network(network, np.zeros((1, *network.input_shape), np.uint8))
    for printed in map(repr, (*network.nodes, *program.nodes, block)):
        assert len(printed.splitlines()) == 1
        assert len(printed) < 700
