"""Fused blocks of a program on the gateware, image by image, beside the integer machine and the cycle model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from predfuse.arrays import ImageArray
from predfuse.errors import InputError, PredfuseError
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.machine import prepare, run_archon
from predfuse.hardware.cycle.archon.sequence.schedule import Clock
from predfuse.hardware.cycle.simulate import masks_of
from predfuse.hardware.spec import ArchonSpec
from predfuse.integer.program import Program
from predfuse.integer.run import run_program
from predfuse.rtl.image import Image
from predfuse.rtl.simulator import Simulator
from predfuse.rtl.starts import Compared, compare
from predfuse.rtl.steps import BlockPlan


@dataclass(frozen=True)
class BlockResult:
    """A block on all images.

    Attributes:
        layer: Its name.
        steps: Predictions, lists and outputs of all tiles, groups and images.
        clock: Where the cycles of the machine went.
        planned: Where they go by the schedule of the commands.
        modelled: Cycles of a simulation at cycle fidelity, without waits for the DRAM; None if it only estimates them.
    """

    layer: str
    steps: tuple[Compared, ...]
    clock: Clock
    planned: Clock
    modelled: int | None = None

    @property
    def list_cycles(self) -> int:
        return sum(step.list_cycles for step in self.steps)

    @property
    def predict_cycles(self) -> int:
        return sum(step.predict_cycles for step in self.steps)

    @property
    def differences(self) -> tuple[Compared, ...]:
        """Steps that went otherwise than planned."""
        return tuple(step for step in self.steps if step.differs)

    @property
    def exact(self) -> bool:
        """Whether every output, every cycle of a step and every cycle of the machine is as planned and modelled."""
        as_modelled = self.modelled is None or self.clock.total == self.modelled
        return not self.differences and self.clock == self.planned and as_modelled


def block_images(program: Program, images: ImageArray, machine: Machine) -> dict[str, list[Image]]:
    """What the global buffer is filled with for every fused block, each fed what the integer machine feeds it.

    Args:
        program: Compiled.
        images: ``[N, C, H, W]``, as :func:`predfuse.integer.run.run_program` takes them.
        machine: The gateware.

    Raises:
        InputError: There is no fused block, or the gateware does not hold one.
    """
    blocks = program.fused_blocks()
    if not blocks:
        raise InputError(program.name, "has no fused block", "compile a network with predictors")
    shapes = program.shapes()
    plans = [BlockPlan(node, shapes[node.inputs[0]], machine) for node in blocks]
    wanted = {name for node in blocks for name in (node.name, node.inputs[0])}
    values = run_program(program, images, keep=wanted).values
    return {plan.node.name: plan.images(values[plan.node.inputs[0]], values[plan.node.name]) for plan in plans}


def modelled_cycles(program: Program, images: ImageArray, spec: ArchonSpec, machine: Machine) -> dict[str, int]:
    """What a simulation at cycle fidelity has for every fused block on some images, without waits for the DRAM.

    Args:
        program: Compiled.
        images: ``[N, C, H, W]``; how many counts, no cycle depends on their pixels.
        spec: The machine.
        machine: Its gateware, maybe with other memories.

    Returns:
        Cycles by block; nothing on a machine that is not charged for gateware.
    """
    if spec.design.streams != "gateware":
        return {}
    result = run_archon(prepare(program, spec, machine), next(masks_of(program, images[:1]))).result
    blocks = [node.name for node in program.fused_blocks()]
    cycles = {name: sum(row.compute_cycles for row in result.rows if row.layer == name) for name in blocks}
    return {name: len(images) * one for name, one in cycles.items()}


def run_block(
    layer: str, told: list[Image], simulator: Simulator, waves: Path | None = None, modelled: int | None = None
) -> BlockResult:
    """Run images of the global buffer from reset on; what every step did.

    Raises:
        PredfuseError: The gateware hangs, or ends with fewer or more steps than it was told.
    """
    steps: list[Compared] = []
    clock = planned = Clock()
    for image, ran in zip(told, simulator.run(told, waves), strict=True):
        if len(ran.starts) != len(image.steps):
            raise PredfuseError(f"{layer}: the gateware did {len(ran.starts)} of {len(image.steps)} steps")
        steps += [compare(step, one, ran.pixels) for step, one in zip(image.steps, ran.starts, strict=True)]
        clock += ran.clock
        planned += image.planned
    return BlockResult(layer, tuple(steps), clock, planned, modelled)


def run_on_gateware(
    program: Program,
    images: ImageArray,
    simulator: Simulator,
    spec: ArchonSpec | None = None,
    progress: Callable[[int, int], None] | None = None,
    waves: Path | None = None,
) -> list[BlockResult]:
    """Every fused block of a program on images.

    Args:
        program: Compiled.
        images: ``[N, C, H, W]``.
        simulator: Of the gateware; the other layers run on the host.
        spec: The machine, as the cycle model has it; None: cycles are only held against the schedule.
        progress: Called with how many blocks are done, and of how many.
        waves: File for the waveforms of the first block.
    """
    told, results = block_images(program, images, simulator.machine), []
    modelled = {} if spec is None else modelled_cycles(program, images, spec, simulator.machine)
    for done, (name, own) in enumerate(told.items(), 1):
        results.append(run_block(name, own, simulator, waves if done == 1 else None, modelled.get(name)))
        if progress is not None:
            progress(done, len(told))
    return results
