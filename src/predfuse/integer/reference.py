"""The slow, obvious machine: loops that mirror the docstrings of :mod:`predfuse.integer.nodes`.

It makes fused weights from their factors itself, walks through every output pixel, and checks that every sum and
accumulator keeps to the width the program declares. The fast machine is proven equal to it; nothing else uses it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from predfuse.arrays import Array, Int8Array, Int16Array, Int64Array, Item
from predfuse.errors import PredfuseError
from predfuse.graph.nodes import INPUT, Padding, window_size
from predfuse.integer.arithmetic import activate, round_half_up, saturate
from predfuse.integer.program import (
    FusedBlock,
    IntegerAdd,
    IntegerConcat,
    IntegerConv,
    IntegerPool,
    IntegerShuffle,
    Program,
)
from predfuse.integer.record import ImageRecord
from predfuse.integer.widths import product_shift


def run_image(program: Program, image: Int16Array) -> ImageRecord:
    """Run one image ``[C, H, W]`` int16.

    Raises:
        PredfuseError: A sum or accumulator exceeds its declared width (a defect of the compiler).
    """
    record = ImageRecord({INPUT: image})
    for node in program.nodes:
        inputs = [record.values[source] for source in node.inputs]
        saturated = 0
        if isinstance(node, IntegerConv):
            out, saturated = _convolve(node, inputs[0])
        elif isinstance(node, FusedBlock):
            record.masks[node.name] = predict_masks(node, inputs[0])
            out, saturated = _fused(node, inputs[0], *record.masks[node.name])
        elif isinstance(node, IntegerPool):
            out, saturated = _pool(node, inputs[0], program.shapes()[node.name])
        elif isinstance(node, IntegerAdd):
            out, saturated = _add(node, inputs)
        elif isinstance(node, IntegerConcat):
            shifted = [round_half_up(x, int(shift)) for x, shift in zip(inputs, node.shift, strict=True)]
            out, saturated = saturate(np.concatenate(shifted), node.bits)
        else:
            assert isinstance(node, IntegerShuffle)
            out = shuffle(inputs[0], node.groups)
        record.values[node.name] = out
        record.saturations[node.name] = saturated
    return record


def _require_width(name: str, label: str, values: Int64Array, bits: int) -> None:
    if (values < -(1 << (bits - 1))).any() or (values >= 1 << (bits - 1)).any():
        raise PredfuseError(f"layer {name}: {label} exceeds the {bits} bits the program declares")


def _finish(node: IntegerConv | IntegerAdd, accumulator: Int64Array, shift: Int8Array | int) -> tuple[Int16Array, int]:
    """Shift, activation, saturation."""
    _require_width(node.name, "accumulator", accumulator, node.accumulator_bits)
    return saturate(activate(round_half_up(accumulator, shift), node.activation, node.ceiling), node.bits)


def _convolve(node: IntegerConv, x: Int16Array) -> tuple[Int16Array, int]:
    window = (node.stride, node.padding, node.dilation, node.groups)
    accumulator = convolve(x, node.weight, node.bias, *window)
    return _finish(node, accumulator, node.shift[:, None, None])


def _add(node: IntegerAdd, inputs: list[Int16Array]) -> tuple[Int16Array, int]:
    accumulator = np.zeros(inputs[0].shape, np.int64)
    for x, left in zip(inputs, node.align, strict=True):
        accumulator = accumulator + (x.astype(np.int64) << int(left))
    return _finish(node, accumulator, node.shift)


def _pool(node: IntegerPool, x: Int16Array, shape: tuple[int, int, int]) -> tuple[Int16Array, int]:
    _, rows, columns = shape
    kernel_rows, kernel_columns = (node.kernel, node.kernel) if node.kernel else x.shape[1:]
    accumulator = np.zeros(shape, np.int64)
    for i in range(rows):
        for j in range(columns):
            row, column = i * node.stride - node.padding[0], j * node.stride - node.padding[2]
            inside = x[:, max(row, 0) : row + kernel_rows, max(column, 0) : column + kernel_columns].astype(np.int64)
            reduced = inside.max(axis=(1, 2)) if node.kind == "max" else inside.sum(axis=(1, 2))
            accumulator[:, i, j] = reduced * node.multiplier[i, j]
    _require_width(node.name, "accumulator", accumulator, node.accumulator_bits)
    return saturate(round_half_up(accumulator, node.shift), node.bits)


def predict_masks(node: FusedBlock, x: Int16Array) -> tuple[Int8Array, Int8Array]:
    """Both masks of a block: the integer predictor on ``clamp(x >> predictor_shift)``."""
    predictor = node.predictor
    quantised = np.clip(x.astype(np.int64) >> node.predictor_shift, predictor.input_min, predictor.input_max)
    expand, depthwise = predictor.expand[:, :, None, None], predictor.depthwise[:, None]
    score1 = convolve(quantised, expand, predictor.expand_offset, groups=node.groups)
    hidden = np.clip(score1 >> predictor.shift.astype(np.int64)[:, None, None], 0, predictor.hidden_max)
    score2 = convolve(
        hidden, depthwise, predictor.depthwise_offset, node.stride, node.padding, groups=node.middle_channels
    )
    mask1 = score1 > 0 if node.expand_gated else np.ones(score1.shape, bool)
    mask2 = score2 > 0 if node.depthwise_gated else np.ones(score2.shape, bool)
    return mask1.astype(np.int8), mask2.astype(np.int8)


def _fused(node: FusedBlock, x: Int16Array, mask1: Int8Array, mask2: Int8Array) -> tuple[Int16Array, int]:
    wide = x.astype(np.int64)
    accumulator = np.empty((node.out_channels, *mask2.shape[1:]), np.int64)
    outputs, middles, channels = (
        size // node.groups for size in (node.out_channels, node.middle_channels, node.in_channels)
    )
    for group in range(node.groups):
        o = slice(group * outputs, (group + 1) * outputs)
        m = slice(group * middles, (group + 1) * middles)
        c = slice(group * channels, (group + 1) * channels)
        accumulator[o] = _fused_group(node, o, m, wide[c], mask1[m], mask2[m])
    _require_width(node.name, "accumulator", accumulator, node.accumulator_bits)
    y, saturated = saturate(round_half_up(accumulator, node.shift[:, None, None]), node.bits)
    y = shuffle(y, node.shuffle_groups)
    if node.residual:
        up, down = max(node.residual_shift, 0), max(-node.residual_shift, 0)
        y, more = saturate(round_half_up((y.astype(np.int64) << up) + (wide << down), up), node.bits)
        saturated += more
    return y, saturated


def _fused_group(node: FusedBlock, o: slice, m: slice, x: Int64Array, mask1: Int8Array, mask2: Int8Array) -> Int64Array:
    """Accumulators of one group: ``x [Cg, H, W]``, ``mask1 [Mg, H, W]``, ``mask2 [Mg, P, Q]`` -> ``[Og, P, Q]``."""
    project = node.project[o].astype(np.int64)[:, :, None]  # [Og, Mg, 1]
    depthwise = node.depthwise[m].astype(np.int64)
    inner = round_half_up(project * node.expand[m], product_shift(node.bits))  # [Og, Mg, Cg]
    inner_bias = round_half_up(project[:, :, 0] * node.expand_bias[m], product_shift(node.bits))  # [Og, Mg]
    outer_bias = round_half_up(project[:, :, 0] * node.depthwise_bias[m], node.depthwise_bias_shift[o, None])
    expand_exponent = node.expand_bias_exponent[o].astype(np.int64)
    depthwise_exponent = node.depthwise_bias_exponent[o].astype(np.int64)
    _, height, width = x.shape
    _, rows, columns = mask2.shape
    total = np.zeros((project.shape[0], rows, columns), np.int64)
    for kh in range(node.kernel):
        for kw in range(node.kernel):
            tap = depthwise[:, kh, kw]
            fused = round_half_up(inner * tap[:, None], node.weight_shift[o, None, None])  # F [Og, Mg, Cg]
            bias = round_half_up(inner_bias * tap, node.expand_bias_shift[o, None])  # B1 [Og, Mg]
            for label, entries in (("fused weight", fused), ("bias entry", bias), ("bias entry", outer_bias)):
                _require_width(node.name, label, entries, node.weight_bits)
            for i in range(rows):
                for j in range(columns):
                    row, column = i * node.stride + kh - node.padding[0], j * node.stride + kw - node.padding[2]
                    if not (0 <= row < height and 0 <= column < width):
                        continue
                    on = (mask2[:, i, j] & mask1[:, row, column]).astype(bool)
                    sums = fused[:, on].sum(axis=1)  # S [Og, Cg]
                    bias_sums = bias[:, on].sum(axis=1)
                    _require_width(node.name, "sum", sums, node.sum_bits)
                    _require_width(node.name, "sum", bias_sums, node.sum_bits)
                    total[:, i, j] += (sums * x[:, row, column]).sum(axis=1) + (bias_sums << expand_exponent)
    for i in range(rows):
        for j in range(columns):
            bias_sums = outer_bias[:, mask2[:, i, j].astype(bool)].sum(axis=1)
            _require_width(node.name, "sum", bias_sums, node.sum_bits)
            total[:, i, j] += node.output_bias[o] + (bias_sums << depthwise_exponent)
    return total


def widen(array: Array) -> Array:
    """float64 for floats, int64 for integers."""
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)


def convolve(
    x: Array,
    weight: Array,
    bias: Array,
    stride: int = 1,
    padding: Padding = (0, 0, 0, 0),
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """``x [C, H, W]``, ``weight [O, C/groups, kh, kw]``, ``bias [O]`` -> ``[O, P, Q]``; zeros outside the image."""
    x, weight, bias = widen(x), widen(weight), widen(bias)
    outputs, group_channels, kernel_rows, kernel_columns = weight.shape
    top, bottom, left, right = padding
    rows = window_size(x.shape[1], kernel_rows, stride, top, bottom, dilation)
    columns = window_size(x.shape[2], kernel_columns, stride, left, right, dilation)
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    out = np.zeros((outputs, rows, columns), np.result_type(x, weight))
    for o in range(outputs):
        first = o // (outputs // groups) * group_channels
        for i in range(rows):
            for j in range(columns):
                total = bias[o]
                for kh in range(kernel_rows):
                    for kw in range(kernel_columns):
                        pixel = padded[:, i * stride + kh * dilation, j * stride + kw * dilation]
                        total = total + (weight[o, :, kh, kw] * pixel[first : first + group_channels]).sum()
                out[o, i, j] = total
    return out


def shuffle(x: npt.NDArray[Item], groups: int) -> npt.NDArray[Item]:
    """Output channel ``i*groups + j`` is input channel ``j*C/groups + i``."""
    out = np.empty_like(x)
    size = x.shape[0] // groups
    for i in range(size):
        for j in range(groups):
            out[i * groups + j] = x[j * size + i]
    return out
