"""What the handlers of single operations share: sizes of arguments and results, scales by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.fx import Node as GraphNode

from predfuse.arrays import FloatArray
from predfuse.graph.from_torch.graph_builder import affine_conv
from predfuse.graph.from_torch.unsupported import NotSupportedError
from predfuse.graph.from_torch.views import View

if TYPE_CHECKING:
    from predfuse.graph.from_torch.lower import Lowering


def pair(value: Any) -> tuple[int, int]:
    """Rows and columns of a number or of a list of one or two."""
    values = [int(item) for item in value] if isinstance(value, list | tuple) else [int(value)]
    return (values[0], values[-1])


def square(pair: tuple[int, int], what: str) -> int:
    """The one number rows and columns share.

    Raises:
        NotSupportedError: They differ.
    """
    if pair[0] != pair[1]:
        raise NotSupportedError(f"{what} {pair[0]}x{pair[1]} differs between rows and columns")
    return pair[0]


def shape_of(lowering: Lowering, node: GraphNode) -> tuple[int, ...]:
    """Shape of what an operation gives, in PyTorch."""
    return tuple(lowering.capture.values[node.name].shape)


def affine(lowering: Lowering, node: GraphNode, view: View, scale: FloatArray, shift: FloatArray, role: str) -> View:
    """Draft ``scale * x + shift`` per channel."""
    if role == "scale" and bool((scale == 1).all()) and not shift.any():
        return view  # the 0 that Python's sum() begins with
    if view.source_shape[0] != scale.size:
        raise NotSupportedError("scales every value of a flattened image by itself")
    conv = affine_conv(lowering.name_of(node), view.source, scale, shift)
    return lowering.draft(node, conv, view.shape, role, affine=True)
