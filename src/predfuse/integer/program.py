"""A compiled network: integer layers and the image's integers. ``docs/reference/program.md`` defines it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from predfuse.arrays import Int16Array
from predfuse.errors import InputError
from predfuse.graph.nodes import INPUT, Shape
from predfuse.input_checks import require_labels
from predfuse.integer.nodes import (
    NODE_TYPES,
    FusedBlock,
    IntegerAdd,
    IntegerConcat,
    IntegerConv,
    IntegerNode,
    IntegerPool,
    IntegerShuffle,
    ProgramNode,
)
from predfuse.integer.widths import (
    ACCUMULATOR_LIMIT,
    FRACTION_LIMIT,
    SHIFT_LIMIT,
    SUM_LIMIT,
    WORD_WIDTHS,
    layer_error,
    require_word,
)

__all__ = [
    "ACCUMULATOR_LIMIT",
    "FRACTION_LIMIT",
    "NODE_TYPES",
    "SHIFT_LIMIT",
    "SUM_LIMIT",
    "FusedBlock",
    "IntegerAdd",
    "IntegerConcat",
    "IntegerConv",
    "IntegerNode",
    "IntegerPool",
    "IntegerShuffle",
    "Program",
    "ProgramNode",
]


@dataclass(frozen=True, eq=False)
class Program:
    """A network in integers; the last node is the output (class scores).

    Attributes:
        name: Of the network.
        input_shape: ``(C, H, W)`` of one image.
        input_fraction_bits: Of the image's integers.
        input_table: ``[C, 256]`` int16: the integers of every 8-bit pixel value, per channel.
        nodes: Every node after all nodes it reads. Blocks without a predictor appear as ``NAME.expand``,
            ``NAME.depthwise``, ``NAME.project`` and, where they have them, ``NAME.shuffle`` and ``NAME.add``.
        labels: Class names, may be empty.
        metadata: JSON-able facts: source network, calibration, options.
        input_gain: Per channel: the integer of a normalised value ``x`` is
            ``round_half_up(x * gain * 2**input_fraction_bits)``, saturated. Empty for gains of 1.
        bits: Of every activation, weight and factor, with sign: 16 or 8.

    Source: docs/reference/program.md.
    """

    name: str
    input_shape: Shape
    input_fraction_bits: int
    input_table: Int16Array
    nodes: tuple[ProgramNode, ...]
    labels: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    input_gain: tuple[float, ...] = ()
    bits: int = 16

    def __post_init__(self) -> None:
        where = f"program {self.name}"
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise InputError(where, f"input shape {self.input_shape}", "give (channels, height, width)")
        table = self.input_table
        if table.shape != (self.input_shape[0], 256) or table.dtype != np.int16:
            what = f"input table is {table.dtype} {table.shape}, expected int16 ({self.input_shape[0]}, 256)"
            raise InputError(where, what, "compile the network again")
        if self.bits not in WORD_WIDTHS:
            raise InputError(where, f"has words of {self.bits} bits", f"use {' or '.join(map(str, WORD_WIDTHS))}")
        require_word(where, "input table", table, self.bits)
        if abs(self.input_fraction_bits) > FRACTION_LIMIT:
            raise InputError(where, f"input_fraction_bits is {self.input_fraction_bits}", "compile the network again")
        gains = self.input_gain
        if gains and (len(gains) != self.input_shape[0] or not np.isfinite(gains).all() or min(gains) <= 0):
            raise InputError(where, f"input gain is {gains}", "give one finite value above 0 per channel")
        if not self.nodes:
            raise InputError(where, "has no layers", "compile the network again")
        require_labels(where, self.labels, math.prod(self.shapes()[self.output.name]))
        self._check_scales()

    def __repr__(self) -> str:
        size, fused = "x".join(map(str, self.input_shape)), sum(isinstance(node, FusedBlock) for node in self.nodes)
        return f"Program({self.name!r}, input {size}, {len(self.nodes)} nodes, {fused} of them fused)"

    def shapes(self) -> dict[str, Shape]:
        """Output shape of every node (and of ``"input"``).

        Raises:
            InputError: A name is used twice, a node reads one that does not come before it, or shapes do not fit.
        """
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        for node in self.nodes:
            if node.bits != self.bits:
                raise layer_error(node.name, f"has words of {node.bits} bits in a program of {self.bits}")
            if node.name in shapes:
                raise layer_error(node.name, "is defined twice")
            single = not isinstance(node, IntegerAdd | IntegerConcat)
            if not node.inputs or (single and len(node.inputs) != 1):
                raise layer_error(node.name, f"has {len(node.inputs)} inputs")
            for source in node.inputs:
                if source not in shapes:
                    raise layer_error(node.name, f"reads {source!r}, which does not come before it")
            shapes[node.name] = node.output_shape([shapes[source] for source in node.inputs])
        return shapes

    @property
    def fraction_bits(self) -> dict[str, int]:
        """Fraction bits of the image and of every layer's output, by name, in the order of the program."""
        return {INPUT: self.input_fraction_bits, **{node.name: node.fraction_bits for node in self.nodes}}

    def _check_scales(self) -> None:
        """Nodes that hand values on, align or average them must agree with the scales of what they read."""
        scales, shapes = self.fraction_bits, self.shapes()
        for node in self.nodes:
            read = [scales[source] for source in node.inputs]
            if isinstance(node, IntegerPool) and node.kind == "average":
                node.require_average(read[0], shapes[node.inputs[0]])
            wanted = [node.fraction_bits] * len(read)
            if isinstance(node, IntegerConcat):
                wanted = [node.fraction_bits + int(bits) for bits in node.shift]
            elif isinstance(node, IntegerAdd):
                wanted = [node.fraction_bits + node.shift - int(bits) for bits in node.align]
            elif isinstance(node, FusedBlock):
                wanted = [node.predictor_shift - node.predictor.input_exponent]
                if node.residual and node.residual_shift != wanted[0] - node.fraction_bits:
                    raise layer_error(node.name, f"residual_shift {node.residual_shift} does not fit its scales")
            elif not isinstance(node, IntegerShuffle) and not (isinstance(node, IntegerPool) and node.kind == "max"):
                wanted = read
            if wanted != read:
                raise layer_error(node.name, f"expects inputs of {wanted} fraction bits, gets {read}")

    @property
    def output(self) -> ProgramNode:
        """The last node."""
        return self.nodes[-1]

    def fused_blocks(self) -> tuple[FusedBlock, ...]:
        """The fused blocks in order."""
        return tuple(node for node in self.nodes if isinstance(node, FusedBlock))
