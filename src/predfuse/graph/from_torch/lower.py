"""From captured operations to drafts of network nodes, one operation at a time; nothing is merged here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node as GraphNode

from predfuse.arrays import Float64Array
from predfuse.errors import InputError
from predfuse.graph.from_torch.capture import Capture, arguments_of, operation_of
from predfuse.graph.from_torch.graph_builder import Draft
from predfuse.graph.from_torch.operations import HANDLERS, MOVES
from predfuse.graph.from_torch.unsupported import NotSupportedError, reason_for
from predfuse.graph.from_torch.views import View, shuffle_groups
from predfuse.graph.nodes import INPUT, Add, Node, Pool, Shape, Shuffle, Unsupported

_REARRANGED = "reads pixels in another order, or some only (crop, stride, flip, space to depth): no channel shuffle"


@dataclass(frozen=True, eq=False)
class _Opaque:
    """An unsupported operation with several results, each of which becomes a node where it is taken."""

    node: GraphNode
    reason: str


class Lowering:
    """Walks over the captured operations and drafts the network's nodes.

    Attributes:
        drafts: What has been drafted, in order.
    """

    def __init__(self, captured: Capture) -> None:
        self.capture = captured
        self.drafts: list[Draft] = []
        self._views: dict[str, View | list[View]] = {}
        self._opaque: dict[str, _Opaque] = {}
        self._shapes: dict[str, Shape] = {}
        self._names: set[str] = {INPUT}
        shape = tuple(captured.values[captured.input].shape)
        self._shapes[INPUT] = (shape[1], shape[2], shape[3])
        self._views[captured.input] = View(INPUT, self._shapes[INPUT], shape)

    def run(self) -> str:
        """Draft everything; returns the name of the output's node."""
        for node in self.capture.nodes:
            if node.name not in self.capture.constants:
                self._views[node.name] = self._lower(node)
        output = self._views.get(self.capture.output)
        if not isinstance(output, View):
            raise InputError("model", "returns a value that does not depend on its input", "check its forward")
        last = next((node for node in reversed(self.capture.nodes) if node.name == self.capture.output), None)
        if last is None or not self.drafts:
            raise InputError("model", "returns its input", "trace a module with layers")
        try:
            return self.feature_map(last).source
        except NotSupportedError as error:
            return self._unsupported_tensor(last, last, str(error)).source

    def _lower(self, node: GraphNode) -> View | list[View]:
        operation = operation_of(node)
        try:
            handler = HANDLERS.get(operation)
            if handler is not None:
                return handler(self, node, arguments_of(node))
            if operation == "getitem":
                return self._item(node, *node.args)
            if operation in MOVES:
                return self._move(node)
            raise NotSupportedError(reason_for(operation))
        except NotSupportedError as error:
            return self._unsupported(node, str(error))

    def _item(self, node: GraphNode, argument: Any, position: Any) -> View:
        """One of several results of an operation."""
        if argument.name in self._opaque:
            several = self._opaque[argument.name]
            return self._unsupported_tensor(node, several.node, several.reason)
        views = self._views[argument.name]
        if isinstance(views, View) or position >= len(views):
            raise NotSupportedError(f"reads result {position} of {operation_of(argument)}")
        view: View = views[position]
        return view

    def _unsupported(self, node: GraphNode, reason: str) -> View | list[View]:
        """Keep the operation as one that cannot run, so that everything after it is looked at too."""
        if isinstance(self.capture.values[node.name], Tensor):
            return self._unsupported_tensor(node, node, reason)
        self._opaque[node.name] = _Opaque(node, reason)
        return []

    def _unsupported_tensor(self, node: GraphNode, operation: GraphNode, reason: str) -> View:
        """An unsupported node for the tensor ``node`` gives, computed by ``operation``."""
        shape = tuple(self.capture.values[node.name].shape)
        sources = []
        for argument in operation.all_input_nodes:
            views = self._views.get(argument.name, [])
            sources += [view.source for view in (views if isinstance(views, list) else [views])]
        volume: Shape = (math.prod(shape), 1, 1)
        if len(shape) == 4 and shape[0] == 1:
            volume = (shape[1], shape[2], shape[3])
        name = self.name_of(node)
        unsupported = Unsupported(
            name, tuple(dict.fromkeys(sources)) or (INPUT,), operation_of(operation), reason, volume
        )
        return self.draft(node, unsupported, shape, reason=reason)

    def _move(self, node: GraphNode) -> View | list[View]:
        """Apply an operation that only rearranges elements to their positions."""
        view = self._reduced(node.args[0])
        arguments = [view.positions().contiguous(), *node.args[1:]]
        if any(isinstance(argument, GraphNode) for argument in node.args[1:]):
            raise NotSupportedError("rearranges elements by computed indices")
        moved = node.target(*arguments, **node.kwargs)  # type: ignore[operator]
        if isinstance(moved, list | tuple):
            return [view.moved(part) for part in moved]
        return view.moved(moved)

    # What handlers use.

    def view(self, argument: Any) -> View:
        """The view behind an argument of an operation."""
        views = self._views.get(argument.name) if isinstance(argument, GraphNode) else None
        if not isinstance(views, View):
            raise NotSupportedError("computes with something that is no feature map")
        return views

    def constant(self, argument: Any) -> Tensor | None:
        """The value of an argument that does not depend on the input; None for one that does."""
        if isinstance(argument, GraphNode):
            value = self.capture.values[argument.name] if argument.name in self.capture.constants else None
            return value if isinstance(value, Tensor) else None
        return torch.tensor(argument) if isinstance(argument, int | float) else None

    def ends_in_relu(self, argument: Any) -> bool:
        """Whether a tensor is what a ReLU gave."""
        source = self.view(argument).source
        node = next((draft.node for draft in self.drafts if draft.name == source), None)
        return isinstance(node, Add) and node.activation != "linear"

    def array(self, argument: Any) -> Float64Array | None:
        """A constant tensor as float64; None for None.

        Raises:
            NotSupportedError: It depends on the input.
        """
        if argument is None:
            return None
        value = self.constant(argument)
        if value is None:
            raise NotSupportedError("its weights are computed from the input")
        array: Float64Array = value.detach().cpu().numpy().astype(np.float64)
        return array

    def feature_map(self, argument: Any) -> View:
        """The argument as a whole feature map, computed by a shuffle or a pooling of its own where it needs one.

        Raises:
            NotSupportedError: It is something else.
        """
        view = self._reduced(argument)
        if view.in_order:
            return view
        order = view.channel_order()
        if order is None:
            raise NotSupportedError(_REARRANGED)
        groups = shuffle_groups(order, view.source_shape[0])
        if groups is None:
            raise NotSupportedError("reads some channels only (a split), or channels in an order that is no shuffle's")
        shuffle = Shuffle(self.name_of(argument, "shuffle"), (view.source,), groups)
        return self._computed(argument, shuffle, view.shape)

    def _reduced(self, argument: Any) -> View:
        """The view behind an argument, a mean over all pixels computed by a node of its own."""
        view = self.view(argument)
        if view.members is None:
            return view
        channels = view.pooled_channels()
        if channels is None:
            raise NotSupportedError("reads a mean over part of the image")
        if channels != list(range(view.source_shape[0])):
            raise NotSupportedError("pools some channels only, or in another order")
        return self._computed(argument, Pool(self.name_of(argument, "mean"), (view.source,)), view.shape)

    def _computed(self, argument: GraphNode, drafted: Node, shape: tuple[int, ...]) -> View:
        """Draft the node that computes an argument, once for all its readers."""
        view = self.draft(argument, drafted, shape)
        self._views[argument.name] = view
        return view

    def whole(self, argument: Any) -> View:
        """A feature map of four dimensions as a handler's input."""
        view = self.feature_map(argument)
        if len(view.shape) != 4 or view.shape[1:] != view.source_shape:
            shape = "x".join(map(str, view.shape))
            raise NotSupportedError(f"reads a tensor of {shape} made from an image of another shape")
        return view

    def draft(
        self,
        node: GraphNode,
        drafted: Node,
        shape: tuple[int, ...],
        role: str = "",
        affine: bool = False,
        reason: str = "",
        inner: bool = False,
    ) -> View:
        """Add a node; returns the view of its output, which has ``shape`` in PyTorch.

        ``inner`` says that it is only a step on the way to what ``node`` gives.
        """
        try:
            out = drafted.output_shape([self._shapes[source] for source in drafted.inputs])
        except InputError as error:
            raise NotSupportedError(error.what) from error
        part = self.capture.part(node, role or type(drafted).__name__.lower())
        self.drafts.append(Draft(drafted, (part,), "" if inner else node.name, affine, reason))
        self._shapes[drafted.name] = out
        self._names.add(drafted.name)
        return View(drafted.name, out, shape)

    def name_of(self, node: GraphNode, operation: str = "") -> str:
        """A name that says where the operation is: its layer's, or its module's with the operation."""
        part = self.capture.part(node, "")
        short = operation or part.operation.rpartition(".")[2]
        layer = part.layer or (part.module if part.module_type.startswith("torch.nn.") else "")
        base = layer if layer and not operation else ".".join(filter(None, (part.module, short)))
        name, copy = base, 1
        while name in self._names:
            name, copy = f"{base}@{copy}", copy + 1
        return name


def lower(captured: Capture) -> tuple[list[Draft], str]:
    """Draft the network of captured operations.

    Returns:
        The drafts in order and the name of the output's node. Operations that cannot be expressed are drafted as
        :class:`predfuse.graph.nodes.Unsupported`.
    """
    lowering = Lowering(captured)
    output = lowering.run()
    return lowering.drafts, output
