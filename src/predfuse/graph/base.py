"""What every node of a graph has: a name, inputs, the shape of its output, and checks of its arrays and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from predfuse.arrays import Array, ShortRepr
from predfuse.errors import InputError

Activation = Literal["linear", "relu", "relu6"]
Padding: TypeAlias = tuple[int, int, int, int]
Shape: TypeAlias = tuple[int, int, int]

ACTIVATIONS: tuple[Activation, ...] = ("linear", "relu", "relu6")
INPUT = "input"


def fault(name: str, what: str, mend: str = "correct the layer") -> InputError:
    """The error that names a layer."""
    return InputError(f"layer {name}", what, mend)


def check_array(name: str, label: str, array: Array, shape: tuple[int | None, ...]) -> None:
    """Refuse what is no array of finite numbers of this shape; None stands for any size.

    Raises:
        InputError: It is something else, such as a list, or has another shape or type.
    """
    if not isinstance(array, np.ndarray):
        raise fault(name, f"{label} is a {type(array).__name__}, not a NumPy array")
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=False))
    if not fits or 0 in array.shape:
        wanted = "x".join("*" if want is None else str(want) for want in shape)
        got = "x".join(map(str, array.shape)) or "scalar"
        raise fault(name, f"{label} has shape {got}, expected {wanted}", "give matching shapes")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise fault(name, f"{label} holds NaN or infinite values", "retrain or repair the weights")
    if array.dtype.kind not in "fi":
        raise fault(name, f"{label} has type {array.dtype}", "use float or signed integer arrays")


def check_groups(name: str, groups: int, **channels: int) -> None:
    """Refuse groups that do not divide all these numbers of channels."""
    if not is_count(groups) or groups < 1:
        raise fault(name, f"groups is {groups}", "use 1 or more groups")
    for label, count in channels.items():
        if count % groups:
            raise fault(name, f"{count} {label} channels are not divisible by {groups} groups", "change one of them")


def check_window(name: str, stride: int, padding: Padding, dilation: int = 1) -> None:
    """Refuse strides, dilations and paddings that are no whole numbers, or too small."""
    if not (is_count(stride) and is_count(dilation)) or stride < 1 or dilation < 1:
        raise fault(name, f"stride {stride}, dilation {dilation}", "both must be whole numbers, 1 or more")
    if not isinstance(padding, tuple) or len(padding) != 4 or not all(is_count(pixels) for pixels in padding):
        raise fault(name, f"padding {padding}", "give (top, bottom, left, right), each a whole number, 0 or more")


def is_count(value: object) -> bool:
    """Whether ``value`` is a whole number, 0 or more (``True`` is not)."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 0


def window_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int = 1) -> int:
    """Output size of a sliding window along one dimension (pixels)."""
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def check_activation(name: str, activation: str) -> None:
    """Refuse unknown activations."""
    if activation not in ACTIVATIONS:
        raise fault(name, f"unknown activation {activation!r}", f"use one of {', '.join(ACTIVATIONS)}")


@dataclass(frozen=True, eq=False, repr=False)
class Node(ShortRepr):
    """A named node of the graph with the names of the nodes it reads.

    Source: docs/explanation/arithmetic.md, The block.
    """

    name: str
    inputs: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or self.name == INPUT:
            raise fault(repr(self.name), "is not a usable name", 'choose a non-empty name other than "input"')
        if not isinstance(self.inputs, tuple) or not all(isinstance(source, str) for source in self.inputs):
            raise fault(self.name, f"has inputs {self.inputs!r}", "give a tuple of layer names")

    def output_shape(self, shapes: list[Shape]) -> Shape:
        """Shape ``(C, H, W)`` of the output, given those of the inputs.

        Raises:
            InputError: The input shapes do not fit this node.
        """
        raise NotImplementedError

    def _window_shape(
        self, shape: Shape, channels: int, kernel: tuple[int, int], stride: int, padding: Padding, dilation: int = 1
    ) -> Shape:
        top, bottom, left, right = padding
        height = window_size(shape[1], kernel[0], stride, top, bottom, dilation)
        width = window_size(shape[2], kernel[1], stride, left, right, dilation)
        if height < 1 or width < 1:
            raise fault(self.name, f"a {shape[1]}x{shape[2]} image leaves no output pixel", "use larger images")
        return (channels, height, width)

    def _require_channels(self, shape: Shape, channels: int) -> None:
        if shape[0] != channels:
            raise fault(self.name, f"gets {shape[0]} channels, expects {channels}", "connect matching layers")


class Windowed(Node):
    """A convolution's shapes, told by its ``weight [O, C/groups, kh, kw]``.

    Source: docs/explanation/arithmetic.md, The block.
    """

    weight: Array
    stride: int
    padding: Padding
    dilation: int
    groups: int

    @property
    def out_channels(self) -> int:
        """Output channels."""
        return int(self.weight.shape[0])

    @property
    def in_channels(self) -> int:
        """Input channels."""
        return int(self.weight.shape[1]) * self.groups

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the kernel (pixels)."""
        return (int(self.weight.shape[2]), int(self.weight.shape[3]))

    def output_shape(self, shapes: list[Shape]) -> Shape:
        (shape,) = shapes
        self._require_channels(shape, self.in_channels)
        return self._window_shape(shape, self.out_channels, self.kernel, self.stride, self.padding, self.dilation)


class BottleneckShapes(Node):
    """The shapes of an expand, a depthwise and a project layer in a row, told by their weights.

    Source: docs/explanation/arithmetic.md, The block.
    """

    stride: int
    padding: Padding
    groups: int
    residual: bool

    @property
    def factors(self) -> tuple[Array, Array, Array]:
        """The weights: expand ``[M, C/groups]``, depthwise ``[M, k, k]`` and project ``[O, M/groups]``."""
        raise NotImplementedError

    @property
    def middle_channels(self) -> int:
        """Channels inside."""
        return int(self.factors[0].shape[0])

    @property
    def group_channels(self) -> int:
        """Input channels per group."""
        return int(self.factors[0].shape[1])

    @property
    def in_channels(self) -> int:
        """Input channels."""
        return self.group_channels * self.groups

    @property
    def out_channels(self) -> int:
        """Output channels."""
        return int(self.factors[2].shape[0])

    @property
    def kernel(self) -> int:
        """Height and width of the depthwise kernel (pixels)."""
        return int(self.factors[1].shape[1])

    def output_shape(self, shapes: list[Shape]) -> Shape:
        (shape,) = shapes
        self._require_channels(shape, self.in_channels)
        kernel = (self.kernel, self.kernel)
        out = self._window_shape(shape, self.out_channels, kernel, self.stride, self.padding)
        if self.residual and out != shape:
            raise fault(self.name, f"residual of {shape} added to {out}", "use padding that keeps the size")
        return out


@dataclass(frozen=True, eq=False, repr=False)
class Unsupported(Node):
    """An operation that no node can express, kept by tracing where the user allows it; it cannot be run.

    Attributes:
        operation: What it is, e.g. ``aten.sigmoid``.
        reason: Why it is not supported.
        shape: ``(C, H, W)`` of its output.

    Source: docs/how-to/tracing.md, What is refused.
    """

    operation: str
    reason: str
    shape: Shape

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.shape) != 3 or not all(is_count(size) and size > 0 for size in self.shape):
            raise fault(self.name, f"output shape {self.shape}", "give (channels, height, width)")

    def output_shape(self, shapes: list[Shape]) -> Shape:
        return (self.shape[0], self.shape[1], self.shape[2])
