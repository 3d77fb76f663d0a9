"""The network graph everything downstream works on: frozen dataclasses of NumPy arrays, batch norm already folded.

A :class:`Network` is an ordered list of nodes. Every node has a unique ``name`` and names its ``inputs``, earlier
nodes or ``"input"``. Feature maps are ``[C, H, W]``; one image at a time. The semantics of :class:`Bottleneck` are
those of "arithmetic: block" (see ``docs/explanation/arithmetic.md``); everything is checked on construction.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from predfuse.arrays import Array, FloatArray
from predfuse.errors import InputError
from predfuse.graph.base import (
    ACTIVATIONS as ACTIVATIONS,
    INPUT as INPUT,
    Activation as Activation,
    BottleneckShapes as BottleneckShapes,
    Node as Node,
    Padding as Padding,
    Shape as Shape,
    Unsupported as Unsupported,
    Windowed as Windowed,
    check_activation,
    check_array,
    check_groups,
    check_window,
    fault,
    is_count,
    window_size as window_size,
)
from predfuse.graph.predictor import Predictor as Predictor
from predfuse.input_checks import require_labels, require_normalisation


@dataclass(frozen=True, eq=False, repr=False)
class Conv(Windowed):
    """A plain convolution with bias and activation.

    Attributes:
        weight: ``[O, C/groups, kh, kw]``.
        bias: ``[O]``.
        padding: ``(top, bottom, left, right)`` pixels.

    Source: docs/explanation/arithmetic.md, The block.
    """

    weight: FloatArray
    bias: FloatArray
    stride: int = 1
    padding: Padding = (0, 0, 0, 0)
    dilation: int = 1
    groups: int = 1
    activation: Activation = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_array(self.name, "weight", self.weight, (None, None, None, None))
        check_array(self.name, "bias", self.bias, (self.weight.shape[0],))
        check_groups(self.name, self.groups, output=self.out_channels)
        check_window(self.name, self.stride, self.padding, self.dilation)
        check_activation(self.name, self.activation)


@dataclass(frozen=True, eq=False, repr=False)
class Bottleneck(BottleneckShapes):
    """Expand (1x1) -> activation -> depthwise (kxk) -> activation -> project (1x1), optional shuffle and residual.

        a[m,q] = expand_bias[m] + sum_c expand_weight[m,c] x[c,q]                 h = act1(a)
        d[m,p] = depthwise_bias[m] + sum_k depthwise_weight[m,k] h[m, s*p+k]      u = act2(d)
        y[o,p] = project_bias[o] + sum_m project_weight[o,m] u[m,p]               (groups on c, m, o alike)

    then ``y = shuffle(y, shuffle_groups)`` and, with ``residual``, ``y + x``. Outside the image ``h`` is 0. With a
    predictor the activations are replaced by its masks: ``h = mask1 * a``, ``u = mask2 * d`` (all on for ``linear``).

    Attributes:
        expand_weight: ``[M, C/groups]``.
        expand_bias: ``[M]``.
        depthwise_weight: ``[M, k, k]``, k odd.
        depthwise_bias: ``[M]``.
        project_weight: ``[O, M/groups]``.
        project_bias: ``[O]``.
        padding: ``(top, bottom, left, right)`` pixels.
        shuffle_groups: Groups of the channel shuffle of the output; 1 is none. Output channel ``i*g + j`` of a
            shuffle with ``g`` groups is channel ``j*O/g + i`` before it.

    Source: docs/explanation/arithmetic.md, The block.
    """

    expand_weight: Array
    expand_bias: Array
    depthwise_weight: Array
    depthwise_bias: Array
    project_weight: Array
    project_bias: Array
    stride: int = 1
    padding: Padding = (1, 1, 1, 1)
    groups: int = 1
    expand_activation: Activation = "relu"
    depthwise_activation: Activation = "relu"
    shuffle_groups: int = 1
    residual: bool = False
    predictor: Predictor | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_array(self.name, "expand weight", self.expand_weight, (None, None))
        middle = self.middle_channels
        check_array(self.name, "expand bias", self.expand_bias, (middle,))
        check_array(self.name, "depthwise weight", self.depthwise_weight, (middle, None, None))
        kernel = self.depthwise_weight.shape[1]
        if kernel != self.depthwise_weight.shape[2] or kernel % 2 == 0:
            raise fault(self.name, f"depthwise kernel is {kernel}x{self.depthwise_weight.shape[2]}", "use odd squares")
        check_array(self.name, "depthwise bias", self.depthwise_bias, (middle,))
        check_groups(self.name, self.groups, middle=middle)
        check_array(self.name, "project weight", self.project_weight, (None, middle // self.groups))
        check_array(self.name, "project bias", self.project_bias, (self.out_channels,))
        check_groups(self.name, self.groups, output=self.out_channels)
        check_groups(self.name, self.shuffle_groups, output=self.out_channels)
        check_window(self.name, self.stride, self.padding)
        check_activation(self.name, self.expand_activation)
        check_activation(self.name, self.depthwise_activation)
        if self.residual and (self.stride != 1 or self.in_channels != self.out_channels):
            raise fault(self.name, "has a residual but changes the shape", "drop the residual")
        if self.predictor is not None:
            self.predictor.validate(self.name, middle, self.group_channels, self.kernel)

    @property
    def factors(self) -> tuple[Array, Array, Array]:
        """The weights: expand ``[M, C/groups]``, depthwise ``[M, k, k]`` and project ``[O, M/groups]``."""
        return self.expand_weight, self.depthwise_weight, self.project_weight


@dataclass(frozen=True, eq=False, repr=False)
class Pool(Node):
    """Average or maximum pooling; ``kernel`` 0 pools the whole image (global).

    Attributes:
        padding: ``(top, bottom, left, right)`` pixels, 0 for averages and below every value for maxima.
        count_padding: Averages divide by the whole window, else by its pixels inside the image.

    Source: docs/explanation/arithmetic.md, The block.
    """

    kind: Literal["average", "max"] = "average"
    kernel: int = 0
    stride: int = 1
    padding: Padding = (0, 0, 0, 0)
    count_padding: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("average", "max") or not is_count(self.kernel):
            raise fault(self.name, f"pooling {self.kind} {self.kernel}", "use average or max, kernel 0 or more")
        check_window(self.name, self.stride, self.padding)
        if self.kernel == 0 and (self.stride != 1 or any(self.padding)):
            raise fault(self.name, "pools the whole image with a stride or padding", "drop them or give a kernel")
        if self.kernel and max(self.padding) >= self.kernel:
            what = f"padding {self.padding} holds whole windows of {self.kernel} pixels"
            raise fault(self.name, what, "use less padding than the kernel")

    def output_shape(self, shapes: list[Shape]) -> Shape:
        (shape,) = shapes
        if self.kernel == 0:
            return (shape[0], 1, 1)
        return self._window_shape(shape, shape[0], (self.kernel, self.kernel), self.stride, self.padding)


@dataclass(frozen=True, eq=False, repr=False)
class Linear(Node):
    """A fully connected layer on the flattened input; output shape ``(O, 1, 1)``.

    Attributes:
        weight: ``[O, C*H*W]``.
        bias: ``[O]``.

    Source: docs/explanation/arithmetic.md, The block.
    """

    weight: FloatArray
    bias: FloatArray
    activation: Activation = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_array(self.name, "weight", self.weight, (None, None))
        check_array(self.name, "bias", self.bias, (self.weight.shape[0],))
        check_activation(self.name, self.activation)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        (shape,) = shapes
        if int(np.prod(shape)) != self.weight.shape[1]:
            raise fault(self.name, f"gets {shape}, expects {self.weight.shape[1]} values", "connect matching layers")
        return (int(self.weight.shape[0]), 1, 1)


@dataclass(frozen=True, eq=False, repr=False)
class Add(Node):
    """Element-wise sum of equal shapes, then an activation; of one input, the activation by itself.

    Source: docs/explanation/arithmetic.md, The block.
    """

    activation: Activation = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.inputs:
            raise fault(self.name, "adds no inputs", "name one or more")
        check_activation(self.name, self.activation)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        if any(shape != shapes[0] for shape in shapes):
            raise fault(self.name, f"adds different shapes {shapes}", "connect equal shapes")
        return shapes[0]


@dataclass(frozen=True, eq=False, repr=False)
class Concat(Node):
    """Concatenation along the channels. Source: docs/explanation/arithmetic.md, The block."""

    def output_shape(self, shapes: list[Shape]) -> Shape:
        if any(shape[1:] != shapes[0][1:] for shape in shapes):
            raise fault(self.name, f"joins different image sizes {shapes}", "connect equal sizes")
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])


@dataclass(frozen=True, eq=False, repr=False)
class Shuffle(Node):
    """Channel shuffle: output channel ``i*groups + j`` is input channel ``j*C/groups + i``.

    Source: docs/explanation/arithmetic.md, The block.
    """

    groups: int = 1

    def output_shape(self, shapes: list[Shape]) -> Shape:
        (shape,) = shapes
        check_groups(self.name, self.groups, input=shape[0])
        return shape


NODE_TYPES: tuple[type[Node], ...] = (Conv, Bottleneck, Pool, Linear, Add, Concat, Shuffle, Unsupported)


@dataclass(frozen=True, eq=False)
class Network:
    """An ordered graph; the last node is the output (class scores).

    Attributes:
        name: What the network is called in tables.
        input_shape: ``(C, H, W)`` of one image.
        nodes: Every node after all nodes it reads.
        mean: Per-channel mean subtracted from images scaled to 0..1.
        std: Per-channel divisor after that.
        labels: Class names, may be empty.
        metadata: Free JSON-able facts (data set, recipe, ...).

    Source: docs/reference/files.md, Networks.
    """

    name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.nodes:
            raise InputError(f"network {self.name}", "has no layers", "add at least one")
        if len(self.input_shape) != 3 or not all(is_count(size) and size > 0 for size in self.input_shape):
            what = f"input shape {self.input_shape}"
            raise InputError(f"network {self.name}", what, "give (channels, height, width)")
        require_normalisation(f"network {self.name}", self.mean, self.std, self.input_shape[0])
        require_labels(f"network {self.name}", self.labels, math.prod(self.shapes()[self.output]))

    def __repr__(self) -> str:
        size, blocks = "x".join(map(str, self.input_shape)), sum(1 for _ in self.bottlenecks())
        return f"Network({self.name!r}, input {size}, {len(self.nodes)} nodes, {blocks} of them blocks)"

    def shapes(self) -> dict[str, Shape]:
        """Output shape of every node (and of ``"input"``).

        Raises:
            InputError: A name is used twice, a node reads one that does not come before it, or shapes do not fit.
        """
        shapes: dict[str, Shape] = {INPUT: tuple(self.input_shape)}  # type: ignore[dict-item]
        for node in self.nodes:
            if not isinstance(node, NODE_TYPES):
                raise fault(
                    node.name, f"unknown node type {type(node).__name__}", "use the node types of predfuse.graph.nodes"
                )
            if node.name in shapes:
                raise fault(node.name, "is defined twice", "give every layer its own name")
            single = isinstance(node, (Conv, Bottleneck, Pool, Linear, Shuffle))
            if not node.inputs or (single and len(node.inputs) != 1):
                raise fault(node.name, f"has {len(node.inputs)} inputs", "name the inputs it needs")
            for source in node.inputs:
                if source not in shapes:
                    raise fault(node.name, f"reads {source!r}, which does not come before it", "reorder the layers")
            shapes[node.name] = node.output_shape([shapes[source] for source in node.inputs])
        return shapes

    @property
    def output(self) -> str:
        """Name of the output node."""
        return self.nodes[-1].name

    def bottlenecks(self) -> Iterator[Bottleneck]:
        """The bottleneck blocks in order."""
        return (node for node in self.nodes if isinstance(node, Bottleneck))

    @property
    def largest_predictor_weight(self) -> int:
        """Largest magnitude of the weights of all predictors; 1 if they are ternary or there are none."""
        return max((block.predictor.largest_weight for block in self.bottlenecks() if block.predictor), default=1)

    def with_blocks(self, change: Callable[[Bottleneck], Node]) -> Network:
        """A copy with ``change`` applied to every bottleneck block."""
        nodes = (change(node) if isinstance(node, Bottleneck) else node for node in self.nodes)
        return dataclasses.replace(self, nodes=tuple(nodes))

    def replace_nodes(self, **replacements: Node) -> Network:
        """A copy with some nodes exchanged by name.

        Raises:
            InputError: A name is not in the network, or the new node does not fit.
        """
        unknown = sorted(replacements.keys() - {node.name for node in self.nodes})
        if unknown:
            raise InputError(f"network {self.name}", f"has no layer {unknown[0]!r}", "name one of its layers")
        return dataclasses.replace(self, nodes=tuple(replacements.get(node.name, node) for node in self.nodes))
