"""A program's plain layers as QONNX, and its predictors: exact operators with ``Quant`` nodes, equal bit for bit.

A value is the number its integer stands for, ``integer * 2**-fraction_bits``. Scales are powers of two and accumulators
have at most 48 bits, so that float64, in which everything is computed, holds every value exactly. The rounding shift,
half up, is half a step in the bias and ``Quant`` with ``FLOOR``; its limits, those of a word, are the program's
saturation.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from predfuse import __version__
from predfuse.arrays import FloatArray, ImageArray
from predfuse.errors import InputError, PredfuseError
from predfuse.exporters.graph import IR_VERSION, OPSET, require_onnx
from predfuse.exporters.operators import Operators
from predfuse.files import write_bytes_atomically
from predfuse.fusion.masks import exact_type
from predfuse.graph.nodes import INPUT, Shape
from predfuse.integer.nodes import (
    FusedBlock,
    IntegerAdd,
    IntegerConcat,
    IntegerConv,
    IntegerPool,
    IntegerShuffle,
    ProgramNode,
)
from predfuse.integer.program import Program
from predfuse.integer.run import run_program, to_integers

if TYPE_CHECKING:
    import onnx

DOMAIN = "qonnx.custom_op.general"
_EXACT_BITS = 53


def to_qonnx(program: Program) -> onnx.ModelProto:
    """The program as a QONNX model for one image.

    The input is ``input`` ``[1, C, H, W]`` float32, the image's integers times ``2**-input_fraction_bits``; the
    output is called after the last layer.

    Raises:
        InputError: ``onnx`` is missing, an accumulator is wider than 53 bits, or a block is fused: its gated sums of
            fused weights are no operators of QONNX, and unfused they would be other integers.

    Source: docs/how-to/export.md, QONNX.
    """
    require_onnx()
    from onnx import TensorProto, helper

    for node in program.nodes:
        if isinstance(node, FusedBlock):
            mend = "compile the network without predictors, as its pruned checkpoint is, or use --form memory"
            raise InputError(f"block {node.name}", "is fused, which QONNX has no operators for", mend)
        if getattr(node, "accumulator_bits", 0) > _EXACT_BITS:
            what = (
                f"has an accumulator of {getattr(node, 'accumulator_bits', 0)} bits, float64 is exact to {_EXACT_BITS}"
            )
            raise InputError(f"layer {node.name}", what, "compile with --accumulator-bits 48")
    builder = _Builder(program)
    for node in program.nodes:
        builder.add(node)
    last = builder.shapes[program.output.name]
    result = builder.finish()
    graph = helper.make_graph(
        builder.operators,
        program.name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, *program.input_shape])],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, [1, *last])],
        builder.weights,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    model: onnx.ModelProto = helper.make_model(
        graph, producer_name="predfuse", producer_version=__version__, opset_imports=opsets, ir_version=IR_VERSION
    )
    return model


def predictor_to_qonnx(program: Program, name: str) -> onnx.ModelProto:
    """The predictor of a fused block as a QONNX model for one image: what says which gates are on.

    The input is ``input`` ``[1, C, H, W]`` float32, the block's input in real values, integers times
    ``2**-fraction_bits``; the outputs are ``mask1`` ``[1, M, H, W]`` and ``mask2`` ``[1, M, P, Q]``, 0 and 1, of those
    stages that are gated. Weights are 0, powers of two and their negatives, ``Quant`` with ``FLOOR`` is shift and
    clamp, and float32 holds every sum exactly.

    Args:
        program: The program.
        name: A fused block of it.

    Raises:
        InputError: ``onnx`` is missing, no fused block has this name, or its predictor has clamps that are no range of
            bits or sums that float32 does not hold.

    Source:
        docs/explanation/arithmetic.md (predictor).
    """
    require_onnx()
    from onnx import TensorProto, helper, numpy_helper

    block = next((node for node in program.fused_blocks() if node.name == name), None)
    if block is None:
        raise InputError(f"program {program.name}", f"has no fused block {name!r}", "name one that it has")
    predictor, middle = block.predictor, len(block.predictor.shift)
    bits, hidden_bits = int(predictor.input_max + 1).bit_length(), int(predictor.hidden_max).bit_length()
    ranges = (predictor.input_min, predictor.input_max, predictor.hidden_max)
    if ranges != (-(1 << bits - 1), (1 << bits - 1) - 1, (1 << hidden_bits) - 1) or exact_type(predictor) != np.float32:
        what = f"has a predictor with clamps {ranges}, or with sums of more than 24 bits"
        raise InputError(f"block {name}", what, "train one of whole bits")
    step = 2.0**predictor.input_exponent
    hidden = np.ldexp(step, predictor.shift.astype(int)).reshape(1, -1, 1, 1)
    shapes = program.shapes()
    (channels, *size), (_, *out) = shapes[block.inputs[0]], shapes[name]
    constants = {
        "step": step,
        "zero": 0.0,
        "bits": float(bits),
        "hidden_step": hidden,
        "hidden_bits": float(hidden_bits),
        "expand": predictor.expand[:, :, None, None],
        "expand_offset": predictor.expand_offset * step,
        "depthwise": predictor.depthwise[:, None] / hidden.reshape(-1, 1, 1, 1),
        "depthwise_offset": predictor.depthwise_offset,
    }
    top, bottom, left, right = block.padding
    window: dict[str, Any] = {"strides": [block.stride] * 2, "pads": [top, left, bottom, right], "group": middle}
    quant: dict[str, Any] = {"domain": DOMAIN, "narrow": 0, "rounding_mode": "FLOOR"}
    node = helper.make_node
    nodes = [
        node("Quant", [INPUT, "step", "zero", "bits"], ["seen"], signed=1, **quant),
        node("Conv", ["seen", "expand", "expand_offset"], ["score1"], group=block.groups),
        node("Quant", ["score1", "hidden_step", "zero", "hidden_bits"], ["hidden"], signed=0, **quant),
        node("Conv", ["hidden", "depthwise", "depthwise_offset"], ["score2"], **window),
    ]
    outputs = []
    stages = ((block.expand_gated, size), (block.depthwise_gated, out))
    for number, (gated, extent) in enumerate(stages, 1):
        if gated:
            nodes.append(node("Greater", [f"score{number}", "zero"], [f"on{number}"]))
            nodes.append(node("Cast", [f"on{number}"], [f"mask{number}"], to=TensorProto.FLOAT))
            shape = [1, middle, *extent]
            outputs.append(helper.make_tensor_value_info(f"mask{number}", TensorProto.FLOAT, shape))
    given = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, channels, *size])]
    weights = [numpy_helper.from_array(np.asarray(value, np.float32), label) for label, value in constants.items()]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    inner = {"seen": (channels, size), "hidden": (middle, size), "score1": (middle, size), "score2": (middle, out)}
    known = [helper.make_tensor_value_info(at, TensorProto.FLOAT, [1, c, *s]) for at, (c, s) in inner.items()]
    gates = {"on1": size, "on2": out}
    known += [helper.make_tensor_value_info(at, TensorProto.BOOL, [1, middle, *s]) for at, s in gates.items()]
    graph = helper.make_graph(nodes, f"{program.name}-{name}-predictor", given, outputs, weights, value_info=known)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return model


def export_qonnx(program: Program, path: Path, images: ImageArray) -> int:
    """Write a program as QONNX, kept only if its output on every image is that of the integer machine, bit for bit.

    Args:
        program: The program.
        path: The file.
        images: ``[N, C, H, W]``, uint8 pixels or normalised floats.

    Returns:
        How many images it was checked on.

    Raises:
        InputError: See :func:`to_qonnx`.
        PredfuseError: It gives other values (a defect of the exporter).
    """
    model = to_qonnx(program)
    content = model.SerializeToString(deterministic=True)
    wanted = run_program(program, images).scores
    for image, expected in zip(to_integers(program, images)[0], wanted, strict=True):
        got = run_qonnx(model, np.ldexp(image[None].astype(np.float64), -program.input_fraction_bits))
        if not np.array_equal(got.ravel(), np.ldexp(expected.astype(np.float64), -program.output.fraction_bits)):
            raise PredfuseError(f"program {program.name}: its QONNX form gives other values")
    write_bytes_atomically(path, content)
    return len(images)


def run_qonnx(model: onnx.ModelProto, image: FloatArray) -> FloatArray:
    """Output of a QONNX model for one image ``[1, C, H, W]``, by ONNX's reference evaluator and ``Quant`` as specified.

    Raises:
        InputError: ``onnx`` is not installed.
    """
    require_onnx()
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class Quant(OpRun):
        """Clip to the range of the bits, round down, scale back (zero point 0)."""

        op_domain = DOMAIN

        def _run(self, x, scale, zero, bits, **attributes):  # type: ignore[no-untyped-def]
            assert attributes["rounding_mode"] in ("FLOOR", b"FLOOR")
            limit = 2.0 ** (float(bits) - 1)
            return ((np.floor(np.clip(x / scale + zero, -limit, limit - 1)) - zero) * scale,)

    (output,) = ReferenceEvaluator(model, new_ops=[Quant]).run(None, {INPUT: image.astype(np.float32)})
    return np.asarray(output)


class _Builder(Operators):
    """The operators of a program, node by node, in real values of float64."""

    def __init__(self, program: Program) -> None:
        self.shapes: dict[str, Shape] = program.shapes()
        super().__init__(set(self.shapes), "float64")
        self._scales = program.fraction_bits
        self._output = program.output.name
        self._values = {INPUT: self.cast(INPUT, f"{INPUT}/float64", np.float64)}

    def add(self, node: ProgramNode) -> None:
        """Add the operators of one node."""
        inputs = [self._values[source] for source in node.inputs]
        shape = self.shapes[node.inputs[0]]
        self._current = node.name
        if isinstance(node, IntegerConv):
            y = self._conv(node, inputs[0], shape)
        elif isinstance(node, IntegerPool):
            y = self._pool(node, inputs[0])
        elif isinstance(node, IntegerAdd):
            half = self.weight(f"{node.name}.half", self._step(node) / 2)
            y = self._activated(node, self._quant(node, self.operate("Sum", f"{node.name}/sum", *inputs, half)))
        elif isinstance(node, IntegerConcat):
            joined = self.operate("Concat", f"{node.name}/joined", *inputs, axis=1)
            half = self.weight(f"{node.name}.half", self._step(node) / 2)
            y = self._quant(node, self.operate("Add", f"{node.name}/half", joined, half))
        else:
            assert isinstance(node, IntegerShuffle)
            y = self.shuffle(inputs[0], node.groups, self.shapes[node.name], f"{node.name}/shuffled")
        self._values[node.name] = y

    def finish(self) -> str:
        """Give the last value as float32, which holds a word exactly; its name."""
        self._current = self._output
        return self.cast(self._values[self._output], self._output, np.float32)

    def _step(self, node: ProgramNode) -> float:
        return float(np.ldexp(1.0, -self._scales[node.name]))

    def _quant(self, node: ProgramNode, x: str) -> str:
        """Round down to the node's step, limit to a word."""
        name = node.name
        constants = (("scale", self._step(node)), ("zero", 0.0), ("bits", float(node.bits)))
        inputs = [self.weight(f"{name}.{label}", value) for label, value in constants]
        return self.operate(
            "Quant", f"{name}/quant", x, *inputs, domain=DOMAIN, signed=1, narrow=0, rounding_mode="FLOOR"
        )

    def _activated(self, node: IntegerConv | IntegerAdd, x: str) -> str:
        if node.activation == "linear":
            return x
        if node.activation == "relu":
            return self.operate("Relu", f"{node.name}/relu", x)
        high = node.ceiling * self._step(node)
        bounds = self.weight(f"{node.name}.low", 0.0), self.weight(f"{node.name}.high", high)
        return self.operate("Clip", f"{node.name}/relu6", x, *bounds)

    def _conv(self, node: IntegerConv, x: str, shape: Shape) -> str:
        name, step = node.name, self._step(node)
        unit = np.ldexp(step, -node.shift.astype(int))  # what 1 in the accumulator of each channel stands for
        weight = node.weight * np.ldexp(unit, self._scales[node.inputs[0]])[:, None, None, None]
        biased = (f"{name}.weight", weight), (f"{name}.bias", node.bias * unit + step / 2)
        y = self.convolve(x, shape[1:], f"{name}/sum", *biased, node.stride, node.padding, node.dilation, node.groups)
        return self._activated(node, self._quant(node, y))

    def _pool(self, node: IntegerPool, x: str) -> str:
        name, step = node.name, self._step(node)
        if not node.kernel:
            if node.kind == "max":
                reduced = self.operate("ReduceMax", f"{name}/reduced", x, axes=[2, 3])
            else:
                axes = self.weight(f"{name}/axes", np.array([2, 3]), np.int64)
                reduced = self.operate("ReduceSum", f"{name}/reduced", x, axes)
        else:
            top, bottom, left, right = node.padding
            outside = -np.inf if node.kind == "max" else 0.0
            padded = self.pad(x, f"{name}/padded", [0, 0, top, left, 0, 0, bottom, right], outside)
            sizes = self.shapes[name][1:]
            taps = [
                self.window(padded, f"{name}/tap{row}.{column}", (row, column), (sizes[0], sizes[1]), node.stride, 2)
                for row in range(node.kernel)
                for column in range(node.kernel)
            ]
            reduced = self.operate("Max" if node.kind == "max" else "Sum", f"{name}/reduced", *taps)
        scale = self._scales[node.inputs[0]] - node.fraction_bits  # the multiplier holds the change of scale too
        inverse = np.ldexp(node.multiplier.astype(np.float64), scale - np.asarray(node.shift, int))
        share = self.weight(f"{name}.multiplier", inverse)
        product = self.operate("Mul", f"{name}/product", reduced, share)
        half = self.weight(f"{name}.half", step / 2)
        return self._quant(node, self.operate("Add", f"{name}/sum", product, half))
