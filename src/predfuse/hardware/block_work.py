"""What a fused block asks of a machine, in plain arrays: shapes and which weights are not zero."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from predfuse.arrays import Int64Array, Mask
from predfuse.graph.nodes import Bottleneck, Padding, Shape
from predfuse.integer.tiling import Tile, tiles


@dataclass(frozen=True, eq=False)
class BlockWork:
    """The non-zero pattern of one fused block; taps ``k = kh * kernel + kw``, ``K = kernel**2``.

    Attributes:
        name: Of the block.
        in_shape: ``(C, H, W)``.
        out_shape: ``(O, P, Q)``.
        groups: Groups of input, middle and output channels alike.
        kernel: Side of the window (pixels).
        stride: Pixels.
        padding: ``(top, bottom, left, right)`` pixels.
        residual: Whether the input is added to the output.
        expand: ``[M, Cg]`` bool, non-zero weights.
        depthwise: ``[M, K]`` bool.
        project: ``[O, M/groups]`` bool.
        expand_bias: ``[M]`` bool.
        depthwise_bias: ``[M]`` bool.
        largest_predictor_weight: Magnitude of the weights of its predictor; 1 if they are ternary or there is none.
        predictor_bits: Of the activations of its predictor; 0 if there is none.
        shuffle_groups: Of the channel shuffle of its output; 1 is none.
        merged_groups: How many groups of the network each of these is made of.
    """

    name: str
    in_shape: Shape
    out_shape: Shape
    groups: int
    kernel: int
    stride: int
    padding: Padding
    residual: bool
    expand: Mask
    depthwise: Mask
    project: Mask
    expand_bias: Mask
    depthwise_bias: Mask
    largest_predictor_weight: int = 1
    predictor_bits: int = 0
    shuffle_groups: int = 1
    merged_groups: int = 1

    @property
    def middle(self) -> int:
        """Middle channels of all groups."""
        return len(self.expand)

    @property
    def group_middle(self) -> int:
        """Middle channels of one group."""
        return self.middle // self.groups

    @property
    def group_channels(self) -> int:
        """Input channels of one group."""
        return int(self.expand.shape[1])

    @property
    def group_outputs(self) -> int:
        """Output channels of one group."""
        return len(self.project) // self.groups

    @property
    def taps(self) -> int:
        return self.kernel**2

    def tiles(self, rows: int, columns: int) -> tuple[Tile, ...]:
        """The output cut into tiles of at most ``rows x columns`` pixels."""
        window = (self.kernel, self.kernel)
        return tiles(self.in_shape, self.out_shape, window, self.stride, self.padding, rows, columns)

    @cached_property
    def live_channels(self) -> Mask:
        """``[M]`` bool: middle channels with a path to an output; a compiler leaves the others out."""
        reached = (self.expand.any(axis=1) | self.expand_bias) & self.depthwise.any(axis=1)
        read = self.project.reshape(self.groups, self.group_outputs, self.group_middle).any(axis=1).ravel()
        live: Mask = (reached | self.depthwise_bias) & read
        return live

    def without_shifts(self) -> BlockWork:
        """The same block with the shifts ``expand_bias`` and ``depthwise_bias`` pruned away."""
        return replace(
            self, expand_bias=np.zeros_like(self.expand_bias), depthwise_bias=np.zeros_like(self.depthwise_bias)
        )


def block_work(block: Bottleneck, in_shape: Shape) -> BlockWork:
    """The work of a block with floating or integer weights, whose input is ``in_shape`` ``(C, H, W)``."""
    return BlockWork(
        name=block.name,
        in_shape=in_shape,
        out_shape=block.output_shape([in_shape]),
        groups=block.groups,
        kernel=block.kernel,
        stride=block.stride,
        padding=block.padding,
        residual=block.residual,
        expand=block.expand_weight != 0,
        depthwise=(block.depthwise_weight != 0).reshape(block.middle_channels, -1),
        project=block.project_weight != 0,
        expand_bias=block.expand_bias != 0,
        depthwise_bias=block.depthwise_bias != 0,
        largest_predictor_weight=1 if block.predictor is None else block.predictor.largest_weight,
        predictor_bits=0 if block.predictor is None else block.predictor.activation_bits,
        shuffle_groups=block.shuffle_groups,
    )


def list_entries(work: BlockWork) -> Int64Array:
    """``[M, K]`` int64: fused weights of every middle channel at every tap, without biases."""
    projects = work.project.reshape(work.groups, work.group_outputs, work.group_middle).sum(axis=1).ravel()
    entries: Int64Array = (projects * work.expand.sum(axis=1))[:, None] * work.depthwise
    return entries


def bias_entries(work: BlockWork) -> tuple[Int64Array, Int64Array]:
    """Entries of the bias lists per channel: ``[M, K]`` for the expand biases and ``[M]`` for the depthwise ones."""
    projects = work.project.reshape(work.groups, work.group_outputs, work.group_middle).sum(axis=1).ravel()
    return (projects * work.expand_bias)[:, None] * work.depthwise, projects * work.depthwise_bias
