"""A network that is at hand as a graph, traced or read from a file, as a model of PyTorch layers.

To be trained, every convolution gets a batch norm behind it again (tracing has folded them away); to be run as it is,
it keeps its bias. Either way every bottleneck is a :class:`predfuse.models.layers.BottleneckUnit`, so that it is
pruned, predicted and lowered like that of a registered network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial, reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from predfuse.errors import InputError
from predfuse.graph.io import decode_network, encode_network
from predfuse.graph.nodes import (
    INPUT,
    Add,
    Bottleneck,
    Concat,
    Conv,
    Linear,
    Network,
    Node,
    Padding,
    Pool,
    Shuffle,
    Unsupported,
)
from predfuse.models.layers import BottleneckUnit, Cnn, ConvUnit, PaddedConv2d, activate, norm_names, shuffle_channels
from predfuse.models.lower import array_of, folded, lower_bottleneck
from predfuse.models.norms import Norm


class GraphCnn(Cnn):
    """A graph of layers. Where it can be stored, each is named as its node, with ``/`` for the dots PyTorch forbids.

    Attributes:
        graph: The network it was made of; its arrays give shapes, the weights are those of the layers.
    """

    def __init__(
        self, architecture: str, graph: Network, layers: Iterable[nn.Module], options: dict[str, object] | None = None
    ) -> None:
        names = (str(n) if options is None else node.name.replace(".", "/") for n, node in enumerate(graph.nodes))
        super().__init__(architecture, options or {}, graph.input_shape, list(zip(names, layers, strict=True)))
        self.graph = graph

    def through(self, x: Tensor, call: Callable[..., Tensor]) -> Tensor:
        values = {INPUT: x}
        for node, layer in zip(self.graph.nodes, self.layers, strict=True):
            values[node.name] = call(layer, *(values[source] for source in node.inputs))
        return values[self.graph.output].flatten(1)

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


class Weightless(nn.Module):
    """A layer without weights: a function of its inputs."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def folded_layers(network: Network, dtype: torch.dtype = torch.float32) -> list[nn.Module]:
    """Layers that compute what the nodes do, in evaluation mode and without predictors: no norms, biases as they are.

    Raises:
        InputError: A node is an unsupported operation.
    """
    layers = []
    for node in network.nodes:
        with torch.device("meta"):  # no weights are drawn
            layer = _layer(node, norms=False)
        layers.append(layer.to(dtype).to_empty(device="cpu").eval())
        _fill(layer, node)
    return layers


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
    model = _unfilled(architecture, network.replace_nodes(**_without_predictors(network)))
    for node, layer in zip(network.nodes, model.layers, strict=True):
        _fill(layer, node)
    if images is not None:
        with torch.no_grad():
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
        return _unfilled(architecture, decode_network(options["graph"], zeros))
    except (KeyError, TypeError, ValueError, AttributeError, MemoryError) as error:
        raise InputError(f"network {architecture}", "is not described", "use a matching predfuse") from error


def _without_predictors(network: Network) -> dict[str, Node]:
    return {block.name: dataclasses.replace(block, predictor=None) for block in network.bottlenecks()}


def _unfilled(architecture: str, graph: Network) -> GraphCnn:
    """A model to be trained, its options enough to build it again."""
    document, tensors = encode_network(graph)
    options: dict[str, object] = {"graph": document}
    options["shapes"] = {name: list(array.shape) for name, array in tensors.items()}
    options["num_classes"] = graph.shapes()[graph.output][0]
    return GraphCnn(architecture, graph, map(_layer, graph.nodes), options)


def _layer(node: Node, norms: bool = True) -> nn.Module:
    """A layer of the node's sizes; without ``norms``, its convolutions have biases instead."""
    if isinstance(node, Conv):
        unit = ConvUnit(node.in_channels, node.out_channels, groups=node.groups, activation=node.activation)
        sizes = (node.in_channels, node.out_channels, node.kernel, node.stride, node.padding)
        unit.conv = _convolution(*sizes, node.dilation, node.groups)
        return unit if norms else _with_biases(unit)
    if isinstance(node, Bottleneck):
        half = (node.kernel // 2,) * 4
        if norms and node.padding != half:
            what = f"pads by {node.padding}, not by {node.kernel // 2} on every side"
            raise InputError(f"block {node.name}", what, "pad by half of the kernel to train it")
        block = BottleneckUnit(
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
        if node.padding != half:
            middle, kernel = node.middle_channels, (node.kernel, node.kernel)
            block.depthwise = _convolution(middle, middle, kernel, node.stride, node.padding, 1, middle)
        return block if norms else _with_biases(block)
    if isinstance(node, Linear):
        return Dense(node)
    if isinstance(node, Pool):
        return Weightless(partial(_pool, node))
    if isinstance(node, Add):
        return Weightless(lambda *inputs: activate(reduce(torch.add, inputs), node.activation, inplace=False))
    if isinstance(node, Concat):
        return Weightless(lambda *inputs: torch.cat(inputs, 1))
    if isinstance(node, Shuffle):
        return Weightless(lambda x: shuffle_channels(x, node.groups))
    assert isinstance(node, Unsupported)
    raise InputError(f"layer {node.name}", f"cannot be run: {node.reason}", "replace this operation in the model")


def _convolution(
    into: int, out: int, kernel: tuple[int, int], stride: int, sides: Padding, dilation: int, groups: int
) -> nn.Conv2d:
    top, bottom, left, right = sides
    if top == bottom and left == right:
        return nn.Conv2d(into, out, kernel, stride, (top, left), dilation, groups, bias=False)
    return PaddedConv2d(into, out, kernel, stride, sides, dilation, groups)


def _with_biases(unit: ConvUnit | BottleneckUnit) -> nn.Module:
    """The same layer with a bias in each convolution in place of the norm after it."""
    for name, norm in norm_names(unit).items():
        conv = getattr(unit, name)
        conv.bias = nn.Parameter(torch.empty(conv.out_channels))
        setattr(unit, norm, nn.Identity())
    return unit


def _pool(node: Pool, x: Tensor) -> Tensor:
    if node.kernel == 0:
        return x.mean((2, 3), keepdim=True) if node.kind == "average" else x.amax((2, 3), keepdim=True)
    top, bottom, left, right = node.padding
    sides = (left, right, top, bottom)
    if node.kind == "max":
        return F.max_pool2d(F.pad(x, sides, value=-torch.inf), node.kernel, node.stride)
    y = F.avg_pool2d(F.pad(x, sides), node.kernel, node.stride)
    if node.count_padding or not any(sides):
        return y
    return y / F.avg_pool2d(F.pad(torch.ones_like(x[:1, :1]), sides), node.kernel, node.stride)


def _copy(target: Tensor, array: Any) -> None:
    target.copy_(torch.from_numpy(np.array(array)).view_as(target))


@torch.no_grad()
def _fill(layer: nn.Module, node: Node) -> None:
    """Give a layer the weights of its node; norms it has pass on what they get, plus the folded bias."""
    if isinstance(node, Conv) and isinstance(layer, ConvUnit):
        _fill_pair(layer.conv, layer.norm, node.weight, node.bias)
    elif isinstance(node, Bottleneck) and isinstance(layer, BottleneckUnit):
        _fill_pair(layer.expand, layer.expand_norm, node.expand_weight, node.expand_bias)
        _fill_pair(layer.depthwise, layer.depthwise_norm, node.depthwise_weight, node.depthwise_bias)
        _fill_pair(layer.project, layer.project_norm, node.project_weight, node.project_bias)
    elif isinstance(node, Linear) and isinstance(layer, Dense):
        _copy(layer.weight, node.weight)
        _copy(layer.bias, node.bias)


def _fill_pair(conv: nn.Conv2d, norm: Norm | nn.Identity, weight: Any, bias: Any) -> None:
    _copy(conv.weight, weight)
    if isinstance(norm, nn.Identity):
        assert conv.bias is not None
        _copy(conv.bias, bias)
    else:
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
