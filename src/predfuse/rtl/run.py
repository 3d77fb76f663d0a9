"""Fused blocks of a program on the gateware, image by image, beside the integer machine and the cycle model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from predfuse.arrays import ImageArray
from predfuse.errors import InputError, PredfuseError
from predfuse.hardware.cycle.archon.chains import chains
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.machine import prepare, run_archon
from predfuse.hardware.cycle.archon.sequence.schedule import Clock
from predfuse.hardware.cycle.simulate import masks_of
from predfuse.hardware.spec import ArchonSpec
from predfuse.hardware.workload import workload
from predfuse.integer.program import Program
from predfuse.integer.run import run_program
from predfuse.rtl.image import Image
from predfuse.rtl.simulator import Simulator
from predfuse.rtl.starts import Compared, compare
from predfuse.rtl.steps import plan_chain


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


Told = list[tuple[str, Image]]
"""Images of the global buffer in the order in which they come, with the block that each is for."""


def chain_images(program: Program, images: ImageArray, machine: Machine) -> list[Told]:
    """What the global buffer is filled with for every chain of fused blocks, each block fed what the integer machine
    feeds it: for one image after the other, block by block.

    Args:
        program: Compiled.
        images: ``[N, C, H, W]``, as :func:`predfuse.integer.run.run_program` takes them.
        machine: The gateware.

    Raises:
        InputError: There is no fused block, or the gateware does not hold one.
    """
    blocks = {node.name: node for node in program.fused_blocks()}
    if not blocks:
        raise InputError(program.name, "has no fused block", "compile a network with predictors")
    shapes = program.shapes()
    plans = [
        plan_chain([(blocks[name], shapes[blocks[name].inputs[0]]) for name in chain], machine)
        for chain in chains(workload(program), blocks)
    ]
    wanted = {name for node in blocks.values() for name in (node.name, node.inputs[0])}
    values = run_program(program, images, keep=wanted).values
    return [
        [
            (plan.node.name, image)
            for number in range(len(images))
            for plan in chain
            for image in plan.images(values[plan.node.inputs[0]][number], values[plan.node.name][number], number)
        ]
        for chain in plans
    ]


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


def run_chain(
    told: Told, simulator: Simulator, waves: Path | None = None, modelled: Mapping[str, int] | None = None
) -> list[BlockResult]:
    """Run images of the global buffer from reset on; what every step did, block by block.

    Raises:
        PredfuseError: The gateware hangs, or ends with fewer or more steps than it was told.
    """
    steps: dict[str, list[Compared]] = {layer: [] for layer, _ in told}
    clock, planned = dict.fromkeys(steps, Clock()), dict.fromkeys(steps, Clock())
    ran = simulator.run([image for _, image in told], waves)
    for (layer, image), one in zip(told, ran, strict=True):
        if len(one.starts) != len(image.steps):
            raise PredfuseError(f"{layer}: the gateware did {len(one.starts)} of {len(image.steps)} steps")
        steps[layer] += [compare(step, start, one.pixels) for step, start in zip(image.steps, one.starts, strict=True)]
        clock[layer] += one.clock
        planned[layer] += image.planned
    known = modelled or {}
    return [
        BlockResult(layer, tuple(own), clock[layer], planned[layer], known.get(layer)) for layer, own in steps.items()
    ]


def run_block(images: Sequence[Image], simulator: Simulator) -> BlockResult:
    """Run images for one block from reset on; what every step did.

    Raises:
        PredfuseError: The gateware hangs, or ends with fewer or more steps than it was told.
    """
    return run_chain([("", image) for image in images], simulator)[0]


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
        progress: Called behind every chain with how many blocks are done, and of how many.
        waves: File for the waveforms of the first chain of blocks.
    """
    told = chain_images(program, images, simulator.machine)
    results: list[BlockResult] = []
    modelled = {} if spec is None else modelled_cycles(program, images, spec, simulator.machine)
    count = len(program.fused_blocks())
    for number, own in enumerate(told):
        results += run_chain(own, simulator, waves if number == 0 else None, modelled)
        if progress is not None:
            progress(len(results), count)
    return results
