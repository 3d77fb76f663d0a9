"""How each ATen operation is expressed in the network; one small function each."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node as GraphNode

from predfuse.arrays import Float64Array, FloatArray
from predfuse.fusion.folding import batch_norm_affine
from predfuse.graph.from_torch.arguments import affine, pair, shape_of, square
from predfuse.graph.from_torch.capture import operation_of
from predfuse.graph.from_torch.graph_builder import Pad, activation_node, affine_conv
from predfuse.graph.from_torch.pooling import POOLING
from predfuse.graph.from_torch.unsupported import NotSupportedError, reason_for
from predfuse.graph.from_torch.views import View
from predfuse.graph.nodes import Activation, Add, Concat, Conv, Linear

if TYPE_CHECKING:
    from predfuse.graph.from_torch.lower import Lowering

Handler: TypeAlias = Callable[["Lowering", GraphNode, dict[str, Any]], View | list[View]]


def _convolution(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    weight, bias = lowering.array(arguments["weight"]), lowering.array(arguments["bias"])
    assert weight is not None
    view = lowering.whole(arguments["input"])
    stride = square(pair(arguments["stride"]), "stride")
    dilation = square(pair(arguments["dilation"]), "dilation")
    padding = _convolution_padding(arguments["padding"], weight.shape[2:], dilation)
    conv = Conv(
        lowering.name_of(node),
        (view.source,),
        weight=weight,
        bias=np.zeros(weight.shape[0]) if bias is None else bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=int(arguments["groups"]),
    )
    return lowering.draft(node, conv, shape_of(lowering, node))


def _convolution_padding(padding: str | list[int], kernel: tuple[int, ...], dilation: int) -> tuple[int, int, int, int]:
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":  # PyTorch puts the odd pixel after the image, as TensorFlow does
        totals = [dilation * (size - 1) for size in kernel]
        (top, left), (bottom, right) = [total // 2 for total in totals], [total - total // 2 for total in totals]
        return (top, bottom, left, right)
    rows, columns = pair(padding)
    return (rows, rows, columns, columns)


def _linear(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    weight, bias = lowering.array(arguments["weight"]), lowering.array(arguments["bias"])
    assert weight is not None
    view = lowering.feature_map(arguments["input"])
    shape = shape_of(lowering, node)
    if math.prod(shape) != weight.shape[0]:
        raise NotSupportedError("a linear layer applied to every pixel or row by itself")
    bias = np.zeros(weight.shape[0]) if bias is None else bias
    return lowering.draft(node, Linear(lowering.name_of(node), (view.source,), weight=weight, bias=bias), shape)


def _native_batch_norm(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> list[View]:
    return [_batch_norm(lowering, node, arguments)]


def _batch_norm(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    if arguments.get("training") or arguments["running_mean"] is None:
        raise NotSupportedError("a batch norm without running statistics depends on the whole batch")
    mean, var = lowering.array(arguments["running_mean"]), lowering.array(arguments["running_var"])
    gamma, beta = lowering.array(arguments["weight"]), lowering.array(arguments["bias"])
    assert mean is not None and var is not None
    gamma = np.ones_like(mean) if gamma is None else gamma
    beta = np.zeros_like(mean) if beta is None else beta
    scale, shift = batch_norm_affine(gamma, beta, mean, var, float(arguments["eps"]))
    view = lowering.feature_map(arguments["input"])
    return affine(lowering, node, view, scale, shift, "norm")


def _per_channel(view: View, constant: Tensor) -> Float64Array:
    """A constant that is broadcast over the image as one value per channel."""
    values = constant.detach().cpu().double()
    channels = view.source_shape[0]
    try:
        full = values.expand(view.shape)
    except RuntimeError as error:
        raise NotSupportedError("a constant of another shape than one value per channel") from error
    if len(view.shape) != 4 and view.source_shape[1:] != (1, 1):
        raise NotSupportedError("a constant applied to a flattened image")
    flat = full.reshape(channels, -1)
    if not bool((flat == flat[:, :1]).all()):
        raise NotSupportedError("a constant that differs from pixel to pixel")
    array: Float64Array = flat[:, 0].numpy().astype(np.float64)
    return array


def _sum(lowering: Lowering, node: GraphNode, arguments: dict[str, Any], sign: float = 1.0) -> View:
    first, second = arguments["self"], arguments["other"]
    factor = sign * float(arguments.get("alpha") or 1)
    constants = lowering.constant(first), lowering.constant(second)
    if constants[0] is not None:
        view = lowering.feature_map(second)
        return affine(lowering, node, view, *_scaled(view, torch.tensor(factor), constants[0]), role="scale")
    if constants[1] is not None:
        view = lowering.feature_map(first)
        return affine(lowering, node, view, *_scaled(view, torch.tensor(1.0), factor * constants[1]), role="scale")
    views = [lowering.feature_map(argument) for argument in (first, second)]
    if views[0].shape != views[1].shape or views[0].source_shape != views[1].source_shape:
        raise NotSupportedError("adds tensors of different shapes (broadcasting)")
    if factor != 1:  # of a difference or weighted sum, the second is scaled by itself
        channels = views[1].source_shape[0]
        scaled = affine_conv(
            lowering.name_of(node, "scaled"), views[1].source, np.full(channels, factor), np.zeros(channels)
        )
        views[1] = lowering.draft(node, scaled, views[1].shape, "scale", affine=True, inner=True)
    return lowering.draft(
        node, Add(lowering.name_of(node), (views[0].source, views[1].source)), shape_of(lowering, node)
    )


def _scaled(view: View, scale: Tensor, shift: Tensor) -> tuple[FloatArray, FloatArray]:
    return _per_channel(view, scale), _per_channel(view, shift)


def _reversed_difference(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    swapped = {**arguments, "self": arguments["other"], "other": arguments["self"]}
    return _sum(lowering, node, swapped, sign=-1.0)


def _product(lowering: Lowering, node: GraphNode, arguments: dict[str, Any], inverse: bool = False) -> View:
    first, second = arguments["self"], arguments["other"]
    if lowering.constant(first) is not None and not inverse:
        first, second = second, first
    factor = lowering.constant(second)
    if factor is None or arguments.get("rounding_mode"):
        raise NotSupportedError(reason_for(operation_of(node)))
    view = lowering.feature_map(first)
    scale, shift = _scaled(view, 1 / factor.double() if inverse else factor, torch.tensor(0.0))
    return affine(lowering, node, view, scale, shift, "scale")


def _negative(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    return _product(lowering, node, {"self": arguments["self"], "other": -1.0})


def _activation(lowering: Lowering, node: GraphNode, arguments: dict[str, Any], activation: Activation) -> View:
    view = lowering.feature_map(arguments["self"])
    drafted = activation_node(lowering.name_of(node), view.source, activation)
    return lowering.draft(node, drafted, view.shape, "activation")


def _clamp(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    low = arguments.get("min", arguments.get("min_val"))
    high = arguments.get("max", arguments.get("max_val"))
    if isinstance(low, GraphNode) or isinstance(high, GraphNode):
        raise NotSupportedError("a clamp to tensors")
    if low == 0 and high in (None, math.inf):
        return _activation(lowering, node, arguments, "relu")
    if low == 0 and high == 6:
        return _activation(lowering, node, arguments, "relu6")
    if low is None and high == 6 and lowering.ends_in_relu(arguments["self"]):
        return _activation(lowering, node, arguments, "relu6")
    raise NotSupportedError(f"a clamp to {low}..{high}: only ReLU (0..) and ReLU6 (0..6) have masks")


def _extreme(lowering: Lowering, node: GraphNode, arguments: dict[str, Any], bound: str) -> View:
    """The larger or smaller of a feature map and a constant: a clamp."""
    first, second = arguments["self"], arguments["other"]
    if lowering.constant(first) is not None:
        first, second = second, first
    limit = lowering.constant(second)
    if limit is None:
        raise NotSupportedError("the larger or smaller of two feature maps")
    low, high = float(limit.min()), float(limit.max())
    if low != high:
        raise NotSupportedError("a clamp to tensors")
    return _clamp(lowering, node, {"self": first, bound: low})


def _threshold(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    if arguments["threshold"] != 0 or arguments["value"] != 0:
        raise NotSupportedError("a threshold other than ReLU's")
    return _activation(lowering, node, arguments, "relu")


def _pass(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    """Operations that change nothing in evaluation."""
    if arguments.get("train") or arguments.get("training"):
        raise NotSupportedError("dropout that stays on in evaluation")
    return lowering.view(arguments.get("self", arguments.get("input")))


def _cast(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    value = lowering.capture.values[node.name]
    if not value.dtype.is_floating_point:
        raise NotSupportedError(f"a conversion to {value.dtype}".replace("torch.", ""))
    before, after = (given.meta["val"].dtype for given in (arguments["self"], node))
    if after.itemsize < before.itemsize:
        raise NotSupportedError(f"a conversion to {after}, which rounds on the way".replace("torch.", ""))
    return lowering.view(arguments["self"])


def _concat(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    views = [lowering.feature_map(argument) for argument in arguments["tensors"]]
    rank = len(views[0].shape)
    flat = rank == 2 and all(view.source_shape[1:] == (1, 1) for view in views)
    if int(arguments["dim"]) % rank != 1 or not (flat or rank == 4):
        raise NotSupportedError("a concatenation along another dimension than the channels")
    if any(len(view.shape) == 4 and view.shape[1:] != view.source_shape for view in views):
        raise NotSupportedError("a concatenation of reshaped images")
    sources = tuple(view.source for view in views)
    return lowering.draft(node, Concat(lowering.name_of(node), sources), shape_of(lowering, node))


def _matrix_product(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    """A vector of features times a constant matrix, perhaps plus a constant: a linear layer spelled out."""
    first = arguments.get("mat1", arguments.get("self"))
    weight = lowering.constant(arguments.get("mat2", arguments.get("other")))
    if weight is None or weight.ndim != 2 or isinstance(lowering.constant(first), Tensor):
        raise NotSupportedError(reason_for(operation_of(node)))
    bias = lowering.constant(arguments["self"]) if "mat1" in arguments else None
    if "mat1" in arguments and (bias is None or (arguments["alpha"], arguments["beta"]) != (1, 1)):
        raise NotSupportedError("a weighted sum of matrix products")
    view, shape = lowering.feature_map(first), shape_of(lowering, node)
    if math.prod(shape) != weight.shape[1]:
        raise NotSupportedError("a linear layer applied to every pixel or row by itself")
    matrix = weight.double().numpy().T
    shift = np.zeros(len(matrix)) if bias is None else np.broadcast_to(bias.double().numpy(), shape).reshape(-1)
    return lowering.draft(
        node, Linear(lowering.name_of(node), (view.source,), weight=matrix.copy(), bias=shift.copy()), shape
    )


def _pad(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    edges = [int(edge) for edge in arguments["pad"]]
    if arguments.get("mode", "constant") != "constant":
        raise NotSupportedError(f"padding by {arguments['mode']}: only constant padding is known")
    if any(edge < 0 for edge in edges) or any(edges[4:]):
        raise NotSupportedError("padding that crops, or pads channels")
    if not any(edges):
        return lowering.view(arguments["self"])
    left, right, top, bottom = [*edges, 0, 0, 0][:4]
    view = lowering.whole(arguments["self"])
    padding, value = (top, bottom, left, right), float(arguments.get("value") or 0)
    pad = Pad(lowering.name_of(node), (view.source,), view.source_shape, padding, value)
    return lowering.draft(node, pad, shape_of(lowering, node))


HANDLERS: dict[str, Handler] = {
    **POOLING,
    "aten.conv2d": _convolution,
    "aten.linear": _linear,
    "aten.batch_norm": _batch_norm,
    "aten._native_batch_norm_legit_no_training": _native_batch_norm,
    "aten.add": _sum,
    "aten.sub": partial(_sum, sign=-1.0),
    "aten.rsub": _reversed_difference,
    "aten.mul": _product,
    "aten.div": partial(_product, inverse=True),
    "aten.neg": _negative,
    "aten.relu": partial(_activation, activation="relu"),
    "aten.relu6": partial(_activation, activation="relu6"),
    "aten.hardtanh": _clamp,
    "aten.clamp": _clamp,
    "aten.clamp_min": _clamp,
    "aten.clamp_max": _clamp,
    "aten.maximum": partial(_extreme, bound="min"),
    "aten.minimum": partial(_extreme, bound="max"),
    "aten.threshold": _threshold,
    "aten.dropout": _pass,
    "aten.feature_dropout": _pass,
    "aten.alpha_dropout": _pass,
    "aten.contiguous": _pass,
    "aten.clone": _pass,
    "aten.detach": _pass,
    "aten.alias": _pass,
    "aten.to": _cast,
    "aten._to_copy": _cast,
    "aten.cat": _concat,
    "aten.concat": _concat,
    "aten.matmul": _matrix_product,
    "aten.mm": _matrix_product,
    "aten.addmm": _matrix_product,
    "aten.pad": _pad,
    "aten.constant_pad_nd": _pad,
}

MOVES = frozenset(
    f"aten.{name}"
    for name in (
        "view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "transpose", "t", "permute",
        "select", "slice", "narrow", "split", "split_with_sizes", "chunk", "unbind", "channel_shuffle",
        "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "flip", "movedim", "swapaxes", "swapdims",
        "numpy_T", "tensor_split", "roll",
    )
)  # fmt: skip
"""Operations that give elements of their input, elsewhere."""
