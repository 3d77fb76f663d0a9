"""The compiler: calibrate, choose scales, quantise every layer, check every width."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from predfuse.arrays import ImageArray
from predfuse.errors import InputError
from predfuse.graph.nodes import (
    INPUT,
    Add,
    Bottleneck,
    Concat,
    Conv,
    Linear,
    Network,
    Node,
    Pool,
    Shape,
    Shuffle,
)
from predfuse.integer.arithmetic import saturate
from predfuse.integer.blocks import quantise_block
from predfuse.integer.calibrate import Calibration, calibrate, normalise
from predfuse.integer.options import CompileOptions
from predfuse.integer.pixels import fold_pixel_scale, pixel_scale, pixel_table
from predfuse.integer.program import IntegerShuffle, Program, ProgramNode
from predfuse.integer.quantise import (
    Rounding,
    finest_fraction_bits,
    fraction_bits_for,
    quantise_add,
    quantise_concat,
    quantise_conv,
    quantise_linear,
    quantise_pool,
    require_fraction_bits,
)
from predfuse.integer.scale_channels import channel_gains, equalise
from predfuse.integer.split_blocks import unfold_unpredicted

SUMMAND_BITS = 16
"""Fraction bits a summand may have beyond those of its sum."""


@dataclass(frozen=True, eq=False)
class Compilation:
    """A program with what its layers were made from.

    Attributes:
        program: The integers.
        layers: Floating layers of the program, by the same names, in the program's units; they take the real values
            the program's integers stand for.
        rounded_down: Layers whose integers stand for half a step more (see ``Rounding``).
    """

    program: Program
    layers: Network
    rounded_down: frozenset[str]


def compile_network(
    network: Network,
    images: ImageArray,
    options: CompileOptions | None = None,
    *,
    facts: dict[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Program:
    """Compile a network to integers: the program of :func:`compile_layers`.

    Args:
        network: Floating weights. Blocks with a predictor are fused, others become three convolutions.
        images: Calibration images ``[N, C, H, W]``: uint8 pixels, or normalised floats.
        options: Widths and margin.
        facts: Further JSON-able metadata of the program.
        progress: Called with 1 after every calibration image.

    Raises:
        InputError: As :func:`compile_layers`.

    Source: docs/reference/program.md, How the compiler chooses.
    """
    return compile_layers(network, images, options, facts=facts, progress=progress).program


def compile_layers(
    network: Network,
    images: ImageArray,
    options: CompileOptions | None = None,
    *,
    facts: dict[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Compilation:
    """A program with what its layers were made from; arguments as of :func:`compile_network`, images ``[N, C, H, W]``.

    Raises:
        InputError: Images that do not fit, NaN, a scale, sum or accumulator that does not fit, a predictor that cannot
            be exact, or a block without predictor where ``require_fused`` is set.

    Source: docs/reference/program.md, How the compiler chooses.
    """
    options = options or CompileOptions()
    if options.require_fused:
        _require_predictors(network)
    unfolded = unfold_unpredicted(network)
    calibration = calibrate(unfolded, normalise(network, images), progress)
    gains = channel_gains(unfolded, calibration.channels)
    unfolded, calibration = equalise(unfolded, gains), calibration.scaled(gains)
    input_bits = _input_bits(network, images, calibration, options)
    pixels = pixel_scale(unfolded, input_bits, options.bits) if images.dtype == np.uint8 else None
    if pixels is not None:
        unfolded, table = fold_pixel_scale(unfolded, pixels), pixels.table
    else:
        table, _ = saturate(np.floor(np.ldexp(pixel_table(network), input_bits) + 0.5).astype(np.int64), options.bits)

    shapes = unfolded.shapes()
    scales = {INPUT: input_bits}
    largest = calibration.largest
    nodes: list[ProgramNode] = []
    down = rounded_down(unfolded)
    wanted_bits = wanted_fraction_bits(unfolded, largest, options)
    for node in unfolded.nodes:
        wanted = wanted_bits[node.name]
        rounding = Rounding(input_half=node.inputs[0] in down, down=node.name in down)
        compiled = _compile_node(node, shapes, scales, wanted, options, rounding)
        scales[node.name] = compiled.fraction_bits
        nodes.append(compiled)
    program = Program(
        name=network.name,
        input_shape=(int(network.input_shape[0]), int(network.input_shape[1]), int(network.input_shape[2])),
        input_fraction_bits=input_bits,
        input_table=table,
        input_gain=() if pixels is None else tuple(float(gain) for gain in pixels.gain),
        nodes=tuple(nodes),
        bits=options.bits,
        labels=network.labels,
        metadata={
            "source": dict(network.metadata),
            "calibration_images": calibration.images,
            "options": {key: value for key, value in dataclasses.asdict(options).items() if key != "bits"},
            **(facts or {}),
        },
    )
    return Compilation(program, unfolded, frozenset(down))


def wanted_fraction_bits(network: Network, largest: dict[str, float], options: CompileOptions) -> dict[str, int]:
    """The finest scale of every layer at which its largest value fits, but none finer than its readers can tell.

    A branch of values around 1e-9 that is only added to others, or concatenated with them at one scale, needs no steps
    of 2**-45: aligned to those, the others would need an accumulator of 49 bits. Steps of ``2**-SUMMAND_BITS`` of a
    step of the sum, or of the coarsest part, are fine enough.

    Args:
        network: The layers.
        largest: Largest magnitude by layer.
        options: Width of a word, headroom.

    Raises:
        InputError: A scale outside of what a program allows.
    """
    wanted = {
        node.name: finest_fraction_bits(largest[node.name], options.margin, options.bits) for node in network.nodes
    }
    told: dict[str, float] = {node.name: -math.inf for node in network.nodes}
    for node in reversed(network.nodes):
        if told[node.name] > -math.inf:  # of the output nothing is cut off
            wanted[node.name] = int(min(wanted[node.name], told[node.name]))
        passes = isinstance(node, Shuffle | Concat) or (isinstance(node, Pool) and node.kind == "max")
        finest = math.inf
        if isinstance(node, Add):
            finest = wanted[node.name] + SUMMAND_BITS
        elif passes and told[node.name] > -math.inf:
            finest = told[node.name]
        if isinstance(node, Concat):
            parts = [wanted[source] for source in node.inputs if source != INPUT]
            finest = min(finest, min(parts, default=math.inf) + SUMMAND_BITS)
        for source in node.inputs:
            if source != INPUT:
                told[source] = max(told[source], finest)
    return {name: require_fraction_bits(name, bits) for name, bits in wanted.items()}


def rounded_down(network: Network) -> set[str]:
    """Layers whose output is rounded down (see :class:`predfuse.integer.quantise.Rounding`).

    Those that a predictor reads, unless other layers than blocks and convolutions read them too, or their activation
    makes exact zeros.
    """
    readers: dict[str, list[Node]] = {node.name: [] for node in network.nodes}
    for node in network.nodes:
        for source in node.inputs:
            if source != INPUT:
                readers[source].append(node)
    return {
        node.name
        for node in network.nodes
        if isinstance(node, Bottleneck) or (isinstance(node, Conv) and node.activation == "linear")
        if all(isinstance(reader, Bottleneck | Conv) for reader in readers[node.name])
        if any(isinstance(reader, Bottleneck) for reader in readers[node.name])
    }


def _require_predictors(network: Network) -> None:
    for block in network.bottlenecks():
        if block.predictor is None:
            raise InputError(f"layer {block.name}", "has no predictor", "train one, or drop require_fused")


def _input_bits(network: Network, images: ImageArray, calibration: Calibration, options: CompileOptions) -> int:
    """Scale of the input: all pixel values fit exactly; float images get the margin on top of what was seen."""
    largest = float(np.abs(pixel_table(network)).max())
    if images.dtype != np.uint8:
        largest = max(largest, calibration.largest[INPUT] * options.margin)
    return fraction_bits_for(INPUT, largest, bits=options.bits)


def _compile_node(
    node: Node,
    shapes: dict[str, Shape],
    scales: dict[str, int],
    wanted: int,
    options: CompileOptions,
    rounding: Rounding,
) -> ProgramNode:
    """One node, its output scaled to ``wanted`` fraction bits where it can choose."""
    source = node.inputs[0]
    bits = scales[source]
    if isinstance(node, Conv):
        return quantise_conv(node, bits, wanted, options, rounding)
    if isinstance(node, Bottleneck):
        return quantise_block(node, bits, wanted, options, rounding)
    if isinstance(node, Linear):
        return quantise_linear(node, shapes[source], bits, wanted, options)
    if isinstance(node, Pool):
        return quantise_pool(node, shapes[source], bits, wanted, options)
    if isinstance(node, Add):
        return quantise_add(node, [scales[name] for name in node.inputs], wanted, options)
    if isinstance(node, Concat):
        return quantise_concat(node, [scales[name] for name in node.inputs], options.bits)
    if isinstance(node, Shuffle):
        return IntegerShuffle(node.name, node.inputs, bits, node.groups, bits=options.bits)
    raise InputError(
        f"layer {node.name}", f"{type(node).__name__} cannot be compiled", "use the nodes of predfuse.graph.nodes"
    )
