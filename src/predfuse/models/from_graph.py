"""A network that is at hand as a graph, traced or read from a file, as a model that can be trained from there.

Every convolution gets a batch norm behind it again (tracing has folded them away), every bottleneck is a
:class:`predfuse.models.layers.BottleneckUnit`, so that it is pruned, predicted and lowered like a registered network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from predfuse.errors import InputError
from predfuse.exporters.module import node_module
from predfuse.graph.io import decode_network, encode_network
from predfuse.graph.nodes import INPUT, Bottleneck, Conv, Linear, Network, Node
from predfuse.models.layers import BottleneckUnit, Cnn, ConvUnit, Norm, activate
from predfuse.models.lower import array_of, folded, lower_bottleneck


class GraphCnn(Cnn):
    """A graph of layers; each is named as its node, with ``/`` for the dots that PyTorch does not allow.

    Attributes:
        graph: The network it was made of; its arrays give shapes, the weights are those of the layers.
    """

    def __init__(self, architecture: str, graph: Network) -> None:
        document, tensors = encode_network(graph)
        shapes = {name: list(array.shape) for name, array in tensors.items()}
        options: dict[str, object] = {"graph": document, "shapes": shapes}
        options["num_classes"] = graph.shapes()[graph.output][0]
        layers = [(node.name.replace(".", "/"), _layer(node)) for node in graph.nodes]
        super().__init__(architecture, options, graph.input_shape, layers)
        self.graph = graph

    def through(self, x: Tensor, call: Callable[..., Tensor]) -> Tensor:
        values = {INPUT: x}
        for node, layer in zip(self.graph.nodes, self.layers, strict=True):
            values[node.name] = call(layer, *(values[source] for source in node.inputs))
        return values[self.graph.nodes[-1].name].flatten(1)

    def lowered(self) -> tuple[Node, ...]:
        """The nodes with the weights the layers have now, norms folded in, predictors as integers."""
        return tuple(map(_lowered, self.graph.nodes, self.layers))


class Dense(nn.Linear):
    """A linear layer and its activation, ``[N, ...] -> [N, O, 1, 1]``."""

    def __init__(self, node: Linear) -> None:
        super().__init__(node.weight.shape[1], node.weight.shape[0])
        self.activation = node.activation

    def forward(self, x: Tensor) -> Tensor:
        return activate(super().forward(x.flatten(1)), self.activation)[:, :, None, None]


class _PaddedConv2d(nn.Conv2d):
    """A convolution that pads its sides unequally."""

    def __init__(self, node: Conv) -> None:
        super().__init__(
            node.in_channels, node.out_channels, node.kernel, node.stride, 0, node.dilation, node.groups, bias=False
        )
        top, bottom, left, right = node.padding
        self.sides = (left, right, top, bottom)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(x, self.sides))


def trainable(network: Network, architecture: str, images: Tensor | None = None) -> GraphCnn:
    """A model that computes what ``network`` does, in evaluation mode.

    Args:
        network: Predictors it has are left out: they are trained anew.
        architecture: What the model is called.
        images: ``[N, C, H, W]``, normalised. Given some, the norms have their statistics, so that the model goes on
            from the network's weights in training mode too; else they are as those of a fresh model.

    Raises:
        InputError: A block pads otherwise than by half of its kernel.
    """
    model = GraphCnn(architecture, network.replace_nodes(**_without_predictors(network)))
    with torch.no_grad():
        for node, layer in zip(network.nodes, model.layers, strict=True):
            _fill(layer, node)
        if images is not None:
            model.eval().through(images, _settled)
    return model


def rebuilt(architecture: str, options: dict[str, Any]) -> GraphCnn:
    """The model whose ``options`` these are, to be filled from a checkpoint.

    Raises:
        InputError: They describe no network.
    """
    try:
        shapes = {str(name): tuple(map(int, sizes)) for name, sizes in options["shapes"].items()}
        zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        return GraphCnn(architecture, decode_network(options["graph"], zeros))
    except (KeyError, TypeError, ValueError, AttributeError, MemoryError) as error:
        raise InputError(f"network {architecture}", "is not described", "use a matching predfuse") from error


def _without_predictors(network: Network) -> dict[str, Node]:
    return {block.name: dataclasses.replace(block, predictor=None) for block in network.bottlenecks()}


def _layer(node: Node) -> nn.Module:
    if isinstance(node, Conv):
        unit = ConvUnit(node.in_channels, node.out_channels, groups=node.groups, activation=node.activation)
        top, bottom, left, right = node.padding
        if top == bottom and left == right:
            sizes = (node.in_channels, node.out_channels, node.kernel, node.stride, (top, left), node.dilation)
            unit.conv = nn.Conv2d(*sizes, groups=node.groups, bias=False)
        else:
            unit.conv = _PaddedConv2d(node)
        return unit
    if isinstance(node, Bottleneck):
        if node.padding != (node.kernel // 2,) * 4:
            what = f"pads by {node.padding}, not by {node.kernel // 2} on every side"
            raise InputError(f"block {node.name}", what, "pad by half of the kernel to train it")
        return BottleneckUnit(
            node.in_channels,
            node.middle_channels,
            node.out_channels,
            node.kernel,
            node.stride,
            node.groups,
            node.expand_activation,
            node.depthwise_activation,
            node.shuffle_groups,
            node.residual,
        )
    return Dense(node) if isinstance(node, Linear) else node_module(node, "plain")


def _copy(target: Tensor, array: Any) -> None:
    target.copy_(torch.from_numpy(np.array(array, np.float32)).view_as(target))


def _fill(layer: nn.Module, node: Node) -> None:
    """Give a layer the weights of its node; the norms pass on what they get, plus the folded bias."""
    if isinstance(node, Conv) and isinstance(layer, ConvUnit):
        _fill_pair(layer.conv, layer.norm, node.weight, node.bias)
    elif isinstance(node, Bottleneck) and isinstance(layer, BottleneckUnit):
        _fill_pair(layer.expand, layer.expand_norm, node.expand_weight, node.expand_bias)
        _fill_pair(layer.depthwise, layer.depthwise_norm, node.depthwise_weight, node.depthwise_bias)
        _fill_pair(layer.project, layer.project_norm, node.project_weight, node.project_bias)
    elif isinstance(node, Linear) and isinstance(layer, Dense):
        _copy(layer.weight, node.weight)
        _copy(layer.bias, node.bias)


def _fill_pair(conv: nn.Conv2d, norm: Norm, weight: Any, bias: Any) -> None:
    _copy(conv.weight, weight)
    norm.weight.fill_((1 + norm.eps) ** 0.5)
    _copy(norm.bias, bias)


def _settled(layer: nn.Module, *inputs: Tensor) -> Tensor:
    """What a layer gives, its norms now with the statistics of what they get; it computes the same."""
    if isinstance(layer, ConvUnit):
        _settle(layer.norm, layer.conv(inputs[0]))
    elif isinstance(layer, BottleneckUnit):
        _settle(layer.expand_norm, layer.expand(inputs[0]))
        a = activate(layer.expand_norm(layer.expand(inputs[0])), layer.expand_activation)
        _settle(layer.depthwise_norm, layer.depthwise(a))
        d = activate(layer.depthwise_norm(layer.depthwise(a)), layer.depthwise_activation)
        _settle(layer.project_norm, layer.project(d))
    result: Tensor = layer(*inputs)
    return result


def _settle(norm: Norm, y: Tensor) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(y.mean((0, 2, 3)))
    norm.running_var.copy_(y.var((0, 2, 3), unbiased=False))
    norm.weight.copy_((norm.running_var + norm.eps).sqrt())
    norm.bias.add_(norm.running_mean)


def _lowered(node: Node, layer: nn.Module) -> Node:
    if isinstance(node, Conv) and isinstance(layer, ConvUnit):
        weight, bias = folded(layer.conv, layer.norm)
        return dataclasses.replace(node, weight=weight, bias=bias)
    if isinstance(node, Bottleneck) and isinstance(layer, BottleneckUnit):
        return lower_bottleneck(node.name, node.inputs[0], layer)
    if isinstance(node, Linear) and isinstance(layer, Dense):
        return dataclasses.replace(node, weight=array_of(layer.weight), bias=array_of(layer.bias))
    return node
