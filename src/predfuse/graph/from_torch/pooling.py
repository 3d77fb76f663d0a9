"""How poolings and other reductions over the image are expressed in the network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.fx import Node as GraphNode

from predfuse.graph.from_torch.arguments import affine, pair, shape_of, square
from predfuse.graph.from_torch.unsupported import NotSupportedError
from predfuse.graph.from_torch.views import View
from predfuse.graph.nodes import Pool

if TYPE_CHECKING:
    from predfuse.graph.from_torch.lower import Lowering


def _mean(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    view = lowering.view(arguments["self"])
    if view.members is None and not view.in_order and view.channel_order() is not None:
        view = lowering.whole(arguments["self"])  # the mean of shuffled channels needs the shuffle
    return view.mean(list(arguments.get("dim") or []), bool(arguments.get("keepdim")))


def _total(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    """A sum over the image: its mean, times its pixels."""
    view = lowering.view(arguments["self"])
    dims = sorted(int(dim) % len(view.shape) for dim in arguments.get("dim") or [])
    if len(view.shape) != 4 or dims != [2, 3]:
        raise NotSupportedError("a sum over something else than the image")
    pooled = Pool(lowering.name_of(node, "mean"), (lowering.whole(arguments["self"]).source,))
    mean = lowering.draft(node, pooled, shape_of(lowering, node), "pool", inner=True)
    channels, pixels = view.source_shape[0], view.shape[2] * view.shape[3]
    return affine(lowering, node, mean, np.full(channels, float(pixels)), np.zeros(channels), "scale")


def _largest(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> View:
    view = lowering.whole(arguments["self"])
    if sorted(int(dim) % 4 for dim in arguments.get("dim") or []) != [2, 3]:
        raise NotSupportedError("a maximum over something else than the image")
    pooled = Pool(lowering.name_of(node), (view.source,), "max")
    return lowering.draft(node, pooled, shape_of(lowering, node), "pool")


def _pool(
    lowering: Lowering, node: GraphNode, arguments: dict[str, Any], kind: Any, shape: tuple[int, ...] = ()
) -> View:
    view = lowering.whole(arguments["self"])
    kernel = pair(arguments["kernel_size"])
    stride = pair(arguments["stride"] or arguments["kernel_size"])
    padding = pair(arguments["padding"])
    if pair(arguments.get("dilation", 1)) != (1, 1):
        raise NotSupportedError("dilated pooling")
    if arguments.get("divisor_override"):
        raise NotSupportedError("average pooling with a divisor of its own")
    shape, height, width = shape or shape_of(lowering, node), *view.source_shape[1:]
    name = lowering.name_of(node)
    if kernel == (height, width) and padding == (0, 0) and shape[2:] == (1, 1):
        return lowering.draft(node, Pool(name, (view.source,), kind), shape, "pool")
    size, step = square(kernel, "pooling window"), square(stride, "pooling stride")
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


def _max_pool_with_indices(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> list[View]:
    return [_pool(lowering, node, arguments, "max", tuple(lowering.capture.values[node.name][0].shape))]


def _adaptive_pool(lowering: Lowering, node: GraphNode, arguments: dict[str, Any], kind: Any) -> View:
    view = lowering.whole(arguments["self"])
    rows, columns = pair(arguments["output_size"])
    height, width = view.source_shape[1:]
    if height % rows or width % columns:
        raise NotSupportedError(f"adaptive pooling of {height}x{width} to {rows}x{columns}, windows of several sizes")
    shape = shape_of(lowering, node)
    if (rows, columns) == (height, width):
        return view
    if (rows, columns) == (1, 1):
        return lowering.draft(node, Pool(lowering.name_of(node), (view.source,), kind), shape, "pool")
    size = square((height // rows, width // columns), "pooling window")
    return lowering.draft(node, Pool(lowering.name_of(node), (view.source,), kind, size, size), shape, "pool")


def _adaptive_max_pool(lowering: Lowering, node: GraphNode, arguments: dict[str, Any]) -> Any:
    value = lowering.capture.values[node.name]
    if isinstance(value, Tensor):
        return _adaptive_pool(lowering, node, arguments, "max")
    view = lowering.whole(arguments["self"])
    if tuple(value[0].shape[2:]) != (1, 1):
        raise NotSupportedError("adaptive maximum pooling to more than one pixel")
    pooled = Pool(lowering.name_of(node), (view.source,), "max")
    return [lowering.draft(node, pooled, tuple(value[0].shape), "pool")]


POOLING: dict[str, Callable[[Lowering, GraphNode, dict[str, Any]], View | list[View]]] = {
    "aten.mean": _mean,
    "aten.sum": _total,
    "aten.amax": _largest,
    "aten.max_pool2d_with_indices": _max_pool_with_indices,
    "aten.avg_pool2d": partial(_pool, kind="average"),
    "aten.max_pool2d": partial(_pool, kind="max"),
    "aten.adaptive_avg_pool2d": partial(_adaptive_pool, kind="average"),
    "aten.adaptive_max_pool2d": _adaptive_max_pool,
}
