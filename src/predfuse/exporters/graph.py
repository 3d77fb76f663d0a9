"""A :class:`predfuse.graph.nodes.Network` as an ONNX graph of standard operators, in one of three forms.

Built node by node rather than traced: every value keeps its layer's name, every weight is called what the layer calls
it, and the same network gives the same bytes. Needs the extra ``onnx``.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from typing import TYPE_CHECKING

import numpy as np

from predfuse import __version__
from predfuse.arrays import FloatArray
from predfuse.errors import InputError
from predfuse.exporters.arrays import (
    PRECISIONS,
    Form,
    Precision,
    block_form,
    fused_arrays,
    gate_arrays,
    require_form,
    require_precision,
    unfused,
)
from predfuse.exporters.operators import Operators, Size
from predfuse.graph.nodes import (
    INPUT,
    Activation,
    Add,
    Bottleneck,
    Concat,
    Conv,
    Linear,
    Network,
    Node,
    Pool,
    Shuffle,
)

if TYPE_CHECKING:
    import onnx

OPSET = 17
"""Version of the standard operator set; every operator used is in it."""

IR_VERSION = 8
"""ONNX file version that goes with the operator set."""

MAX_BYTES = 2**31 - 2**20
"""Largest ONNX file: protobuf messages end at 2 GiB."""


def require_onnx(*modules: str) -> None:
    """Check that the packages of the extra ``onnx`` are there.

    Raises:
        InputError: One is missing.
    """
    for module in ("onnx", *modules):
        if importlib.util.find_spec(module) is None:
            raise InputError("ONNX export", f"needs {module}, which is not installed", 'install "predfuse[onnx]"')


def to_onnx(network: Network, form: Form = "plain", precision: Precision = "float32") -> onnx.ModelProto:
    """The network as an ONNX model, any batch size.

    The input is called ``input``, ``[N, C, H, W]``, normalised images; the output is called after the last layer, as is
    every layer's value within. Both are float32, whatever the precision within. Name, form, precision, normalisation
    and labels are in the model's metadata.

    Raises:
        InputError: ``onnx`` is not installed, the network cannot take the form, or the file would be too large.
    """
    require_onnx()
    require_form(network, form)
    require_precision(precision)
    from onnx import TensorProto, helper

    builder = _Builder(network, form, precision)
    for node in network.nodes:
        builder.add(node)
    builder.finish()
    shape = builder.shapes[network.output]
    last = network.nodes[-1]
    output: list[int | str | None] = ["N", shape[0]] if isinstance(last, Linear) else ["N", *shape]
    graph = helper.make_graph(
        builder.operators,
        network.name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", *network.input_shape])],
        [helper.make_tensor_value_info(network.output, TensorProto.FLOAT, output)],
        builder.weights,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model: onnx.ModelProto = helper.make_model(
        graph, producer_name="predfuse", producer_version=__version__, opset_imports=opsets, ir_version=IR_VERSION
    )
    facts = {
        "network": network.name,
        "form": form,
        "precision": precision,
        "mean": json.dumps(network.mean),
        "std": json.dumps(network.std),
        "labels": json.dumps(network.labels),
    }
    helper.set_model_props(model, facts)
    if model.ByteSize() > MAX_BYTES:
        what = f"needs {model.ByteSize():,} bytes, an ONNX file holds 2 GiB"
        raise InputError(f"network {network.name}", what, "use the predicted form or a smaller network")
    return model


class _Builder(Operators):
    """The operators of a network, node by node."""

    def __init__(self, network: Network, form: Form, precision: Precision) -> None:
        self.shapes = network.shapes()
        super().__init__(set(self.shapes), precision)
        self.form, self._left = form, unfused(network) if form == "fused" else {}
        self._output = network.output
        self._image = INPUT
        if self.wide:
            self._image = self.cast(INPUT, f"{INPUT}/{precision}", np.float64)
            self.shapes[self._image] = self.shapes[INPUT]

    def add(self, node: Node) -> None:
        """Add the operators of one node; the last of them gives the value of the node's name."""
        self._current = node.name
        if INPUT in node.inputs:
            inputs = tuple(self._image if source == INPUT else source for source in node.inputs)
            node = dataclasses.replace(node, inputs=inputs)
        if isinstance(node, Conv):
            self._conv(node)
        elif isinstance(node, Bottleneck):
            self._bottleneck(node)
        elif isinstance(node, Pool):
            self.pool(node.inputs[0], self._size(node), node)
        elif isinstance(node, Linear):
            self._linear(node)
        elif isinstance(node, Add):
            y = self.operate("Sum", self._before_activation(node), *node.inputs)
            self.activate(y, node)
        elif isinstance(node, Concat):
            self.operate("Concat", node.name, *node.inputs, axis=1)
        else:
            assert isinstance(node, Shuffle)
            self.shuffle(node.inputs[0], node.groups, self.shapes[node.name], node.name)

    def finish(self) -> None:
        """Give the network's output as float32."""
        if self.wide:
            wide = self._name(f"{self._output}/{self.precision}")
            self.operators[-1].output[0] = self.operators[-1].name = wide
            self._current = self._output
            self.cast(wide, self._output, np.float32)

    def _size(self, node: Node) -> Size:
        """Rows and columns of what a node reads."""
        _, rows, columns = self.shapes[node.inputs[0]]
        return rows, columns

    def activate(self, x: str, node: Conv | Linear | Add) -> str:
        """The activation of a node whose value before it is ``x``."""
        return self.activation(x, node.activation, node.name) if node.activation != "linear" else x

    def _before_activation(self, node: Conv | Linear | Add) -> str:
        return node.name if node.activation == "linear" else f"{node.name}/linear"

    def _conv(self, node: Conv) -> None:
        y = self.convolve(
            node.inputs[0],
            self._size(node),
            self._before_activation(node),
            (f"{node.name}.weight", node.weight),
            (f"{node.name}.bias", node.bias),
            node.stride,
            node.padding,
            node.dilation,
            node.groups,
        )
        self.activate(y, node)

    def _linear(self, node: Linear) -> None:
        name = node.name
        flat = self.operate("Flatten", f"{name}/flat", node.inputs[0], axis=1)
        weights = self.weight(f"{name}.weight", node.weight), self.weight(f"{name}.bias", node.bias)
        # The network's output is [N, classes]; within the network the value of a layer is [N, C, 1, 1].
        inner = name != self._output
        linear = f"{name}/product" if inner or node.activation != "linear" else name
        y = self.operate("Gemm", linear, flat, *weights, transB=1)
        y = self.activation(y, node.activation, f"{name}/scores" if inner else name)
        if inner:
            self.reshape(y, name, [0, int(node.weight.shape[0]), 1, 1])

    def _bottleneck(self, block: Bottleneck) -> None:
        form = block_form(block, self.form, self._left)
        y = self._fused(block) if form == "fused" else self._unfused(block, gated=form == "predicted")
        name, x = block.name, block.inputs[0]
        if block.shuffle_groups > 1:
            shuffled = f"{name}/shuffled" if block.residual else name
            y = self.shuffle(y, block.shuffle_groups, self.shapes[name], shuffled)
        if block.residual:
            self.operate("Add", name, y, x)

    def _finished(self, block: Bottleneck) -> str:
        """Name of the projection's result: the block's own where nothing follows."""
        return block.name if block.shuffle_groups == 1 and not block.residual else f"{block.name}/project"

    def _unfused(self, block: Bottleneck, *, gated: bool) -> str:
        """The block up to its projection, gated by masks where it is ``gated``."""
        name, x = block.name, block.inputs[0]
        masks = self._masks(block) if gated else ("", "")
        zero = self.weight(f"{name}/zero", 0.0) if gated else ""

        def gate(value: str, mask: str, activation: Activation, result: str) -> str:
            return (
                self.operate("Where", result, mask, value, zero)
                if gated
                else self.activation(value, activation, result)
            )

        def biased(
            stage: str, weight: FloatArray, bias: FloatArray
        ) -> tuple[tuple[str, FloatArray], tuple[str, FloatArray]]:
            return (f"{name}.{stage}_weight", weight), (f"{name}.{stage}_bias", bias)

        expand = biased("expand", block.expand_weight[:, :, None, None], block.expand_bias)
        depthwise = biased("depthwise", block.depthwise_weight[:, None], block.depthwise_bias)
        project = biased("project", block.project_weight[:, :, None, None], block.project_bias)
        size, out = self._size(block), self.shapes[name][1:]
        a = self.convolve(x, size, f"{name}/expand", *expand, groups=block.groups)
        h = gate(a, masks[0], block.expand_activation, f"{name}/hidden1")
        d = self.convolve(
            h,
            size,
            f"{name}/depthwise",
            *depthwise,
            stride=block.stride,
            padding=block.padding,
            groups=block.middle_channels,
        )
        u = gate(d, masks[1], block.depthwise_activation, f"{name}/hidden2")
        return self.convolve(u, out, self._finished(block), *project, groups=block.groups)

    def _masks(self, block: Bottleneck) -> tuple[str, str]:
        """The predictor: both masks, booleans. Once its input is quantised it is exact in float32."""
        arrays = gate_arrays(block)
        size, exact = self._size(block), np.float32
        own = f"{block.name}.predictor"
        scale = self.weight(f"{own}.input_scale", arrays.input_scale)
        scaled = self.operate("Mul", f"{own}/scaled", block.inputs[0], scale)
        limits = self.weight(f"{own}.input_min", arrays.input_min), self.weight(f"{own}.input_max", arrays.input_max)
        quantised = self.operate("Clip", f"{own}/input", self.operate("Floor", f"{own}/floor", scaled), *limits)
        if self.wide:
            quantised = self.cast(quantised, f"{own}/code", exact)
        expand = (f"{own}.expand", arrays.expand), (f"{own}.expand_offset", arrays.expand_offset)
        z1 = self.convolve(quantised, size, f"{own}/score1", *expand, groups=block.groups, exact=True)
        hidden_scale = self.weight(f"{own}.hidden_scale", arrays.hidden_scale, exact)
        shifted = self.operate("Mul", f"{own}/shifted", z1, hidden_scale)
        limits = (
            self.weight(f"{own}.hidden_min", 0.0, exact),
            self.weight(f"{own}.hidden_max", arrays.hidden_max, exact),
        )
        q1 = self.operate("Clip", f"{own}/hidden", self.operate("Floor", f"{own}/floored", shifted), *limits)
        depthwise = (f"{own}.depthwise", arrays.depthwise), (f"{own}.depthwise_offset", arrays.depthwise_offset)
        z2 = self.convolve(
            q1,
            size,
            f"{own}/score2",
            *depthwise,
            stride=block.stride,
            padding=block.padding,
            groups=block.middle_channels,
            exact=True,
        )
        thresholds = (
            self.weight(f"{own}.expand_threshold", arrays.expand_threshold, exact),
            self.weight(f"{own}.depthwise_threshold", arrays.depthwise_threshold, exact),
        )
        mask1 = self.operate("Greater", f"{block.name}/mask1", z1, thresholds[0])
        return mask1, self.operate("Greater", f"{block.name}/mask2", z2, thresholds[1])

    def _fused(self, block: Bottleneck) -> str:
        """The block up to its projection as sums of surviving fused weights, each multiplied once."""
        name, groups = block.name, block.groups
        dtype = PRECISIONS[self.precision]
        arrays = fused_arrays(block, dtype)
        mask1, mask2 = self._masks(block)
        gates1 = self.cast(mask1, f"{name}/gates1", dtype)
        gates2 = self.cast(mask2, f"{name}/gates2", dtype)
        top, bottom, left, right = block.padding
        gates1 = self.pad(gates1, f"{name}/padded1", [0, 0, top, left, 0, 0, bottom, right])
        channels, height, width = self.shapes[block.inputs[0]]
        inputs = block.group_channels + 1
        sizes = [height + top + bottom, width + left + right]
        grouped = self.reshape(block.inputs[0], f"{name}/grouped", [0, groups, channels // groups, height, width])
        image = self.pad(grouped, f"{name}/padded", [0, 0, 0, top, left, 0, 0, 0, bottom, right])
        # The shift of the expand batch norm is the weight of one more input per group, which is always 1.
        image = self.pad(image, f"{name}/extended", [0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 1.0)
        image = self.reshape(image, f"{name}/image", [0, groups, 1, inputs, *sizes])
        _, rows, columns = self.shapes[name]
        outputs = block.out_channels // groups
        constant = (f"{name}.fused_constant", arrays.constant), (f"{name}.fused_bias", arrays.bias)
        y = self.convolve(gates2, (rows, columns), f"{name}/constant", *constant, groups=groups)
        parts = [self.reshape(y, f"{name}/part", [0, groups, outputs, rows, columns])]
        axis = self.weight(f"{name}/axis", np.array([3]), np.int64)
        for tap in range(block.kernel**2):
            own = f"{name}/tap{tap}"
            first = divmod(tap, block.kernel)
            window1 = self.window(gates1, f"{own}/window1", first, (rows, columns), block.stride, 2)
            survivors = self.operate("Mul", f"{own}/survivors", window1, gates2)
            weights = f"{name}.fused_weight{tap}", arrays.taps[tap]
            sums = self.convolve(survivors, (rows, columns), f"{own}/sums", weights, groups=groups)
            sums = self.reshape(sums, f"{own}/grouped", [0, groups, outputs, inputs, rows, columns])
            window = self.window(image, f"{own}/window", first, (rows, columns), block.stride, 4)
            products = self.operate("Mul", f"{own}/products", sums, window)
            parts.append(self.operate("ReduceSum", f"{own}/part", products, axis, keepdims=0))
        total = self.operate("Sum", f"{name}/total", *parts)
        return self.reshape(total, self._finished(block), [0, block.out_channels, rows, columns])
