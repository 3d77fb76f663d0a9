"""A :class:`predfuse.ir.Network` as an ONNX graph of standard operators, in one of three forms.

Built node by node rather than traced: every value keeps its layer's name, every weight is called what the layer calls
it, and the same network gives the same bytes. Needs the extra ``onnx``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from predfuse.errors import InputError
from predfuse.export.arrays import Form, fused_arrays, gate_arrays, require_form
from predfuse.ir import (
    INPUT,
    Activation,
    Add,
    Array,
    Bottleneck,
    Concat,
    Conv,
    Linear,
    Network,
    Node,
    Padding,
    Pool,
    Shape,
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
    import importlib.util

    for module in ("onnx", *modules):
        if importlib.util.find_spec(module) is None:
            raise InputError("ONNX export", f"needs {module}, which is not installed", 'install "predfuse[onnx]"')


def to_onnx(network: Network, form: Form = "plain") -> onnx.ModelProto:
    """The network as an ONNX model, float32, any batch size.

    The input is called ``input``, ``[N, C, H, W]``, normalised images; the output is called after the last layer, as is
    every layer's value within. Name, form, normalisation and labels are in the model's metadata.

    Raises:
        InputError: ``onnx`` is not installed, the network cannot take the form, or the file would be too large.
    """
    require_onnx()
    require_form(network, form)
    from onnx import TensorProto, helper

    from predfuse import __version__

    builder = _Builder(network, form)
    for node in network.nodes:
        builder.add(node)
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
        "mean": json.dumps(network.mean),
        "std": json.dumps(network.std),
        "labels": json.dumps(network.labels),
    }
    helper.set_model_props(model, facts)
    if model.ByteSize() > MAX_BYTES:
        what = f"needs {model.ByteSize():,} bytes, an ONNX file holds 2 GiB"
        raise InputError(f"network {network.name}", what, "use the predicted form or a smaller network")
    return model


class _Builder:
    """Collects the operators and weights of a graph; every method returns the name of its result."""

    def __init__(self, network: Network, form: Form) -> None:
        self.form = form
        self.shapes = network.shapes()
        self.operators: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._output = network.output
        self._current = ""
        self._taken = set(self.shapes)

    def add(self, node: Node) -> None:
        """Add the operators of one node; the last of them gives the value of the node's name."""
        self._current = node.name
        if isinstance(node, Conv):
            self._conv(node)
        elif isinstance(node, Bottleneck):
            self._bottleneck(node)
        elif isinstance(node, Pool):
            self._pool(node)
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

    def _name(self, wanted: str) -> str:
        """``wanted``, or something like it where a layer has that name."""
        while wanted in self._taken:
            wanted += "'"
        self._taken.add(wanted)
        return wanted

    def operate(self, kind: str, result: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator of the standard set; ``result`` is the current layer's name or that of an inner value."""
        from onnx import helper

        name = result if result == self._current else self._name(result)
        self.operators.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, name: str, array: Array | float, dtype: type[np.generic] = np.float32) -> str:
        """Add a constant."""
        from onnx import numpy_helper

        name = self._name(name)
        self.weights.append(numpy_helper.from_array(np.array(array, dtype, order="C"), name))
        return name

    def convolve(
        self,
        x: str,
        result: str,
        weight: tuple[str, Array],
        bias: tuple[str, Array] | None = None,
        stride: int = 1,
        padding: Padding = (0, 0, 0, 0),
        dilation: int = 1,
        groups: int = 1,
    ) -> str:
        """A convolution; weights as pairs of name and array."""
        top, bottom, left, right = padding
        constants = [self.weight(*weight)] if bias is None else [self.weight(*weight), self.weight(*bias)]
        return self.operate(
            "Conv",
            result,
            x,
            *constants,
            kernel_shape=list(weight[1].shape[2:]),
            strides=[stride, stride],
            pads=[top, left, bottom, right],
            dilations=[dilation, dilation],
            group=groups,
        )

    def activate(self, x: str, node: Conv | Linear | Add) -> str:
        """The activation of a node whose value before it is ``x``."""
        return self.activation(x, node.activation, node.name) if node.activation != "linear" else x

    def activation(self, x: str, activation: Activation, result: str) -> str:
        if activation == "linear":
            return x
        if activation == "relu":
            return self.operate("Relu", result, x)
        bounds = self.weight(f"{result}/low", 0.0), self.weight(f"{result}/high", 6.0)
        return self.operate("Clip", result, x, *bounds)

    def _before_activation(self, node: Conv | Linear | Add) -> str:
        return node.name if node.activation == "linear" else f"{node.name}/linear"

    def reshape(self, x: str, result: str, sizes: list[int]) -> str:
        """Reshape; 0 keeps a size."""
        return self.operate("Reshape", result, x, self.weight(f"{result}/shape", np.array(sizes), np.int64))

    def shuffle(self, x: str, groups: int, shape: Shape, result: str) -> str:
        channels, height, width = shape
        split = self.reshape(x, f"{result}/groups", [0, groups, channels // groups, height * width])
        swapped = self.operate("Transpose", f"{result}/swapped", split, perm=[0, 2, 1, 3])
        return self.reshape(swapped, result, [0, channels, height, width])

    def _conv(self, node: Conv) -> None:
        y = self.convolve(
            node.inputs[0],
            self._before_activation(node),
            (f"{node.name}.weight", node.weight),
            (f"{node.name}.bias", node.bias),
            node.stride,
            node.padding,
            node.dilation,
            node.groups,
        )
        self.activate(y, node)

    def _pool(self, node: Pool) -> None:
        kind = "AveragePool" if node.kind == "average" else "MaxPool"
        if node.kernel == 0:
            self.operate(f"Global{kind}", node.name, node.inputs[0])
            return
        top, bottom, left, right = node.padding
        attributes: dict[str, Any] = {"count_include_pad": int(node.count_padding)} if node.kind == "average" else {}
        self.operate(
            kind,
            node.name,
            node.inputs[0],
            kernel_shape=[node.kernel] * 2,
            strides=[node.stride] * 2,
            pads=[top, left, bottom, right],
            **attributes,
        )

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
        if self.form == "fused" and block.predictor is not None:
            y = self._fused(block)
        else:
            y = self._unfused(block)
        name, x = block.name, block.inputs[0]
        if block.shuffle_groups > 1:
            shuffled = f"{name}/shuffled" if block.residual else name
            y = self.shuffle(y, block.shuffle_groups, self.shapes[name], shuffled)
        if block.residual:
            self.operate("Add", name, y, x)

    def _finished(self, block: Bottleneck) -> str:
        """Name of the projection's result: the block's own where nothing follows."""
        return block.name if block.shuffle_groups == 1 and not block.residual else f"{block.name}/project"

    def _unfused(self, block: Bottleneck) -> str:
        """The block up to its projection, gated by masks where the form asks for them."""
        name, x = block.name, block.inputs[0]
        gated = self.form == "predicted" and block.predictor is not None
        masks = self._masks(block) if gated else ("", "")
        zero = self.weight(f"{name}/zero", 0.0) if gated else ""

        def gate(value: str, mask: str, activation: Activation, result: str) -> str:
            return (
                self.operate("Where", result, mask, value, zero)
                if gated
                else self.activation(value, activation, result)
            )

        def biased(stage: str, weight: Array, bias: Array) -> tuple[tuple[str, Array], tuple[str, Array]]:
            return (f"{name}.{stage}_weight", weight), (f"{name}.{stage}_bias", bias)

        expand = biased("expand", block.expand_weight[:, :, None, None], block.expand_bias)
        depthwise = biased("depthwise", block.depthwise_weight[:, None], block.depthwise_bias)
        project = biased("project", block.project_weight[:, :, None, None], block.project_bias)
        a = self.convolve(x, f"{name}/expand", *expand, groups=block.groups)
        h = gate(a, masks[0], block.expand_activation, f"{name}/hidden1")
        d = self.convolve(
            h,
            f"{name}/depthwise",
            *depthwise,
            stride=block.stride,
            padding=block.padding,
            groups=block.middle_channels,
        )
        u = gate(d, masks[1], block.depthwise_activation, f"{name}/hidden2")
        return self.convolve(u, self._finished(block), *project, groups=block.groups)

    def _masks(self, block: Bottleneck) -> tuple[str, str]:
        """The predictor: both masks, booleans."""
        arrays = gate_arrays(block)
        own = f"{block.name}.predictor"
        scale = self.weight(f"{own}.input_scale", arrays.input_scale)
        scaled = self.operate("Mul", f"{own}/scaled", block.inputs[0], scale)
        limits = self.weight(f"{own}.input_min", arrays.input_min), self.weight(f"{own}.input_max", arrays.input_max)
        quantised = self.operate("Clip", f"{own}/input", self.operate("Floor", f"{own}/floor", scaled), *limits)
        expand = (f"{own}.expand", arrays.expand), (f"{own}.expand_offset", arrays.expand_offset)
        z1 = self.convolve(quantised, f"{own}/score1", *expand, groups=block.groups)
        shifted = self.operate("Mul", f"{own}/shifted", z1, self.weight(f"{own}.hidden_scale", arrays.hidden_scale))
        limits = self.weight(f"{own}.hidden_min", 0.0), self.weight(f"{own}.hidden_max", arrays.hidden_max)
        q1 = self.operate("Clip", f"{own}/hidden", self.operate("Floor", f"{own}/floored", shifted), *limits)
        depthwise = (f"{own}.depthwise", arrays.depthwise), (f"{own}.depthwise_offset", arrays.depthwise_offset)
        z2 = self.convolve(
            q1, f"{own}/score2", *depthwise, stride=block.stride, padding=block.padding, groups=block.middle_channels
        )
        thresholds = (
            self.weight(f"{own}.expand_threshold", arrays.expand_threshold),
            self.weight(f"{own}.depthwise_threshold", arrays.depthwise_threshold),
        )
        mask1 = self.operate("Greater", f"{block.name}/mask1", z1, thresholds[0])
        return mask1, self.operate("Greater", f"{block.name}/mask2", z2, thresholds[1])

    def _fused(self, block: Bottleneck) -> str:
        """The block up to its projection as sums of surviving fused weights, each multiplied once."""
        from onnx import TensorProto

        name, groups = block.name, block.groups
        arrays = fused_arrays(block)
        mask1, mask2 = self._masks(block)
        gates1 = self.operate("Cast", f"{name}/gates1", mask1, to=TensorProto.FLOAT)
        gates2 = self.operate("Cast", f"{name}/gates2", mask2, to=TensorProto.FLOAT)
        top, bottom, left, right = block.padding
        gates1 = self._pad(gates1, f"{name}/padded1", [0, 0, top, left, 0, 0, bottom, right])
        channels, height, width = self.shapes[block.inputs[0]]
        inputs = block.group_channels + 1
        sizes = [height + top + bottom, width + left + right]
        grouped = self.reshape(block.inputs[0], f"{name}/grouped", [0, groups, channels // groups, height, width])
        image = self._pad(grouped, f"{name}/padded", [0, 0, 0, top, left, 0, 0, 0, bottom, right])
        # The shift of the expand batch norm is the weight of one more input per group, which is always 1.
        image = self._pad(image, f"{name}/extended", [0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 1.0)
        image = self.reshape(image, f"{name}/image", [0, groups, 1, inputs, *sizes])
        _, rows, columns = self.shapes[name]
        outputs = block.out_channels // groups
        constant = (f"{name}.fused_constant", arrays.constant), (f"{name}.fused_bias", arrays.bias)
        y = self.convolve(gates2, f"{name}/constant", *constant, groups=groups)
        parts = [self.reshape(y, f"{name}/part", [0, groups, outputs, rows, columns])]
        axis = self.weight(f"{name}/axis", np.array([3]), np.int64)
        for tap in range(block.kernel**2):
            own = f"{name}/tap{tap}"
            first = divmod(tap, block.kernel)
            window1 = self._window(gates1, f"{own}/window1", first, (rows, columns), block.stride, 2)
            survivors = self.operate("Mul", f"{own}/survivors", window1, gates2)
            sums = self.convolve(
                survivors, f"{own}/sums", (f"{name}.fused_weight{tap}", arrays.taps[tap]), groups=groups
            )
            sums = self.reshape(sums, f"{own}/grouped", [0, groups, outputs, inputs, rows, columns])
            window = self._window(image, f"{own}/window", first, (rows, columns), block.stride, 4)
            products = self.operate("Mul", f"{own}/products", sums, window)
            parts.append(self.operate("ReduceSum", f"{own}/part", products, axis, keepdims=0))
        total = self.operate("Sum", f"{name}/total", *parts)
        return self.reshape(total, self._finished(block), [0, block.out_channels, rows, columns])

    def _pad(self, x: str, result: str, pads: list[int], value: float = 0.0) -> str:
        if not any(pads):
            return x
        constants = self.weight(f"{result}/pads", np.array(pads), np.int64), self.weight(f"{result}/value", value)
        return self.operate("Pad", result, x, *constants)

    def _window(
        self, x: str, result: str, first: tuple[int, int], sizes: tuple[int, int], stride: int, axis: int
    ) -> str:
        """What one tap sees: every ``stride``-th pixel from ``first`` on, ``sizes`` of them, along two axes."""
        last = [start + (size - 1) * stride + 1 for start, size in zip(first, sizes, strict=True)]
        arrays = (("starts", list(first)), ("ends", last), ("axes", [axis, axis + 1]), ("steps", [stride, stride]))
        constants = [self.weight(f"{result}/{label}", np.array(values), np.int64) for label, values in arrays]
        return self.operate("Slice", result, x, *constants)
