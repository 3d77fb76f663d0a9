"""What a network or a compiled program asks of an accelerator: every node with its convolutions and its maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from predfuse.arrays import Array
from predfuse.graph.nodes import (
    Add,
    Bottleneck,
    Concat,
    Conv,
    Linear,
    Network,
    Node,
    Pool,
    Shape,
    Shuffle,
    Unsupported,
)
from predfuse.hardware.block_work import BlockWork, block_work
from predfuse.hardware.closed_form.windows import Window
from predfuse.integer.program import (
    FusedBlock,
    IntegerAdd,
    IntegerConcat,
    IntegerConv,
    IntegerPool,
    IntegerShuffle,
    Program,
)

EXPAND_OR_LAYER = "expand_or_layer"
"""Stage of a plain layer, and of the first 1x1 convolution of a block, as the published tables call it."""
DEPTHWISE = "depthwise"
PROJECT = "project"

MAIN = "main"
"""Stages of a fused block on an Archon; ``main`` is also that of its plain layers."""
PREDICT_EXPAND = "predict_expand"
PREDICT_DEPTHWISE = "predict_depthwise"
FUSION_OVERHEAD = "fusion_overhead"

_STAGE_OF_SUFFIX = {"expand": EXPAND_OR_LAYER, "depthwise": DEPTHWISE, "project": PROJECT}


@dataclass(frozen=True, eq=False)
class Operation:
    """One convolution, grouped or depthwise or fully connected alike.

    Attributes:
        layer: Name in tables: that of the node, without the part of a block it is.
        stage: Part of the layer, e.g. ``expand_or_layer``, ``depthwise``, ``project``.
        channels: Input channels (count).
        outputs: Output channels (count).
        groups: Groups of channels.
        rows: Window along the height.
        columns: Window along the width.
        weight: ``[outputs, channels/groups, kh, kw]``, or None where only the shape is known.
    """

    layer: str
    stage: str
    channels: int
    outputs: int
    groups: int
    rows: Window
    columns: Window
    weight: Array | None = None

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel is convolved by itself: channels are then spread over PEs as outputs are."""
        return self.groups == self.channels == self.outputs

    @property
    def group_channels(self) -> int:
        """Input channels of a group."""
        return self.channels // self.groups

    @property
    def group_outputs(self) -> int:
        """Output channels of a group."""
        return self.outputs // self.groups

    @property
    def taps(self) -> int:
        """Weights of the kernel, height times width."""
        return self.rows.kernel * self.columns.kernel

    @property
    def weights(self) -> int:
        """Weights of the layer, zeros included (count)."""
        return self.outputs * self.group_channels * self.taps

    @property
    def in_pixels(self) -> int:
        """Input pixels of a channel."""
        return self.rows.size * self.columns.size

    @property
    def out_pixels(self) -> int:
        """Output pixels of a channel."""
        return self.rows.out * self.columns.out

    @property
    def macs(self) -> int:
        """Multiply-accumulates, those with padding included (count)."""
        return self.weights * self.out_pixels

    def with_image(self, in_size: tuple[int, int], out_size: tuple[int, int]) -> Operation:
        """The operation on another image size ``(height, width)``."""
        rows = replace(self.rows, size=in_size[0], out=out_size[0])
        columns = replace(self.columns, size=in_size[1], out=out_size[1])
        return replace(self, rows=rows, columns=columns)


@dataclass(frozen=True, eq=False)
class WorkItem:
    """One node of the network.

    Attributes:
        node: Name of the node.
        inputs: Names of the nodes it reads.
        shape: ``(C, H, W)`` of its output.
        operations: Its convolutions in order; empty where it has no multiplications.
        is_elementwise: Whether it reads every value of its inputs once, without multiplying: pooling and additions.
        only_renames: Whether its output is its inputs in another order, so that no value need be moved.
        residual: Whether it is a block whose input is added to its output.
        block: What a machine that fuses it needs; None if it is no block with a predictor.
        fusable: Whether its convolutions are an expand, depthwise, project block that predicted masks make linear.
        note: Why it is not fusable or costs nothing in the published model.
        unsupported: Why no machine can run it; empty if they can.
    """

    node: str
    inputs: tuple[str, ...]
    shape: Shape
    operations: tuple[Operation, ...] = ()
    is_elementwise: bool = False
    only_renames: bool = False
    residual: bool = False
    block: BlockWork | None = None
    fusable: bool = False
    note: str = ""
    unsupported: str = ""

    @property
    def layer(self) -> str:
        """Name in tables."""
        return layer_of(self.node)

    @property
    def is_pooling(self) -> bool:
        """Whether it pools, every channel by itself."""
        return self.is_elementwise and len(self.inputs) == 1

    @property
    def is_block(self) -> bool:
        """Whether it is an expand, depthwise, project block."""
        return len(self.operations) == 3


@dataclass(frozen=True, eq=False)
class Workload:
    """Every node of a network as work.

    Attributes:
        network: Its name.
        input_shape: ``(C, H, W)`` of an image.
        items: Every node after all nodes it reads.
    """

    network: str
    input_shape: Shape
    items: tuple[WorkItem, ...]

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """Convolutions of all nodes, in order."""
        return tuple(operation for item in self.items for operation in item.operations)

    def with_operations(self, change: Callable[[Operation], Operation]) -> Workload:
        """A copy with ``change`` applied to every operation."""
        items = (replace(item, operations=tuple(map(change, item.operations))) for item in self.items)
        return replace(self, items=tuple(items))


def layer_of(node: str) -> str:
    """The layer a node belongs to: ``b1`` for ``b1.expand``; traced names such as ``stem.0`` stay whole."""
    layer, _, suffix = node.rpartition(".")
    return layer if layer and suffix in _STAGE_OF_SUFFIX else node


def stage_of(node: str) -> str:
    """The stage a node is: ``depthwise`` for ``b1.depthwise``, ``expand_or_layer`` for a layer by itself."""
    return _STAGE_OF_SUFFIX[node.rpartition(".")[2]] if layer_of(node) != node else EXPAND_OR_LAYER


@lru_cache(maxsize=2)
def workload(what: Network | Program) -> Workload:
    """The work of every node of a network, or of a program with its integer weights, for one image."""
    shapes = what.shapes()
    items = tuple(_item(node, shapes[node.inputs[0]], shapes[node.name]) for node in what.nodes)
    return Workload(what.name, what.input_shape, items)


def _item(node: Node, into: Shape, out: Shape) -> WorkItem:
    whole = WorkItem(node.name, node.inputs, out)
    layer, stage = layer_of(node.name), stage_of(node.name)
    if isinstance(node, Conv | IntegerConv):
        rows = Window(into[1], out[1], node.kernel[0], node.stride, node.padding[0], node.dilation)
        columns = Window(into[2], out[2], node.kernel[1], node.stride, node.padding[2], node.dilation)
        channels = (node.in_channels, node.out_channels, node.groups)
        return replace(whole, operations=(Operation(layer, stage, *channels, rows, columns, node.weight),))
    if isinstance(node, Linear):
        outputs, inputs = node.weight.shape
        point, weight = Window(1, 1), node.weight[:, :, None, None]
        return replace(whole, operations=(Operation(layer, stage, inputs, outputs, 1, point, point, weight),))
    if isinstance(node, Bottleneck):
        return _block(node, into, whole)
    if isinstance(node, FusedBlock):
        return _block(node.as_bottleneck(), into, whole)
    if isinstance(node, Unsupported):
        return replace(whole, unsupported=node.reason)
    kind = type(node).__name__.removeprefix("Integer").lower()
    return replace(
        whole,
        is_elementwise=isinstance(node, Pool | Add | IntegerPool | IntegerAdd),
        only_renames=isinstance(node, Shuffle | Concat | IntegerShuffle | IntegerConcat),
        note=f"{kind}: no multiplications, not in the published model",
    )


def _block(node: Bottleneck, into: Shape, whole: WorkItem) -> WorkItem:
    layer, middle, kernel, out = whole.layer, node.middle_channels, node.kernel, whole.shape
    wide, narrow = (
        (Window(into[1], into[1]), Window(into[2], into[2])),
        (Window(out[1], out[1]), Window(out[2], out[2])),
    )
    slide = (
        Window(into[1], out[1], kernel, node.stride, node.padding[0]),
        Window(into[2], out[2], kernel, node.stride, node.padding[2]),
    )
    expand = node.expand_weight[:, :, None, None]
    depthwise = node.depthwise_weight[:, None]
    project = node.project_weight[:, :, None, None]
    operations = (
        Operation(layer, EXPAND_OR_LAYER, node.in_channels, middle, node.groups, *wide, expand),
        Operation(layer, DEPTHWISE, middle, middle, middle, *slide, depthwise),
        Operation(layer, PROJECT, middle, node.out_channels, node.groups, *narrow, project),
    )
    clipped = node.predictor is None and "relu6" in (node.expand_activation, node.depthwise_activation)
    note = "relu6 also clips from above: masks alone do not make the block linear" if clipped else ""
    return replace(
        whole,
        operations=operations,
        residual=node.residual,
        block=None if node.predictor is None else block_work(node, into),
        fusable=not clipped,
        note=note,
    )
