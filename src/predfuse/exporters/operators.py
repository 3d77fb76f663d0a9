"""Operators of the standard ONNX set, added one by one to a graph in float32 or float64.

Runtimes convolve and average float32 only (onnxruntime's ``Conv`` and ``AveragePool`` take nothing else on a CPU), so
that in float64 a convolution is written as what it is: for every tap of its window a matrix product with the pixels
the tap sees, all of them summed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from predfuse.arrays import Array, FloatArray, Int64Array
from predfuse.exporters.arrays import PRECISIONS, Precision
from predfuse.graph.nodes import Activation, Padding, Pool, Shape, window_size

if TYPE_CHECKING:
    import onnx

Size = tuple[int, int]
"""Rows and columns of a feature map."""


class Operators:
    """Collects the operators and weights of a graph; every method returns the name of its result.

    Attributes:
        operators: The operators in order.
        weights: The constants.
        precision: What values and weights are computed in.
    """

    def __init__(self, taken: set[str], precision: Precision) -> None:
        self.operators: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.precision = precision
        self._taken = taken
        self._current = ""

    @property
    def wide(self) -> bool:
        """Whether values are computed in float64."""
        return self.precision == "float64"

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

    def weight(self, name: str, array: Array | float, dtype: type[np.generic] | None = None) -> str:
        """Add a constant, in the graph's precision if no type is given."""
        from onnx import numpy_helper

        name = self._name(name)
        typed = np.array(array, dtype or PRECISIONS[self.precision], order="C")
        self.weights.append(numpy_helper.from_array(typed, name))
        return name

    def cast(self, x: str, result: str, dtype: type[np.generic]) -> str:
        """Change the type of a value."""
        from onnx import helper

        return self.operate("Cast", result, x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshape(self, x: str, result: str, sizes: list[int]) -> str:
        """Reshape; 0 keeps a size."""
        return self.operate("Reshape", result, x, self.weight(f"{result}/shape", np.array(sizes), np.int64))

    def shuffle(self, x: str, groups: int, shape: Shape, result: str) -> str:
        """Channel shuffle of a feature map."""
        channels, height, width = shape
        split = self.reshape(x, f"{result}/groups", [0, groups, channels // groups, height * width])
        swapped = self.operate("Transpose", f"{result}/swapped", split, perm=[0, 2, 1, 3])
        return self.reshape(swapped, result, [0, channels, height, width])

    def activation(self, x: str, activation: Activation, result: str) -> str:
        """An activation function; nothing for ``linear``."""
        if activation == "linear":
            return x
        if activation == "relu":
            return self.operate("Relu", result, x)
        bounds = self.weight(f"{result}/low", 0.0), self.weight(f"{result}/high", 6.0)
        return self.operate("Clip", result, x, *bounds)

    def pad(self, x: str, result: str, pads: list[int], value: float = 0.0) -> str:
        """A constant border; nothing where there is none."""
        if not any(pads):
            return x
        constants = self.weight(f"{result}/pads", np.array(pads), np.int64), self.weight(f"{result}/value", value)
        return self.operate("Pad", result, x, *constants)

    def window(self, x: str, result: str, first: Size, sizes: Size, stride: int, axis: int) -> str:
        """What one tap sees: every ``stride``-th pixel from ``first`` on, ``sizes`` of them, along two axes."""
        last = [start + (size - 1) * stride + 1 for start, size in zip(first, sizes, strict=True)]
        arrays = (("starts", list(first)), ("ends", last), ("axes", [axis, axis + 1]), ("steps", [stride, stride]))
        constants = [self.weight(f"{result}/{label}", np.array(values), np.int64) for label, values in arrays]
        return self.operate("Slice", result, x, *constants)

    def convolve(
        self,
        x: str,
        size: Size,
        result: str,
        weight: tuple[str, FloatArray],
        bias: tuple[str, FloatArray] | None = None,
        stride: int = 1,
        padding: Padding = (0, 0, 0, 0),
        dilation: int = 1,
        groups: int = 1,
        exact: bool = False,
    ) -> str:
        """A convolution; weights as pairs of name and array.

        Args:
            x: A feature map.
            size: Its rows and columns.
            result: Name of the result.
            weight: ``[O, C/groups, kh, kw]``.
            bias: ``[O]``.
            stride: Pixels.
            padding: ``(top, bottom, left, right)`` pixels.
            dilation: Pixels between taps.
            groups: Groups.
            exact: ``x`` is float32 and float32 is exact, whatever the graph's precision.
        """
        if self.wide and not exact:
            return self._convolve_by_taps(x, size, result, weight, bias, stride, padding, dilation, groups)
        top, bottom, left, right = padding
        arrays = (weight,) if bias is None else (weight, bias)
        return self.operate(
            "Conv",
            result,
            x,
            *(self.weight(name, array, np.float32) for name, array in arrays),
            kernel_shape=list(weight[1].shape[2:]),
            strides=[stride, stride],
            pads=[top, left, bottom, right],
            dilations=[dilation, dilation],
            group=groups,
        )

    def _convolve_by_taps(
        self,
        x: str,
        size: Size,
        result: str,
        weight: tuple[str, FloatArray],
        bias: tuple[str, FloatArray] | None,
        stride: int,
        padding: Padding,
        dilation: int,
        groups: int,
    ) -> str:
        """A convolution as a sum over the taps of its window.

        A tap of a depthwise convolution scales the pixels it sees; any other one multiplies them by the matrices
        ``[groups, O/groups, C/groups]``.
        """
        outputs, inputs, rows, columns = weight[1].shape
        depthwise = inputs == 1 and outputs == groups
        sizes = _window_sizes(size, (rows, columns), stride, padding, dilation)
        padded = self._padded(x, f"{result}/padded", padding)
        terms = []
        for tap in range(rows * columns):
            row, column = divmod(tap, columns)
            own = f"{result}/tap{tap}"
            seen = padded
            if (rows, columns, stride) != (1, 1, 1):
                first = (row * dilation, column * dilation)
                seen = self.window(padded, f"{own}/window", first, sizes, stride, 2)
            taps = weight[1][:, :, row, column]
            if depthwise:
                factor = self.weight(f"{weight[0]}{tap}", taps.reshape(1, outputs, 1, 1))
                terms.append(self.operate("Mul", f"{own}/product", factor, seen))
                continue
            grouped = self.reshape(seen, f"{own}/grouped", [0, groups, inputs, sizes[0] * sizes[1]])
            matrices = self.weight(f"{weight[0]}{tap}", taps.reshape(groups, outputs // groups, inputs))
            terms.append(self.operate("MatMul", f"{own}/product", matrices, grouped))
        if bias is not None:
            shape = (1, outputs, 1, 1) if depthwise else (1, groups, outputs // groups, 1)
            terms.append(self.weight(bias[0], bias[1].reshape(shape)))
        if depthwise:
            return self.operate("Sum", result, *terms)
        total = self.operate("Sum", f"{result}/total", *terms)
        return self.reshape(total, result, [0, outputs, *sizes])

    def _padded(self, x: str, result: str, padding: Padding) -> str:
        top, bottom, left, right = padding
        return self.pad(x, result, [0, 0, top, left, 0, 0, bottom, right])

    def pool(self, x: str, size: Size, node: Pool) -> str:
        """Pooling of a feature map of ``size``."""
        kind = "AveragePool" if node.kind == "average" else "MaxPool"
        if node.kernel == 0 and self.wide:
            return self.operate("ReduceMean" if node.kind == "average" else "ReduceMax", node.name, x, axes=[2, 3])
        if node.kernel == 0:
            return self.operate(f"Global{kind}", node.name, x)
        if node.kind == "average" and self.wide:
            return self._average_by_taps(x, size, node)
        top, bottom, left, right = node.padding
        attributes: dict[str, Any] = {"count_include_pad": int(node.count_padding)} if node.kind == "average" else {}
        return self.operate(
            kind,
            node.name,
            x,
            kernel_shape=[node.kernel] * 2,
            strides=[node.stride] * 2,
            pads=[top, left, bottom, right],
            **attributes,
        )

    def _average_by_taps(self, x: str, size: Size, node: Pool) -> str:
        """Average pooling as a sum over the taps, times one over the number of pixels that count."""
        name, kernel = node.name, node.kernel
        sizes = _window_sizes(size, (kernel, kernel), node.stride, node.padding)
        padded = self._padded(x, f"{name}/padded", node.padding)
        taps = (divmod(tap, kernel) for tap in range(kernel**2))
        terms = [
            self.window(padded, f"{name}/tap{row}.{column}", (row, column), sizes, node.stride, 2)
            for row, column in taps
        ]
        total = self.operate("Sum", f"{name}/total", *terms)
        return self.operate("Mul", name, total, self.weight(f"{name}/share", 1 / _counted_pixels(size, sizes, node)))


def _window_sizes(size: Size, kernel: Size, stride: int, padding: Padding, dilation: int = 1) -> Size:
    top, bottom, left, right = padding
    rows = window_size(size[0], kernel[0], stride, top, bottom, dilation)
    return rows, window_size(size[1], kernel[1], stride, left, right, dilation)


def _counted_pixels(size: Size, sizes: Size, node: Pool) -> Int64Array:
    """By how many pixels every window's sum is divided, ``[P, Q]``."""
    if node.count_padding:
        return np.full(sizes, node.kernel**2)
    counts = []
    for axis, before in ((0, node.padding[0]), (1, node.padding[2])):
        first = np.arange(sizes[axis]) * node.stride - before
        counts.append(np.minimum(first + node.kernel, size[axis]) - np.maximum(first, 0))
    return np.outer(*counts)
