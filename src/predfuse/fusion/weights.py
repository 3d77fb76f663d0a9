"""Fused weights: what a bottleneck's three weight arrays become when it is executed as one convolution.

``F[o,m,c,k] = project[o,m] * depthwise[m,k] * expand[m,c]`` for the channels of one group, stored as lists: row
``(o, c, k)`` holds the middle channels ``m`` with a non-zero product. The shifts of the two batch norms, and the
constant a saturated ReLU6 gives, need lists of their own ("arithmetic: block").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from predfuse.arrays import Array, Int32Array, Int64Array, Item, Mask
from predfuse.errors import InputError
from predfuse.fusion.masks import RELU6_CEILING
from predfuse.graph.nodes import Bottleneck, Padding

PRUNED_SHARE = 0.2 * 0.3 * 0.2
"""Of all fused weights, where 20 % of expand, 30 % of depthwise and 20 % of project weights are kept."""
MAX_ENTRIES = 40_000_000
"""Largest number of fused weights :func:`fuse` stores (12 bytes each)."""


@dataclass(frozen=True, eq=False)
class SparseLists:
    """Lists of (middle channel, value), one list per row, only non-zeros.

    Attributes:
        indptr: ``[rows + 1]`` int64; row ``r`` is ``indptr[r]:indptr[r + 1]``.
        channel: ``[entries]`` int32 middle channels of the whole block, ascending within a row.
        value: ``[entries]`` float or int64.

    Source: docs/explanation/arithmetic.md, Fusion.
    """

    indptr: Int64Array
    channel: Int32Array
    value: Array

    def __len__(self) -> int:
        return int(self.channel.size)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.indptr.size) - 1

    def row_of_entries(self) -> Int64Array:
        """Row of every entry, int64."""
        return np.repeat(np.arange(self.rows), np.diff(self.indptr))


@dataclass(frozen=True, eq=False)
class FusedWeights:
    """One bottleneck as one convolution: lists to be gated by the masks, summed, and multiplied once per row.

    Taps ``k = kh * kernel + kw`` count through the window row by row; ``K`` is ``kernel**2``, ``Cg`` the input
    channels per group.

    Attributes:
        name: Name of the block.
        out_channels: ``O``.
        middle_channels: ``M``.
        groups: Groups of input, middle and output channels alike.
        group_channels: ``Cg``.
        kernel: Side of the window (pixels).
        stride: Pixels.
        padding: ``(top, bottom, left, right)`` pixels.
        weights: Row ``(o * Cg + c) * K + k``, ``c`` within the group: ``F``. Needs both masks on.
        expand_bias: Row ``o * K + k``: ``project * depthwise * expand_bias``. Needs both masks on.
        expand_saturated: Row ``o * K + k``: ``project * depthwise * ceiling``. Mask 1 saturated, mask 2 on.
        depthwise_bias: Row ``o``: ``project * depthwise_bias``. Mask 2 on.
        depthwise_saturated: Row ``o``: ``project * ceiling``. Mask 2 saturated.
        output_bias: ``[O]``.

    Source: docs/explanation/arithmetic.md, Fusion.
    """

    name: str
    out_channels: int
    middle_channels: int
    groups: int
    group_channels: int
    kernel: int
    stride: int
    padding: Padding
    weights: SparseLists
    expand_bias: SparseLists
    expand_saturated: SparseLists
    depthwise_bias: SparseLists
    depthwise_saturated: SparseLists
    output_bias: Array

    @property
    def entries(self) -> int:
        """Stored weights of all lists."""
        biases = (self.expand_bias, self.expand_saturated, self.depthwise_bias, self.depthwise_saturated)
        return len(self.weights) + sum(len(lists) for lists in biases)

    @cached_property
    def gated_taps(self) -> Mask:
        """``[M, K]`` bool: the middle channels and taps that any list refers to."""
        used = np.zeros((self.middle_channels, self.kernel**2), np.bool_)
        for lists in (self.weights, self.expand_bias, self.expand_saturated):
            used[lists.channel, lists.row_of_entries() % self.kernel**2] = True
        return used

    def astype(self, dtype: type[np.float32] | type[np.float64]) -> FusedWeights:
        """A copy whose values are rounded to another floating type."""
        names = ("weights", "expand_bias", "expand_saturated", "depthwise_bias", "depthwise_saturated")
        lists = {name: getattr(self, name) for name in names}
        cast = {name: replace(lists[name], value=lists[name].value.astype(dtype)) for name in names}
        return replace(self, **cast, output_bias=self.output_bias.astype(dtype))


@dataclass(frozen=True, eq=False)
class EntryCounts:
    """How many entries the lists of a block hold, by the middle channel (and tap) that gates them.

    Attributes:
        weights: ``[M, K]`` int64, for ``FusedWeights.weights``.
        expand_bias: ``[M, K]``.
        expand_saturated: ``[M, K]``.
        depthwise_bias: ``[M]``.
        depthwise_saturated: ``[M]``.
    """

    weights: Int64Array
    expand_bias: Int64Array
    expand_saturated: Int64Array
    depthwise_bias: Int64Array
    depthwise_saturated: Int64Array


def entry_counts(block: Bottleneck) -> EntryCounts:
    """Sizes of the lists of a block from its non-zero weights alone, without making the lists.

    Source: docs/explanation/arithmetic.md, Fusion.
    """
    projects = _by_middle(block, block.project_weight != 0).sum(axis=1).astype(np.int64)
    taps = (block.depthwise_weight != 0).reshape(block.middle_channels, -1) * projects[:, None]
    expands = (block.expand_weight != 0).sum(axis=1)
    return EntryCounts(
        weights=taps * expands[:, None],
        expand_bias=taps * (block.expand_bias != 0)[:, None],
        expand_saturated=taps * (block.expand_activation == "relu6"),
        depthwise_bias=projects * (block.depthwise_bias != 0),
        depthwise_saturated=projects * (block.depthwise_activation == "relu6"),
    )


def too_large(block: Bottleneck) -> str:
    """Why a block has more fused weights than can be stored, from its weights and shape; empty if it has not.

    Source: predfuse.fusion.weights.entry_counts.
    """
    entries = int(entry_counts(block).weights.sum())
    if entries <= MAX_ENTRIES:
        return ""
    paths = block.out_channels * block.group_channels * block.kernel**2 * (block.middle_channels // block.groups)
    return (
        f"has {entries:,} fused weights, more than the {MAX_ENTRIES:,} a program can hold; with the usual "
        f"{PRUNED_SHARE:.1%} of all after pruning there would be {round(paths * PRUNED_SHARE):,}"
    )


def fuse(block: Bottleneck, ceilings: tuple[float, float] = (RELU6_CEILING, RELU6_CEILING)) -> FusedWeights:
    """The fused weights of a block.

    Products are float64 for floating weights and int64, exact, for integer weights.

    Args:
        block: The block; its weights must be all floating or all integer.
        ceilings: What a saturated expand and a saturated depthwise activation give, in units of those activations;
            whole numbers for integer weights. Only ReLU6 stages use them.

    Raises:
        InputError: More than ``MAX_ENTRIES`` products, or integer products that overflow 64 bits.

    Source: docs/explanation/arithmetic.md, Fusion.
    """
    what = too_large(block)
    if what:
        raise InputError(f"layer {block.name}", what, "prune it, or execute it without storing them")
    expand, depthwise, project = _common_type(block)
    middle, taps = block.middle_channels, block.kernel**2
    flat_depthwise = depthwise.reshape(middle, taps)
    by_middle = _by_middle(block, project)
    expand_bias = block.expand_bias.astype(expand.dtype)
    depthwise_bias = block.depthwise_bias.astype(expand.dtype)
    outputs, channels = block.out_channels, block.group_channels
    group_outputs = outputs // block.groups

    def spatial_lists(factor: Array) -> SparseLists:
        """Lists over rows (output, input column of ``factor [M, columns]``, tap)."""
        columns = factor.shape[1]
        m, local = np.nonzero(by_middle)
        output = m // (middle // block.groups) * group_outputs + local
        inner_m, tap = np.nonzero(flat_depthwise)
        last_m, column = np.nonzero(factor)
        first, inner = _join(m, inner_m, middle)
        pair, last = _join(m[first], last_m, middle)
        first, inner = first[pair], inner[pair]
        value = by_middle[m, local][first] * flat_depthwise[inner_m, tap][inner] * factor[last_m, column][last]
        rows = (output[first] * columns + column[last]) * taps + tap[inner]
        return _lists(rows, m[first], value, outputs * columns * taps)

    def output_lists(factor: Array) -> SparseLists:
        """Lists over rows (output), one factor per middle channel."""
        m, local = np.nonzero(by_middle * (factor != 0)[:, None])
        output = m // (middle // block.groups) * group_outputs + local
        return _lists(output, m, by_middle[m, local] * factor[m], outputs)

    def ceiling(value: float, activation: str) -> Array:
        return np.full(middle, value if activation == "relu6" else 0, expand.dtype)

    _require_fitting(block, ceilings, expand, flat_depthwise, by_middle)
    return FusedWeights(
        name=block.name,
        out_channels=outputs,
        middle_channels=middle,
        groups=block.groups,
        group_channels=channels,
        kernel=block.kernel,
        stride=block.stride,
        padding=block.padding,
        weights=spatial_lists(expand),
        expand_bias=spatial_lists(expand_bias[:, None]),
        expand_saturated=spatial_lists(ceiling(ceilings[0], block.expand_activation)[:, None]),
        depthwise_bias=output_lists(depthwise_bias),
        depthwise_saturated=output_lists(ceiling(ceilings[1], block.depthwise_activation)),
        output_bias=block.project_bias.astype(expand.dtype),
    )


def _by_middle(block: Bottleneck, project: npt.NDArray[Item]) -> npt.NDArray[Item]:
    """Project weights ``[O, M/groups]`` as ``[M, O/groups]``: the weights that read one middle channel."""
    grouped = project.reshape(block.groups, block.out_channels // block.groups, -1)
    return grouped.swapaxes(1, 2).reshape(block.middle_channels, -1)


def _common_type(block: Bottleneck) -> tuple[Array, Array, Array]:
    arrays = (block.expand_weight, block.depthwise_weight, block.project_weight)
    kinds = {array.dtype.kind for array in (*arrays, block.expand_bias, block.depthwise_bias, block.project_bias)}
    if len(kinds) > 1:
        raise InputError(f"layer {block.name}", "mixes floating and integer weights", "quantise all or none")
    dtype = np.float64 if kinds == {"f"} else np.int64
    expand, depthwise, project = (array.astype(dtype) for array in arrays)
    return expand, depthwise, project


def _require_fitting(
    block: Bottleneck, ceilings: tuple[float, float], expand: Array, depthwise: Array, project: Array
) -> None:
    if expand.dtype.kind == "f":
        return
    if any(ceiling != int(ceiling) for ceiling in ceilings):
        raise InputError(f"layer {block.name}", "ceilings of integer weights are fractions", "scale and round them")
    top = [max(1, *(abs(int(edge)) for edge in (array.min(), array.max()))) for array in (expand, depthwise, project)]
    bias1, bias2 = (
        max(abs(int(bias.min())), abs(int(bias.max()))) for bias in (block.expand_bias, block.depthwise_bias)
    )
    spatial = top[1] * top[2] * max(top[0], bias1, int(abs(ceilings[0])))
    if max(spatial, top[2] * max(bias2, int(abs(ceilings[1])))) >= 2**63:
        raise InputError(f"layer {block.name}", "fused integer weights overflow 64 bits", "use narrower weights")


def _join(left: Int64Array, right: Int64Array, size: int) -> tuple[Int64Array, Int64Array]:
    """Index pairs ``(i, j)`` with ``left[i] == right[j]``; ``right`` ascending, both below ``size``."""
    counts = np.bincount(right, minlength=size)
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    repeats = counts[left]
    i = np.repeat(np.arange(left.size), repeats)
    within = np.arange(i.size) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return i, starts[left][i] + within


def _lists(rows: Int64Array, channel: Int64Array, value: Array, count: int) -> SparseLists:
    """Sort entries by row, then channel; products that underflow to zero are dropped."""
    kept = value != 0
    rows, channel, value = rows[kept], channel[kept], value[kept]
    # Entries arrive with ascending channels, which a stable sort by row keeps.
    order = np.argsort(rows, kind="stable")
    indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=count))))
    return SparseLists(indptr, channel[order].astype(np.int32), value[order])
