"""Prove a traced network on an example: every node against what the module's own operation gave."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from predfuse.errors import PredfuseError
from predfuse.fusion.execute import run_network, run_plain
from predfuse.ir import INPUT, Array, Bottleneck, Network, Node, Unsupported
from predfuse.trace.capture import evaluation, quiet


@dataclass(frozen=True)
class NodeError:
    """How far a node is from the module.

    Attributes:
        name: The node.
        relative_error: Largest absolute difference, divided by the largest absolute value of the module's output.
    """

    name: str
    relative_error: float


def node_errors(network: Network, image: Array, recorded: dict[str, Array]) -> list[NodeError]:
    """Run the network and compare every node.

    Each node reads what the network itself computed before it, so errors add up as they do in use; only unsupported
    nodes are taken from the module.

    Args:
        network: The traced network.
        image: ``[C, H, W]``.
        recorded: What the module computed, by node name.
    """
    values = {INPUT: image.astype(np.float64)}
    errors = []
    for node in network.nodes:
        expected = recorded[node.name]
        if isinstance(node, Unsupported):
            values[node.name] = expected.reshape(node.shape)
            continue
        out = _run(node, [values[source] for source in node.inputs])
        values[node.name] = out
        errors.append(NodeError(node.name, relative_error(out, expected)))
    return errors


def output_errors(network: Network, module: nn.Module, images: Tensor) -> list[NodeError]:
    """Compare what the module itself, in evaluation, and the network give for whole images ``[N, C, H, W]``."""
    with evaluation(module), quiet(), torch.no_grad():
        expected = torch.cat([module(image[None]).reshape(1, -1) for image in images])
    got = run_network(network, as_array(images), statistics=False).logits
    pairs = zip(got, as_array(expected), strict=True)
    return [NodeError(network.output, relative_error(*pair)) for pair in pairs]


def _run(node: Node, inputs: list[Array]) -> Array:
    if not isinstance(node, Bottleneck):
        return run_plain(node, inputs)
    single = dataclasses.replace(node, inputs=(INPUT,))
    shape = inputs[0].shape
    network = Network(node.name, (shape[0], shape[1], shape[2]), (single,))
    result = run_network(network, inputs[0][None], statistics=False, keep=(node.name,))
    out: Array = result.outputs[node.name][0]
    return out


def relative_error(got: Array, expected: Array) -> float:
    """Largest absolute difference over the largest absolute expected value; infinite where either is not finite."""
    if got.size != expected.size or not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return float("inf")
    difference = float(np.abs(got.reshape(-1) - expected.reshape(-1)).max(initial=0.0))
    scale = float(np.abs(expected).max(initial=0.0))
    return difference / scale if scale > 0 else (0.0 if difference == 0 else float("inf"))


def as_array(value: Tensor) -> Array:
    """A tensor as float64."""
    array: Array = value.detach().cpu().double().numpy()
    return array


def require_small(errors: list[NodeError], tolerance: float, model: str) -> float:
    """The largest error.

    Raises:
        PredfuseError: It exceeds the tolerance; names the first node that does.
    """
    for error in errors:
        if not error.relative_error <= tolerance:
            raise PredfuseError(
                f"model {model}: the traced network differs from the module at {error.name} by a relative "
                f"{error.relative_error:.2g}, more than {tolerance:g}; please report this model"
            )
    return max((error.relative_error for error in errors), default=0.0)
