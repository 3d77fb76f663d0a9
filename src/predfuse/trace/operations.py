"""How each ATen operation is expressed in the network; one small function each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node as GraphNode

from predfuse.fusion.folding import batch_norm_affine
from predfuse.ir import Activation, Add, Array, Concat, Conv, Linear, Pool
from predfuse.trace.capture import operation_of
from predfuse.trace.drafts import Pad, activation_node, affine_conv
from predfuse.trace.reasons import NotSupportedError, reason_for
from predfuse.trace.views import View

if TYPE_CHECKING:
    from predfuse.trace.lower import Lowering

Handler: TypeAlias = Callable[["Lowering", GraphNode, dict[str, Any]], View | list[View]]


def _convolution(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    weight, bias = lowering.array(arguments["weight"]), lowering.array(arguments["bias"])
    assert weight is not None
    view = lowering.whole(arguments["input"])
    stride = _square(_pair(arguments["stride"]), "stride")
    dilation = _square(_pair(arguments["dilation"]), "dilation")
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
    return lowering.draft(node, conv, _shape(lowering, node))


def _convolution_padding(padding: str | list[int], kernel: tuple[int, ...], dilation: int) -> tuple[int, int, int, int]:
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":  # PyTorch puts the odd pixel after the image, as TensorFlow does
        totals = [dilation * (size - 1) for size in kernel]
        (top, left), (bottom, right) = [total // 2 for total in totals], [total - total // 2 for total in totals]
        return (top, bottom, left, right)
    rows, columns = _pair(padding)
    return (rows, rows, columns, columns)


def _pair(value: Any) -> tuple[int, int]:
    values = [int(item) for item in value] if isinstance(value, list | tuple) else [int(value)]
    return (values[0], values[-1])


def _square(pair: tuple[int, int], what: str) -> int:
    if pair[0] != pair[1]:
        raise NotSupportedError(f"{what} {pair[0]}x{pair[1]} differs between rows and columns")
    return pair[0]


def _shape(lowering: Lowering, node: GraphNode) -> tuple[int, ...]:
    return tuple(lowering.capture.values[node.name].shape)


def _linear(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    weight, bias = lowering.array(arguments["weight"]), lowering.array(arguments["bias"])
    assert weight is not None
    view = lowering.feature_map(arguments["input"])
    shape = _shape(lowering, node)
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
    return _affine(lowering, node, view, scale, shift, "norm")


def _affine(lowering: Lowering, node: GraphNode, view: View, scale: Array, shift: Array, role: str) -> View:
    if view.source_shape[0] != scale.size:
        raise NotSupportedError("scales every value of a flattened image by itself")
    conv = affine_conv(lowering.name_of(node), view.source, scale, shift)
    return lowering.draft(node, conv, view.shape, role, affine=True)


def _per_channel(view: View, constant: Tensor) -> Array:
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
    array: Array = flat[:, 0].numpy().astype(np.float64)
    return array


def _sum(lowering: Lowering, node: GraphNode, arguments: dict[str, Any], sign: float = 1.0) -> View:
    first, second = arguments["self"], arguments["other"]
    factor = sign * float(arguments.get("alpha") or 1)
    constants = lowering.constant(first), lowering.constant(second)
    if constants[0] is not None:
        view = lowering.feature_map(second)
        return _affine(lowering, node, view, *_scaled(view, torch.tensor(factor), constants[0]), role="scale")
    if constants[1] is not None:
        view = lowering.feature_map(first)
        return _affine(lowering, node, view, *_scaled(view, torch.tensor(1.0), factor * constants[1]), role="scale")
    if factor != 1:
        raise NotSupportedError("a difference or weighted sum of two feature maps")
    views = [lowering.feature_map(argument) for argument in (first, second)]
    if views[0].shape != views[1].shape or views[0].source_shape != views[1].source_shape:
        raise NotSupportedError("adds tensors of different shapes (broadcasting)")
    return lowering.draft(node, Add(lowering.name_of(node), (views[0].source, views[1].source)), _shape(lowering, node))


def _scaled(view: View, scale: Tensor, shift: Tensor) -> tuple[Array, Array]:
    return _per_channel(view, scale), _per_channel(view, shift)


def _difference(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    return _sum(lowering, node, arguments, sign=-1.0)


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
    return _affine(lowering, node, view, scale, shift, "scale")


def _quotient(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    return _product(lowering, node, arguments, inverse=True)


def _negative(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    return _product(lowering, node, {"self": arguments["self"], "other": -1.0})


def _activation(lowering: Lowering, node: GraphNode, argument: Any, activation: Activation) -> View:
    view = lowering.feature_map(argument)
    drafted = activation_node(lowering.name_of(node), view.source, activation)
    return lowering.draft(node, drafted, view.shape, "activation")


def _relu(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    return _activation(lowering, node, arguments["self"], "relu")


def _relu6(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    return _activation(lowering, node, arguments["self"], "relu6")


def _clamp(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    low = arguments.get("min", arguments.get("min_val"))
    high = arguments.get("max", arguments.get("max_val"))
    if isinstance(low, GraphNode) or isinstance(high, GraphNode):
        raise NotSupportedError("a clamp to tensors")
    if low == 0 and high in (None, math.inf):
        return _activation(lowering, node, arguments["self"], "relu")
    if low == 0 and high == 6:
        return _activation(lowering, node, arguments["self"], "relu6")
    raise NotSupportedError(f"a clamp to {low}..{high}: only ReLU (0..) and ReLU6 (0..6) have masks")


def _threshold(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    if arguments["threshold"] != 0 or arguments["value"] != 0:
        raise NotSupportedError("a threshold other than ReLU's")
    return _relu(lowering, node, arguments)


def _pass(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    """Operations that change nothing in evaluation."""
    if arguments.get("train") or arguments.get("training"):
        raise NotSupportedError("dropout that stays on in evaluation")
    return lowering.view(arguments.get("self", arguments.get("input")))


def _cast(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    value = lowering.capture.values[node.name]
    if not value.dtype.is_floating_point:
        raise NotSupportedError(f"a conversion to {value.dtype}".replace("torch.", ""))
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
    return lowering.draft(node, Concat(lowering.name_of(node), sources), _shape(lowering, node))


def _mean(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    view = lowering.view(arguments["self"])
    if view.members is None and not view.in_order and view.channel_order() is not None:
        view = lowering.whole(arguments["self"])  # the mean of shuffled channels needs the shuffle
    return view.mean(list(arguments.get("dim") or []), bool(arguments.get("keepdim")))


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
    return lowering.draft(node, pad, _shape(lowering, node))


def _pool(lowering: Lowering, node: GraphNode, arguments: dict[str, Any], kind: Any) -> View:
    view = lowering.whole(arguments["self"])
    kernel = _pair(arguments["kernel_size"])
    stride = _pair(arguments["stride"] or arguments["kernel_size"])
    padding = _pair(arguments["padding"])
    if _pair(arguments.get("dilation", 1)) != (1, 1):
        raise NotSupportedError("dilated pooling")
    if arguments.get("divisor_override"):
        raise NotSupportedError("average pooling with a divisor of its own")
    shape, height, width = _shape(lowering, node), *view.source_shape[1:]
    name = lowering.name_of(node)
    if kernel == (height, width) and padding == (0, 0) and shape[2:] == (1, 1):
        return lowering.draft(node, Pool(name, (view.source,), kind), shape, "pool")
    size, step = _square(kernel, "pooling window"), _square(stride, "pooling stride")
    # Rounding up gives windows that reach further beyond the image; they are extra padding there.
    reach = [(shape[2 + axis] - 1) * step + size for axis in (0, 1)]
    extra = [max(reach[axis] - (height, width)[axis] - 2 * padding[axis], 0) for axis in (0, 1)]
    inside = bool(arguments.get("count_include_pad", True))
    if any(extra) and kind == "average":
        if inside and any(padding):
            raise NotSupportedError("average pooling that counts padding and rounds its size up")
        inside = False
    edges = (padding[0], padding[0] + extra[0], padding[1], padding[1] + extra[1])
    return lowering.draft(node, Pool(name, (view.source,), kind, size, step, edges, inside), shape, "pool")


def _average_pool(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    return _pool(lowering, node, arguments, "average")


def _max_pool(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    return _pool(lowering, node, arguments, "max")


def _adaptive_pool(lowering: Lowering, node: GraphNode, arguments: dict[str, Any], kind: Any) -> View:
    view = lowering.whole(arguments["self"])
    rows, columns = _pair(arguments["output_size"])
    height, width = view.source_shape[1:]
    if height % rows or width % columns:
        raise NotSupportedError(f"adaptive pooling of {height}x{width} to {rows}x{columns}, windows of several sizes")
    shape = _shape(lowering, node)
    if (rows, columns) == (height, width):
        return view
    if (rows, columns) == (1, 1):
        return lowering.draft(node, Pool(lowering.name_of(node), (view.source,), kind), shape, "pool")
    size = _square((height // rows, width // columns), "pooling window")
    return lowering.draft(node, Pool(lowering.name_of(node), (view.source,), kind, size, size), shape, "pool")


def _adaptive_average_pool(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    return _adaptive_pool(lowering, node, arguments, "average")


def _adaptive_max_pool(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> Any:
    value = lowering.capture.values[node.name]
    if isinstance(value, Tensor):
        return _adaptive_pool(lowering, node, arguments, "max")
    view = lowering.whole(arguments["self"])
    if tuple(value[0].shape[2:]) != (1, 1):
        raise NotSupportedError("adaptive maximum pooling to more than one pixel")
    pooled = Pool(lowering.name_of(node), (view.source,), "max")
    return [lowering.draft(node, pooled, tuple(value[0].shape), "pool")]


HANDLERS: dict[str, Handler] = {
    "aten.conv2d": _convolution,
    "aten.linear": _linear,
    "aten.batch_norm": _batch_norm,
    "aten._native_batch_norm_legit_no_training": _native_batch_norm,
    "aten.add": _sum,
    "aten.sub": _difference,
    "aten.rsub": _reversed_difference,
    "aten.mul": _product,
    "aten.div": _quotient,
    "aten.neg": _negative,
    "aten.relu": _relu,
    "aten.relu6": _relu6,
    "aten.hardtanh": _clamp,
    "aten.clamp": _clamp,
    "aten.clamp_min": _clamp,
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
    "aten.mean": _mean,
    "aten.pad": _pad,
    "aten.constant_pad_nd": _pad,
    "aten.avg_pool2d": _average_pool,
    "aten.max_pool2d": _max_pool,
    "aten.adaptive_avg_pool2d": _adaptive_average_pool,
    "aten.adaptive_max_pool2d": _adaptive_max_pool,
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
