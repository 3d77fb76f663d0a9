"""How close a program's integers are to the model it was compiled from: per block, and at the end."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from predfuse.arrays import Float64Array, FloatArray, ImageArray
from predfuse.fusion.execute import run_network
from predfuse.graph.nodes import INPUT, Network
from predfuse.integer.calibrate import normalise
from predfuse.integer.compile import Compilation, compile_layers
from predfuse.integer.fast_machine import FastMachine
from predfuse.integer.options import CompileOptions
from predfuse.integer.program import Program
from predfuse.integer.run import run_program, to_integers
from predfuse.predictor.format import MOST_BITS

logger = logging.getLogger(__name__)

CHECKED_IMAGES, FEWEST_CHECKED, CHECKED_PIXELS = 32, 8, 1 << 19
"""Calibration images the comparison runs on: at most 32, of large ones fewer, for the model runs in float64."""
AGREEING_SHARE = 0.95
"""Where fewer classes than this share are the model's, the compilation warns."""


@dataclass(frozen=True)
class Agreement:
    """Integers against the model, on calibration images.

    Errors are root mean squares of the difference, over that of what the model gives.

    Attributes:
        images: How many images were compared.
        blocks: Error of every fused block, each fed the integers the program feeds it: what the block itself adds.
        drift: Error of every fused block's output in the running program: what has built up until there.
        output_error: Error of the scores.
        classes_agree: Share of the images whose largest score is the same, 0..1.

    Source: docs/reference/program.md, How close it is to its model.
    """

    images: int
    blocks: dict[str, float]
    drift: dict[str, float]
    output_error: float
    classes_agree: float

    @property
    def blamed(self) -> str | None:
        """The block at which the error grows most: by the largest factor over that of the block before it."""
        worst, name, before = 0.0, None, 1e-6
        for block, error in self.drift.items():
            if error / before > worst and error > 0.01:
                worst, name = error / before, block
            before = max(error, before)
        return name

    @property
    def warning(self) -> str | None:
        """What a user should know; None where the integers agree."""
        if self.classes_agree >= AGREEING_SHARE:
            return None
        blame = f"; the error grows most at block {self.blamed}" if self.blamed else ""
        return (
            f"integers give the model's class on {self.classes_agree:.1%} of {self.images} calibration images, scores "
            f"differ by a relative {self.output_error:.2g}{blame}"
        )

    def facts(self) -> dict[str, Any]:
        """As JSON-able metadata of the program."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class CheckedProgram:
    """A program that was run on the first of its calibration images.

    Attributes:
        program: The program.
        agreement: How close it is to its network.
        saturations: Values of every node that did not fit int16 on those ``agreement.images`` images.
        machine: That ran it, with the lists of its blocks.
        warning: What a user should know of the agreement, and what to try; None where the integers agree.
    """

    program: Program
    agreement: Agreement
    saturations: dict[str, int]
    machine: FastMachine
    warning: str | None


def compile_and_compare(
    network: Network,
    images: ImageArray,
    options: CompileOptions | None = None,
    *,
    facts: dict[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> CheckedProgram:
    """:func:`predfuse.integer.compile.compile_network`, and how close the program is to the network.

    The agreement stands in the program's metadata too, as ``agreement``; a bad one is logged as a warning.

    Args:
        network: As there.
        images: Calibration images ``[N, C, H, W]``: uint8 pixels, or normalised floats; the first are compared.
        options: As there.
        facts: As there.
        progress: As there.

    Raises:
        InputError: As there.

    Source: docs/reference/program.md, How close it is to its model.
    """
    compiled = compile_layers(network, images, options, facts=facts, progress=progress)
    pixels = images.shape[2] * images.shape[3]
    checked = min(CHECKED_IMAGES, max(FEWEST_CHECKED, CHECKED_PIXELS // pixels))
    machine = FastMachine(compiled.program)
    agreement, saturations = compare(compiled, network, images[:checked], machine)
    warning = agreement.warning
    if warning:
        warning += _advice(network)
        logger.warning("%s: %s", network.name, warning)
    metadata = {**compiled.program.metadata, "agreement": agreement.facts()}
    machine.program = dataclasses.replace(compiled.program, metadata=metadata)
    return CheckedProgram(machine.program, agreement, saturations, machine, warning)


def _advice(network: Network) -> str:
    """What halves a disagreement that comes of predictors, where theirs are not the widest there are."""
    predictors = [block.predictor for block in network.bottlenecks() if block.predictor is not None]
    if all(predictor.activation_bits == MOST_BITS for predictor in predictors):
        return ""
    return (
        f"; for about half of it: predfuse prepare --bits {MOST_BITS} --largest-weight 4, for an Archon with "
        f"activation_bits: {MOST_BITS} and design.largest_predictor_weight: 4"
    )


def compare(
    compiled: Compilation,
    network: Network,
    images: ImageArray,
    machine: FastMachine | None = None,
) -> tuple[Agreement, dict[str, int]]:
    """Run program and network (predicted masks, float64) on the same images.

    Args:
        compiled: The program with its layers.
        network: What it was compiled from.
        images: ``[N, C, H, W]`` uint8 pixels or normalised floats.
        machine: That runs the program, made if not given.

    Returns:
        How close they are, and the values of every node that did not fit int16.

    Source: docs/reference/program.md, How close it is to its model.
    """
    program = compiled.program
    fused = program.fused_blocks()
    wanted = sorted({name for block in fused for name in (block.name, block.inputs[0])} - {INPUT})
    result = run_program(program, images, machine=machine or "fast", keep=wanted)
    integers = {**result.values, INPUT: to_integers(program, images)[0]}
    bits = program.fraction_bits

    def real(name: str) -> Float64Array:
        half = 0.5 if name in compiled.rounded_down else 0.0
        values: Float64Array = np.ldexp(integers[name] + half, -bits[name])
        return values

    layers = {node.name: node for node in compiled.layers.nodes}
    errors, drift = {}, {}
    kept = [block.name for block in fused]
    ideal = run_network(network, normalise(network, images), "predicted", statistics=False, keep=kept)
    for block in fused:
        x = real(block.inputs[0])
        alone = dataclasses.replace(layers[block.name], inputs=(INPUT,))
        single = Network(block.name, (x.shape[1], x.shape[2], x.shape[3]), (alone,))
        expected = run_network(single, x, "predicted", statistics=False, keep=(block.name,)).outputs[block.name]
        errors[block.name] = _error(real(block.name), expected)
        drift[block.name] = _error(real(block.name), ideal.outputs[block.name])
    logits = ideal.logits.reshape(len(images), -1)
    scores = np.ldexp(result.scores.astype(np.float64), -result.fraction_bits)
    agree = float((scores.argmax(1) == logits.argmax(1)).mean())
    return Agreement(len(images), errors, drift, _error(scores, logits), agree), result.saturations


def _error(got: FloatArray, expected: FloatArray) -> float:
    size = float(np.sqrt(np.mean(np.square(expected))))
    difference = float(np.sqrt(np.mean(np.square(got - expected))))
    return difference / size if size else difference
