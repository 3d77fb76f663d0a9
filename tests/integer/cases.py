"""Random networks with weights of reasonable size, compiled."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from hypothesis import assume, strategies as st
from strategies import network_images, networks

from predfuse.arrays import Array
from predfuse.errors import InputError
from predfuse.fusion.execute import run_network
from predfuse.graph.nodes import Bottleneck, Conv, Linear, Network, Node
from predfuse.integer.compile import compile_network
from predfuse.integer.options import CompileOptions
from predfuse.integer.program import Program


@dataclass(frozen=True, eq=False)
class CompiledCase:
    """A network, its program, and the images it was calibrated on."""

    network: Network
    images: Array
    program: Program


def tamed(network: Network, images: Array, reaches: list[float]) -> Network:
    """The network with the weights of every layer scaled so that its output reaches about its entry of ``reaches``."""
    for node, largest in zip(network.nodes, reaches, strict=True):
        output = run_network(network, images, "predicted", statistics=False, keep=[node.name]).outputs[node.name]
        reach = float(np.abs(output).max())
        if reach > 0 and isinstance(node, Conv | Bottleneck | Linear):
            network = network.replace_nodes(**{node.name: _scaled(node, largest / reach)})
    return network


def _scaled(node: Node, factor: float) -> Node:
    names = ("project_weight", "project_bias") if isinstance(node, Bottleneck) else ("weight", "bias")
    return dataclasses.replace(node, **{name: getattr(node, name) * factor for name in names})


@st.composite
def compile_options(draw: st.DrawFn) -> CompileOptions:
    """Words of both widths, narrow and wide weights and sums."""
    bits = draw(st.sampled_from((8, 16)))
    weight_bits = draw(st.sampled_from((2, 4, 8, 12, 16)).filter(lambda chosen: chosen <= bits))
    return CompileOptions(
        bits=bits,
        weight_bits=weight_bits,
        sum_bits=draw(st.integers(weight_bits, 31)),
        accumulator_bits=63,
        margin=draw(st.sampled_from((1.0, 1.5, 4.0))),
    )


@st.composite
def compiled_cases(draw: st.DrawFn, with_predictor: bool | None = None) -> CompiledCase:
    """Compiled random networks; those whose scales lie too far apart to compile are left out."""
    network = draw(networks(max_nodes=4, with_predictor=with_predictor))
    images = draw(network_images(network))
    if draw(st.integers(0, 3)):
        network = tamed(network, images, [draw(st.sampled_from((0.3, 2.0, 9.0, 50.0))) for _ in network.nodes])
    try:
        return CompiledCase(network, images, compile_network(network, images, draw(compile_options())))
    except InputError as error:
        assume("predictor reads steps" not in str(error) and "scale" not in str(error))
        raise
