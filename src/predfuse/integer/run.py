"""Running a program on images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from predfuse.arrays import ImageArray, Int8Array, Int16Array, Int64Array, are_floats, are_pixels
from predfuse.errors import InputError
from predfuse.graph.nodes import INPUT
from predfuse.input_checks import require_finite
from predfuse.integer import reference
from predfuse.integer.arithmetic import saturate
from predfuse.integer.fast_machine import FastMachine
from predfuse.integer.program import Program
from predfuse.integer.record import ImageRecord

MachineName = Literal["fast", "reference"]


@dataclass(frozen=True, eq=False)
class MachineResult:
    """What a program gave for ``N`` images.

    Attributes:
        program: Name of the program.
        scores: ``[N, classes]`` integers (int16): output of the last node, flattened.
        fraction_bits: The scores stand for ``integer * 2**-fraction_bits``.
        saturations: Values of every node, and of ``"input"``, that did not fit a word, over all images.
        values: ``[N, C, H, W]`` int16 of the nodes asked for.
        masks: ``([N, M, H, W], [N, M, P, Q])`` int8 of the fused blocks, where asked for.

    Source: docs/reference/program.md, Arithmetic.
    """

    program: str
    scores: Int16Array
    fraction_bits: int
    saturations: dict[str, int]
    values: dict[str, Int16Array] = field(default_factory=dict)
    masks: dict[str, tuple[Int8Array, Int8Array]] = field(default_factory=dict)

    @property
    def predictions(self) -> Int64Array:
        """``[N]`` index of the largest score (of the first, where several are equal)."""
        largest: Int64Array = self.scores.argmax(axis=1)
        return largest

    def accuracy(self, labels: Int64Array) -> float:
        """Share of images whose largest score is their label (``labels [N]``), 0..1."""
        return float((self.predictions == labels).mean())


def to_integers(program: Program, images: ImageArray) -> tuple[Int16Array, int]:
    """Images as the program's integers, and how many values saturated.

    Args:
        program: The program.
        images: ``[N, C, H, W]``: uint8 pixels, or normalised floats (see ``Network.mean``).

    Raises:
        InputError: Another size or type, or NaN.

    Source: docs/reference/program.md, Arithmetic.
    """
    wanted = program.input_shape
    if images.ndim != 4 or images.shape[1:] != wanted or not len(images):
        what = f"have shape {'x'.join(map(str, images.shape))}, program {program.name} expects Nx"
        raise InputError("images", what + "x".join(map(str, wanted)), "resize or choose other images")
    if are_pixels(images):
        table = program.input_table
        pixels = np.stack([table[channel][images[:, channel]] for channel in range(wanted[0])], axis=1)
        return pixels, 0
    if not are_floats(images):
        raise InputError("images", f"have type {images.dtype}", "use uint8 pixels or normalised floats")
    require_finite(images)
    gain = np.array(program.input_gain or (1.0,) * wanted[0])[:, None, None]
    scaled = np.floor(np.ldexp(images.astype(np.float64) * gain, program.input_fraction_bits) + 0.5)
    return saturate(np.clip(scaled, -(2.0**40), 2.0**40).astype(np.int64), program.bits)


def run_program(
    program: Program,
    images: ImageArray,
    *,
    machine: MachineName | FastMachine = "fast",
    keep: Collection[str] = (),
    keep_masks: bool = False,
    progress: Callable[[int], None] | None = None,
) -> MachineResult:
    """Run a program on images.

    Args:
        program: The program.
        images: ``[N, C, H, W]``: uint8 pixels, or normalised floats.
        machine: Which machine; a :class:`~predfuse.integer.fast_machine.FastMachine` made for this program saves
            making its lists again.
        keep: Nodes whose values the result holds.
        keep_masks: Whether the result holds the masks of the fused blocks (one byte per gate and image).
        progress: Called with 1 after every image.

    Raises:
        InputError: Images of another size or type than the program takes, an unknown machine or node, or a program
            whose fused weights do not fit the widths it declares.

    Source: docs/reference/program.md, Arithmetic.
    """
    unknown = sorted(set(keep) - {INPUT, *(node.name for node in program.nodes)})
    if unknown:
        raise InputError("keep", f"program {program.name} has no layer {unknown[0]!r}", "name one of its layers")
    integers, saturated = to_integers(program, images)
    run_image = _runner(program, machine, keep, keep_masks)
    saturations = Counter({INPUT: saturated, **{node.name: 0 for node in program.nodes}})
    scores: list[Int16Array] = []
    values: dict[str, list[Int16Array]] = {name: [] for name in keep}
    masks: dict[str, list[tuple[Int8Array, Int8Array]]] = {
        node.name: [] for node in program.fused_blocks() if keep_masks
    }
    for image in integers:
        record = run_image(image)
        saturations.update(record.saturations)
        scores.append(record.values[program.output.name].ravel())
        for name, kept in values.items():
            kept.append(record.values[name])
        for name, pairs in masks.items():
            pairs.append(record.masks[name])
        if progress is not None:
            progress(1)
    return MachineResult(
        program=program.name,
        scores=np.stack(scores),
        fraction_bits=program.output.fraction_bits,
        saturations=dict(saturations),
        values={name: np.stack(kept) for name, kept in values.items()},
        masks={
            name: (np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs]))
            for name, pairs in masks.items()
        },
    )


def _runner(
    program: Program, machine: MachineName | FastMachine, keep: Collection[str], keep_masks: bool
) -> Callable[[Int16Array], ImageRecord]:
    if machine == "reference":
        return lambda image: reference.run_image(program, image)
    if machine == "fast":
        machine = FastMachine(program)
    if not isinstance(machine, FastMachine) or machine.program is not program:
        raise InputError("machine", f"is {machine!r}", 'use "fast", "reference" or a FastMachine of this program')
    fast = machine
    return lambda image: fast.run_image(image, keep, keep_masks)
