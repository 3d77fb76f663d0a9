"""From a registered PyTorch network to :mod:`predfuse.graph.nodes`: batch norms folded, predictors as integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from predfuse.arrays import Float64Array, FloatArray
from predfuse.errors import InputError
from predfuse.fusion.folding import fold_batch_norm
from predfuse.graph.nodes import INPUT, Add, Bottleneck, Conv, Linear, Network, Node, Pool, Shuffle
from predfuse.models.layers import BottleneckUnit, Cnn, ConvUnit, GlobalPool, ShuffleUnit, padding_of
from predfuse.models.norms import Norm


def array_of(tensor: torch.Tensor) -> Float64Array:
    """A tensor as 64-bit floats."""
    return tensor.detach().cpu().numpy().astype(np.float64)


def folded(conv: nn.Conv2d, norm: Norm) -> tuple[FloatArray, FloatArray]:
    """Weight and bias of a convolution with the norm after it folded in."""
    assert norm.running_mean is not None and norm.running_var is not None
    return fold_batch_norm(
        array_of(conv.weight),
        array_of(norm.weight),
        array_of(norm.bias),
        array_of(norm.running_mean),
        array_of(norm.running_var),
        norm.eps,
    )


def _lower_conv(name: str, source: str, unit: ConvUnit) -> list[Node]:
    weight, bias = folded(unit.conv, unit.norm)
    conv = Conv(
        name=name,
        inputs=(source,),
        weight=weight,
        bias=bias,
        stride=unit.conv.stride[0],
        padding=padding_of(unit.conv),
        groups=unit.conv.groups,
        activation=unit.activation,
    )
    if unit.shuffle_groups == 1:
        return [conv]
    return [conv, Shuffle(f"{name}.shuffle", (name,), groups=unit.shuffle_groups)]


def lower_bottleneck(name: str, source: str, unit: BottleneckUnit) -> Bottleneck:
    """A block as a node that reads ``source``."""
    expand, expand_bias = folded(unit.expand, unit.expand_norm)
    depthwise, depthwise_bias = folded(unit.depthwise, unit.depthwise_norm)
    project, project_bias = folded(unit.project, unit.project_norm)
    return Bottleneck(
        name=name,
        inputs=(source,),
        expand_weight=expand[:, :, 0, 0],
        expand_bias=expand_bias,
        depthwise_weight=depthwise[:, 0],
        depthwise_bias=depthwise_bias,
        project_weight=project[:, :, 0, 0],
        project_bias=project_bias,
        stride=unit.depthwise.stride[0],
        padding=padding_of(unit.depthwise),
        groups=unit.groups,
        expand_activation=unit.expand_activation,
        depthwise_activation=unit.depthwise_activation,
        shuffle_groups=unit.shuffle_groups,
        residual=unit.residual,
        predictor=None if unit.predictor is None else unit.predictor.to_integers(),
    )


def _lower_layer(name: str, source: str, layer: nn.Module) -> list[Node]:
    if isinstance(layer, ConvUnit):
        return _lower_conv(name, source, layer)
    if isinstance(layer, BottleneckUnit):
        return [lower_bottleneck(name, source, layer)]
    if isinstance(layer, ShuffleUnit):
        nodes: list[Node] = []
        for stage, unit in (("expand", layer.expand), ("depthwise", layer.depthwise), ("project", layer.project)):
            nodes += _lower_conv(f"{name}.{stage}", nodes[-1].name if nodes else source, unit)
        return [*nodes, Add(f"{name}.add", (nodes[-1].name, source))] if layer.residual else nodes
    if isinstance(layer, GlobalPool):
        return [Pool(name, (source,))]
    if isinstance(layer, nn.Linear):
        return [Linear(name, (source,), weight=array_of(layer.weight), bias=array_of(layer.bias))]
    raise InputError(f"layer {name}", f"{type(layer).__name__} has no lowering", "use the layers of predfuse.models")


def to_network(
    model: Cnn,
    name: str | None = None,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    labels: tuple[str, ...] = (),
    metadata: dict[str, Any] | None = None,
) -> Network:
    """Lower a registered network in its evaluation form (running statistics) to float64 arrays.

    Args:
        model: From :func:`predfuse.models.build`.
        name: Of the network; that of the architecture if None.
        mean: Per channel, subtracted from images scaled to 0..1.
        std: Per channel, the divisor after that.
        labels: Class names.
        metadata: Free JSON-able facts.

    Raises:
        InputError: A layer has no form in a network.

    Source: docs/explanation/arithmetic.md, The block.
    """
    nodes: list[Node] = list(model.lowered() or ())
    for layer_name, layer in () if nodes else model.layers.named_children():
        nodes += _lower_layer(layer_name, nodes[-1].name if nodes else INPUT, layer)
    shape = model.input_shape
    return Network(
        name=name or model.architecture,
        input_shape=(shape[0], shape[1], shape[2]),
        nodes=tuple(nodes),
        mean=mean,
        std=std,
        labels=labels,
        metadata=metadata or {},
    )
