"""The lists of a fused block in integers: products of its factors, rounded to fused weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from predfuse.arrays import Int16Array, Int32Array, Int64Array, IntegerArray
from predfuse.errors import InputError
from predfuse.fusion.weights import FusedWeights, SparseLists
from predfuse.integer.arithmetic import round_half_up
from predfuse.integer.nodes import FusedBlock
from predfuse.integer.widths import accumulator_bits, highest, product_shift

MAX_ENTRIES = 40_000_000
"""Largest number of fused weights of one block that lists are made for (12 bytes each)."""


@dataclass(frozen=True, eq=False)
class Factors:
    """The integer factors of a block's fused weights (see :class:`predfuse.integer.program.FusedBlock`).

    Attributes:
        project: ``[O, M/groups]``.
        expand: ``[M, C/groups]``.
        expand_bias: ``[M]``.
        depthwise: ``[M, k, k]``.
        depthwise_bias: ``[M]``.
        groups: Groups of all channels.
        bits: Of a factor that is no bias.
    """

    project: Int16Array
    expand: Int16Array
    expand_bias: Int32Array
    depthwise: Int16Array
    depthwise_bias: Int32Array
    groups: int
    bits: int


@dataclass(frozen=True, eq=False)
class Products:
    """Unrounded fused weights, up to ``2**30``, and bias entries, up to ``2**39``, of a block (int64).

    Attributes:
        weights: Row ``(o * Cg + c) * K + k``.
        expand_bias: Row ``o * K + k``.
        depthwise_bias: Row ``o``.
    """

    weights: SparseLists
    expand_bias: SparseLists
    depthwise_bias: SparseLists


def factor_products(name: str, factors: Factors) -> Products:
    """Multiply the factors out: ``R(project * expand, bits - 1) * depthwise`` and its like for the biases.

    Raises:
        InputError: More than ``MAX_ENTRIES`` products.
    """
    taps, shift = factors.depthwise.shape[1] ** 2, product_shift(factors.bits)
    depthwise = factors.depthwise.reshape(len(factors.depthwise), taps)
    unit = np.full((len(depthwise), 1), 1, np.int16)
    return Products(
        _lists(name, factors, factors.expand, depthwise, shift),
        _lists(name, factors, factors.expand_bias[:, None], depthwise, shift),
        _lists(name, factors, factors.depthwise_bias[:, None], unit, 0),
    )


def _lists(name: str, factors: Factors, expand: IntegerArray, depthwise: Int16Array, shift: int) -> SparseLists:
    arguments = (factors.project, np.ascontiguousarray(expand), np.ascontiguousarray(depthwise), factors.groups, shift)
    counts = np.zeros(factors.project.shape[0] * expand.shape[1] * depthwise.shape[1], np.int64)
    _enter_products(*arguments, counts, np.empty(0, np.int32), np.empty(0, np.int64))
    entries = int(counts.sum())
    if entries > MAX_ENTRIES:
        what = f"has {entries:,} fused weights, more than {MAX_ENTRIES:,}"
        raise InputError(f"layer {name}", what, "prune it")
    indptr = np.concatenate(([0], np.cumsum(counts)))
    channel, value = np.empty(entries, np.int32), np.empty(entries, np.int64)
    _enter_products(*arguments, indptr[:-1].copy(), channel, value)
    return SparseLists(indptr, channel, value)


@njit(cache=True, nogil=True)
def _enter_products(
    project: Int16Array,
    expand: IntegerArray,
    depthwise: Int16Array,
    groups: int,
    shift: int,
    position: Int64Array,
    channel: Int32Array,
    value: Int64Array,
) -> None:
    """Enter every product that is not zero at the position of its list, which moves on; only count where no room is."""
    outputs, group_middle = project.shape
    columns, taps = expand.shape[1], depthwise.shape[1]
    half, counts_only = (1 << shift) >> 1, len(channel) == 0
    for output in range(outputs):
        first = output // (outputs // groups) * group_middle
        for column in range(columns):
            row = (output * columns + column) * taps
            for local in range(group_middle):
                rounded = (np.int64(project[output, local]) * expand[first + local, column] + half) >> shift
                if rounded != 0:
                    for tap in range(taps):
                        factor = depthwise[first + local, tap]
                        if factor != 0:
                            entry = position[row + tap]
                            if not counts_only:
                                channel[entry] = first + local
                                value[entry] = rounded * factor
                            position[row + tap] = entry + 1


def round_lists(lists: SparseLists, shift: IntegerArray) -> SparseLists:
    """Lists whose values are rounded by the shift ``[O]`` of their output channel; zeros are dropped."""
    rows = lists.row_of_entries()
    value = round_half_up(lists.value, shift[rows // (lists.rows // len(shift))])
    kept = value != 0
    indptr = np.concatenate(([0], np.cumsum(kept)))[lists.indptr]
    return SparseLists(indptr, lists.channel[kept], value[kept])


def sum_ranges(lists: SparseLists) -> tuple[Int64Array, Int64Array]:
    """Largest sum any masks can let through, and the negative of the smallest, per list (int64)."""
    totals = []
    for part in (np.maximum(lists.value, 0), np.maximum(-lists.value.astype(np.int64), 0)):
        running = np.concatenate(([0], np.cumsum(part, dtype=np.int64)))
        totals.append(running[lists.indptr[1:]] - running[lists.indptr[:-1]])
    return totals[0], totals[1]


@dataclass(frozen=True)
class Widths:
    """Bits, with sign, that the worst case of a block's lists needs.

    Attributes:
        weight_bits: Of one fused weight or bias entry.
        sum_bits: Of one list's sum.
        accumulator_bits: Of the accumulated products, including the rounding.
    """

    weight_bits: int
    sum_bits: int
    accumulator_bits: int


def fused_lists(block: FusedBlock) -> FusedWeights:
    """The lists of a compiled block: int64 values, as broadcast (biases not yet shifted by their exponents).

    The ReLU6 lists are empty: a predicted gate is on or off.

    Raises:
        InputError: Too many entries, or the lists do not fit the widths the block declares.
    """
    factors = Factors(
        block.project, block.expand, block.expand_bias, block.depthwise, block.depthwise_bias, block.groups, block.bits
    )
    products = factor_products(block.name, factors)
    fused = round_products(block, products)
    needed = list_widths(fused, block)
    for label in ("weight_bits", "sum_bits", "accumulator_bits"):
        if getattr(needed, label) > getattr(block, label):
            what = f"{label} is {getattr(block, label)}, needs {getattr(needed, label)}"
            raise InputError(f"layer {block.name}", what, "compile the network again")
    return fused


def round_products(block: FusedBlock, products: Products) -> FusedWeights:
    """The lists of a block from its products, rounded by the block's shifts."""
    weights = round_lists(products.weights, block.weight_shift)
    expand_bias = round_lists(products.expand_bias, block.expand_bias_shift)
    nothing, value = np.empty(0, np.int32), np.empty(0, np.int64)
    return FusedWeights(
        name=block.name,
        out_channels=block.out_channels,
        middle_channels=block.middle_channels,
        groups=block.groups,
        group_channels=block.group_channels,
        kernel=block.kernel,
        stride=block.stride,
        padding=block.padding,
        weights=weights,
        expand_bias=expand_bias,
        expand_saturated=SparseLists(np.zeros_like(expand_bias.indptr), nothing, value),
        depthwise_bias=round_lists(products.depthwise_bias, block.depthwise_bias_shift),
        depthwise_saturated=SparseLists(np.zeros(block.out_channels + 1, np.int64), nothing, value),
        output_bias=block.output_bias,
    )


def list_widths(fused: FusedWeights, block: FusedBlock) -> Widths:
    """Widths the lists of a block need."""
    lists = (fused.weights, fused.expand_bias, fused.depthwise_bias)
    largest = max(int(np.abs(part.value).max(initial=0)) for part in lists)
    ranges = [sum_ranges(part) for part in lists]
    reach = max(int(values.max(initial=0)) for pair in ranges for values in pair)
    outputs = block.out_channels
    # An input of either sign makes both ends of a weight list's sum reach both ends of the accumulator.
    weights = np.maximum(*ranges[0]).reshape(outputs, -1).sum(axis=1) * (highest(block.bits) + 1)
    ends = []
    for end in (0, 1):
        expand = ranges[1][end].reshape(outputs, -1).sum(axis=1) << block.expand_bias_exponent.astype(np.int64)
        depthwise = ranges[2][end] << block.depthwise_bias_exponent.astype(np.int64)
        bias = [max(int(b), 0) if end == 0 else max(-int(b), 0) for b in block.output_bias]
        ends.append(max(int(a) + b for a, b in zip(weights + expand + depthwise, bias, strict=True)))
    return Widths(
        largest.bit_length() + 1, reach.bit_length() + 1, accumulator_bits(ends[0], ends[1], int(block.shift.max()))
    )
