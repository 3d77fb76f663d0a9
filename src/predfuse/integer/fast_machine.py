"""The fast machine: numba loops over compiled lists, bit-identical to :mod:`predfuse.integer.reference`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from predfuse.arrays import Int8Array, Int16Array, Int32Array, Int64Array
from predfuse.fusion import layers
from predfuse.fusion.masks import predict_masks
from predfuse.fusion.weights import FusedWeights, SparseLists
from predfuse.graph.nodes import INPUT, Bottleneck, Shape
from predfuse.integer import machine_loops as kernels
from predfuse.integer.arithmetic import activate, round_half_up, saturate
from predfuse.integer.fused_weights import fused_lists
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
from predfuse.integer.widths import highest

_CODES = {"linear": kernels.LINEAR, "relu": kernels.RELU, "relu6": kernels.RELU6}
_STRIP_PIXELS = 64
"""Pixels a strip of the fused convolution aims at: one cache line of gates per middle channel."""


@dataclass(frozen=True, eq=False)
class PreparedBlock:
    """A fused block made ready to run.

    Attributes:
        lists: Its lists (int64 values).
        bottleneck: Its shape and predictor.
        arrays: The lists as the kernel takes them, int32 values.
    """

    lists: FusedWeights
    bottleneck: Bottleneck
    arrays: tuple[
        Int64Array, Int32Array, Int32Array, Int64Array, Int32Array, Int32Array, Int64Array, Int32Array, Int32Array
    ]


class FastMachine:
    """A program made ready to run: its lists are made once, images run one at a time.

    Attributes:
        program: The program.
        blocks: The prepared fused blocks by name.

    Source: docs/reference/program.md, The two machines.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._shapes = program.shapes()
        self.blocks = {node.name: _prepare(node) for node in program.fused_blocks()}
        self._readers = Counter(source for node in program.nodes for source in node.inputs)

    def run_image(self, image: Int16Array, keep: Collection[str] | None = None, keep_masks: bool = True) -> ImageRecord:
        """Run one image ``[C, H, W]`` int16.

        Args:
            image: In units of the program's input scale.
            keep: Nodes whose values stay in the record besides the output; None keeps all.
            keep_masks: Whether the masks of the fused blocks stay in the record.
        """
        record = ImageRecord({INPUT: image})
        pending = self._readers.copy()
        kept = self._shapes.keys() if keep is None else {*keep, self.program.output.name}
        for node in self.program.nodes:
            inputs = [record.values[source] for source in node.inputs]
            saturated = 0
            if isinstance(node, IntegerConv):
                out, saturated = self._convolve(node, inputs[0])
            elif isinstance(node, FusedBlock):
                masks = self._masks(node, inputs[0])
                if keep_masks:
                    record.masks[node.name] = masks
                out, saturated = self._fused(node, inputs[0], *masks)
            elif isinstance(node, IntegerPool):
                out, saturated = _pool(node, inputs[0])
            elif isinstance(node, IntegerAdd):
                out, saturated = _add(node, inputs)
            elif isinstance(node, IntegerConcat):
                shifted = [round_half_up(x, int(shift)) for x, shift in zip(inputs, node.shift, strict=True)]
                out, saturated = saturate(np.concatenate(shifted), node.bits)
            else:
                assert isinstance(node, IntegerShuffle)
                out = layers.shuffle(inputs[0], node.groups)
            record.values[node.name] = out
            record.saturations[node.name] = saturated
            pending.subtract(node.inputs)
            for source in node.inputs:
                if not pending[source] and source not in kept:
                    record.values.pop(source, None)  # nothing reads it any more
        return record

    def _convolve(self, node: IntegerConv, x: Int16Array) -> tuple[Int16Array, int]:
        shape = self._shapes[node.name]
        if node.kernel == (1, 1) and node.stride == 1 and not any(node.padding):
            x = x.reshape(x.shape[0], 1, -1)  # one long row
            out = np.empty((shape[0], 1, shape[1] * shape[2]), np.int64)
        else:
            out = np.empty(shape, np.int64)
        window = (node.stride, node.padding[0], node.padding[2], node.dilation, node.groups)
        kernels.convolve(x, node.weight, node.bias, *window, out)
        return _finish(out, shape, node, _CODES[node.activation], node.ceiling)

    def _masks(self, node: FusedBlock, x: Int16Array) -> tuple[Int8Array, Int8Array]:
        fraction_bits = node.predictor_shift - node.predictor.input_exponent
        return predict_masks(self.blocks[node.name].bottleneck, x, fraction_bits)

    def _fused(self, node: FusedBlock, x: Int16Array, mask1: Int8Array, mask2: Int8Array) -> tuple[Int16Array, int]:
        shape = self._shapes[node.name]
        out = np.empty((node.out_channels, *shape[1:]), np.int64)
        strip = max(1, min(shape[1], _STRIP_PIXELS // shape[2]))
        window = layers.Window((node.kernel, node.kernel), node.stride, node.padding)
        kernels.fused_convolution(
            *self.blocks[node.name].arrays,
            node.expand_bias_exponent,
            node.depthwise_bias_exponent,
            node.output_bias,
            window.pad(x),
            window.pad(-mask1),
            -mask2,
            node.groups,
            node.kernel,
            node.stride,
            strip,
            out,
        )
        y, saturated = _finish(out, shape, node, kernels.LINEAR, 0)
        y = layers.shuffle(y, node.shuffle_groups)
        if node.residual:
            up, down = max(node.residual_shift, 0), max(-node.residual_shift, 0)
            total = (y.astype(np.int64) << up) + (x.astype(np.int64) << down)
            y, more = saturate(round_half_up(total, up), node.bits)
            saturated += more
        return y, saturated


def _prepare(block: FusedBlock) -> PreparedBlock:
    lists = fused_lists(block)
    arrays = (*_narrow(lists.weights), *_narrow(lists.expand_bias), *_narrow(lists.depthwise_bias))
    return PreparedBlock(lists, block.as_bottleneck(), arrays)


def _narrow(lists: SparseLists) -> tuple[Int64Array, Int32Array, Int32Array]:
    return lists.indptr, lists.channel, lists.value.astype(np.int32)


def _finish(
    accumulator: Int64Array, shape: Shape, node: IntegerConv | FusedBlock, activation: int, ceiling: int
) -> tuple[Int16Array, int]:
    out = np.empty((shape[0], shape[1] * shape[2]), np.int16)
    saturated = kernels.finish(accumulator.reshape(out.shape), node.shift, activation, ceiling, highest(node.bits), out)
    return out.reshape(shape), int(saturated)


def _pool(node: IntegerPool, x: Int16Array) -> tuple[Int16Array, int]:
    wide = x.astype(np.int64)
    if node.kernel == 0:
        whole = wide.max(axis=(1, 2)) if node.kind == "max" else wide.sum(axis=(1, 2))
        reduced = whole[:, None, None]
    else:
        outside = 0 if node.kind == "average" else np.iinfo(np.int64).min
        reduced = layers.pool_windows(wide, node.kind, node.kernel, node.stride, node.padding, outside)
    return saturate(round_half_up(reduced * node.multiplier, node.shift), node.bits)


def _add(node: IntegerAdd, inputs: list[Int16Array]) -> tuple[Int16Array, int]:
    aligned = [np.left_shift(x.astype(np.int64), int(left)) for x, left in zip(inputs, node.align, strict=True)]
    total: Int64Array = np.sum(aligned, axis=0)
    return saturate(activate(round_half_up(total, node.shift), node.activation, node.ceiling), node.bits)
