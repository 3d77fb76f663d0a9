"""What a network asks of an accelerator: named convolutions per layer and stage, and a ledger of every node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from predfuse.graph.nodes import Array, Bottleneck, Conv, Linear, Network, Node, Shape, Unsupported
from predfuse.hardware.closed_form.windows import Window

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
        """All weights (count)."""
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
        """The same operation on another image size ``(height, width)``."""
        rows = replace(self.rows, size=in_size[0], out=out_size[0])
        columns = replace(self.columns, size=in_size[1], out=out_size[1])
        return replace(self, rows=rows, columns=columns)


@dataclass(frozen=True, eq=False)
class WorkItem:
    """One node of the network.

    Attributes:
        node: Name of the node.
        operations: Its convolutions in order; empty where it has no multiplications.
        fusable: Whether they are an expand, depthwise, project block that predicted masks make linear.
        note: Why it is not fusable or costs nothing in the published model.
        unsupported: Why no machine can run it; empty if they can.
    """

    node: str
    operations: tuple[Operation, ...]
    fusable: bool = False
    note: str = ""
    unsupported: str = ""

    @property
    def layer(self) -> str:
        """Name in tables."""
        return layer_of(self.node)


@dataclass(frozen=True, eq=False)
class Workload:
    """Every node of a network as work."""

    network: str
    items: tuple[WorkItem, ...]

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """All convolutions in order."""
        return tuple(operation for item in self.items for operation in item.operations)

    def with_operations(self, change: Callable[[Operation], Operation]) -> Workload:
        """A copy with ``change`` applied to every operation."""
        items = (replace(item, operations=tuple(map(change, item.operations))) for item in self.items)
        return Workload(self.network, tuple(items))


def layer_of(node: str) -> str:
    """The layer a node belongs to: ``b1`` for ``b1.expand``; traced names such as ``stem.0`` stay whole."""
    layer, _, suffix = node.rpartition(".")
    return layer if layer and suffix in _STAGE_OF_SUFFIX else node


def stage_of(node: str) -> str:
    """The stage a node is: ``depthwise`` for ``b1.depthwise``, ``expand_or_layer`` for a layer by itself."""
    return _STAGE_OF_SUFFIX[node.rpartition(".")[2]] if layer_of(node) != node else EXPAND_OR_LAYER


def workload(network: Network) -> Workload:
    """The work of every node of ``network`` for one image."""
    shapes = network.shapes()
    return Workload(
        network.name, tuple(_item(node, shapes[node.inputs[0]], shapes[node.name]) for node in network.nodes)
    )


def _item(node: Node, into: Shape, out: Shape) -> WorkItem:
    if isinstance(node, Conv):
        rows = Window(into[1], out[1], node.kernel[0], node.stride, node.padding[0], node.dilation)
        columns = Window(into[2], out[2], node.kernel[1], node.stride, node.padding[2], node.dilation)
        operation = Operation(
            layer_of(node.name),
            stage_of(node.name),
            node.in_channels,
            node.out_channels,
            node.groups,
            rows,
            columns,
            node.weight,
        )
        return WorkItem(node.name, (operation,))
    if isinstance(node, Linear):
        outputs, inputs = node.weight.shape
        point = Window(1, 1)
        weight = node.weight[:, :, None, None]
        layer, stage = layer_of(node.name), stage_of(node.name)
        return WorkItem(node.name, (Operation(layer, stage, inputs, outputs, 1, point, point, weight),))
    if isinstance(node, Bottleneck):
        return _block(node, into, out)
    if isinstance(node, Unsupported):
        return WorkItem(node.name, (), unsupported=node.reason)
    return WorkItem(
        node.name, (), note=f"{type(node).__name__.lower()}: no multiplications, not in the published model"
    )


def _block(node: Bottleneck, into: Shape, out: Shape) -> WorkItem:
    layer, middle, kernel = layer_of(node.name), node.middle_channels, node.kernel
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
    return WorkItem(node.name, operations, fusable=not clipped, note=note)
