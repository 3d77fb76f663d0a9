"""Prove a traced network on examples: every node against the captured operations, the output against the module."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from predfuse.arrays import Float64Array, FloatArray
from predfuse.errors import PredfuseError
from predfuse.fusion.execute import run_network, run_plain
from predfuse.graph.from_torch.behaviour import call
from predfuse.graph.from_torch.capture import quiet
from predfuse.graph.nodes import INPUT, Bottleneck, Network, Node, Unsupported

NODE_TOLERANCE = 1e-7
"""Largest relative difference of a node from the captured operation, both in float64."""


@dataclass(frozen=True)
class Verification:
    """How far a network is from its module, as largest differences over the largest absolute value.

    Attributes:
        node_error: Over all nodes, network and captured operations in float64.
        output_error: Of the output for any example, network in float64 and module as it is (usually float32); None
            where unsupported nodes keep the network from running.
    """

    node_error: float
    output_error: float | None


def verify(
    network: Network, module: nn.Module, images: Tensor, recorded: Mapping[str, FloatArray], tolerance: float
) -> Verification:
    """Compare the network with the module.

    Args:
        network: The traced network.
        module: The module it was traced from.
        images: ``[N, C, H, W]``; ``recorded`` belongs to the first.
        recorded: What the captured operations gave, by the name of the network's node; nodes that are not in it are
            verified by those that read them.
        tolerance: Largest relative difference of the outputs. A module that misses it is run once more in float64,
            for its own rounding may be larger.

    Raises:
        PredfuseError: A difference is too large; names the first node that differs.
    """
    errors, first = _node_errors(network, as_array(images[0]), recorded)
    for name, error in errors.items():
        _require(network, name, error, NODE_TOLERANCE)
    node_error = max(errors.values(), default=0.0)
    if any(isinstance(node, Unsupported) for node in network.nodes):
        return Verification(node_error, None)
    logits = [first.ravel()]
    if len(images) > 1:
        logits += list(run_network(network, as_array(images[1:]), statistics=False).logits)
    output_error = _output_error(logits, module, images)
    if not output_error <= tolerance:
        with quiet():
            wide = copy.deepcopy(module).double()
        _require(network, network.output, _output_error(logits, wide, images.double()), tolerance)
    return Verification(node_error, output_error)


def _node_errors(
    network: Network, image: FloatArray, recorded: Mapping[str, FloatArray]
) -> tuple[dict[str, float], FloatArray]:
    """Relative error of every node, each reading what the network itself computed before it, and the output.

    Unsupported nodes are taken from the record.
    """
    values: dict[str, FloatArray] = {INPUT: image}
    errors = {}
    for node in network.nodes:
        if isinstance(node, Unsupported):
            values[node.name] = recorded[node.name].reshape(node.shape)
            continue
        values[node.name] = _run(node, [values[source] for source in node.inputs])
        if node.name in recorded:
            errors[node.name] = relative_error(values[node.name], recorded[node.name])
    return errors, values[network.output]


def _run(node: Node, inputs: list[FloatArray]) -> FloatArray:
    if not isinstance(node, Bottleneck):
        return run_plain(node, inputs)
    channels, height, width = inputs[0].shape
    single = Network(node.name, (channels, height, width), (dataclasses.replace(node, inputs=(INPUT,)),))
    out: FloatArray = run_network(single, inputs[0][None], statistics=False, keep=(node.name,)).outputs[node.name][0]
    return out


def _output_error(logits: list[FloatArray], module: nn.Module, images: Tensor) -> float:
    """Largest relative error over the images of what the network gave for each."""
    expected = [as_array(call(module, image[None])) for image in images]
    return max(relative_error(got, wanted) for got, wanted in zip(logits, expected, strict=True))


def relative_error(got: FloatArray, expected: FloatArray) -> float:
    """Largest absolute difference over the largest absolute expected value; infinite where either is not finite."""
    if got.size != expected.size or not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return float("inf")
    difference = float(np.abs(got.reshape(-1) - expected.reshape(-1)).max(initial=0.0))
    scale = float(np.abs(expected).max(initial=0.0))
    return difference / scale if scale > 0 else (0.0 if difference == 0 else float("inf"))


def as_array(value: Tensor) -> Float64Array:
    """A tensor as float64."""
    array: Float64Array = value.detach().cpu().double().numpy()
    return array


def _require(network: Network, name: str, error: float, tolerance: float) -> None:
    if not error <= tolerance:
        raise PredfuseError(
            f"model {network.name}: the traced network differs from the module at {name} by a relative {error:.2g}, "
            f"more than {tolerance:g}; please report this model"
        )
