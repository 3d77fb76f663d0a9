"""Fused blocks of a program on the gateware, image by image, beside the integer machine and the cycle model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from predfuse.arrays import ImageArray
from predfuse.errors import InputError, PredfuseError
from predfuse.hardware.cycle.archon.chains import chains
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.machine import PreparedNetwork, prepare, run_archon
from predfuse.hardware.cycle.archon.sequence.schedule import Clock
from predfuse.hardware.cycle.simulate import masks_of
from predfuse.hardware.merged_groups import merged_block
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


@dataclass(frozen=True, eq=False)
class Told:
    """What the global buffer is filled with for a chain of fused blocks.

    Attributes:
        layers: Names of the blocks.
        images: Of the global buffer in the order in which they come, for one input after the other.
    """

    layers: tuple[str, ...]
    images: tuple[Image, ...]


def prepared_for(program: Program, spec: ArchonSpec, machine: Machine) -> PreparedNetwork | None:
    """A program as a simulation at cycle fidelity has it; None on a machine that is not charged for gateware.

    Args:
        program: Compiled.
        spec: The machine.
        machine: Its gateware, maybe with other memories.

    Raises:
        InputError: The gateware does not hold a fused block.
    """
    if spec.design.streams != "gateware":
        return None
    prepared = prepare(program, spec, machine)
    for node in program.fused_blocks():
        if node.name in prepared.reasons:
            raise InputError(f"layer {node.name}", prepared.reasons[node.name], "use a larger machine")
        if (error := prepared.blocks[node.name].untimed) is not None:
            raise error
    return prepared


def chain_images(
    program: Program, images: ImageArray, machine: Machine, prepared: PreparedNetwork | None = None
) -> list[Told]:
    """What the global buffer is filled with for every chain of fused blocks, each block fed what the integer machine
    feeds it: for one image after the other.

    Args:
        program: Compiled.
        images: ``[N, C, H, W]``, as :func:`predfuse.integer.run.run_program` takes them.
        machine: The gateware.
        prepared: The program as a simulation has it, by which it is known which feature maps stay in the global buffer;
            None: all of them.

    Raises:
        InputError: There is no fused block, or the gateware does not hold one.
    """
    blocks = {node.name: node for node in program.fused_blocks()}
    if not blocks:
        raise InputError(program.name, "has no fused block", "compile a network with predictors")
    if prepared is not None:
        blocks = {name: merged_block(node, prepared.blocks[name].work.merged_groups) for name, node in blocks.items()}
    shapes = program.shapes()
    runs = chains(workload(program), blocks) if prepared is None else prepared.runs
    plans = [
        plan_chain([(blocks[name], shapes[blocks[name].inputs[0]]) for name in run.names], machine, run.reads)
        for run in runs
    ]
    wanted = {name for node in blocks.values() for name in (node.name, node.inputs[0])}
    values = run_program(program, images, keep=wanted).values
    return [
        Told(
            run.names,
            tuple(
                image
                for number in range(len(images))
                for image in plan.images(
                    [values[node.inputs[0]][number] for node in plan.nodes],
                    [values[node.name][number] for node in plan.nodes],
                    number,
                )
            ),
        )
        for run, plan in zip(runs, plans, strict=True)
    ]


def modelled_cycles(prepared: PreparedNetwork, program: Program, images: ImageArray) -> dict[str, int]:
    """What a simulation at cycle fidelity has for every fused block on some images, without waits for the DRAM.

    Args:
        prepared: The program on its machine.
        program: Compiled.
        images: ``[N, C, H, W]``; how many counts, no cycle depends on their pixels.

    Returns:
        Cycles by block.
    """
    result = run_archon(prepared, next(masks_of(program, images[:1]))).result
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
    count = len(told.layers)
    steps: list[list[Compared]] = [[] for _ in range(count)]
    clocks, planned = [Clock()] * count, [Clock()] * count
    for image, one in zip(told.images, simulator.run(told.images, waves), strict=True):
        if len(one.starts) != len(image.steps):
            layer = told.layers[image.block]
            raise PredfuseError(f"{layer}: the gateware did {len(one.starts)} of {len(image.steps)} steps")
        begun = dict[int, Clock]()
        for step, start in zip(image.steps, one.starts, strict=True):
            begun.setdefault(step.block, start.before)
            for block, compared in compare(step, start, one.pixels):
                steps[block].append(compared)
        _share(clocks, image.block, begun, one.clock)
        _share(planned, image.block, dict(image.blocks), image.planned)
    known = modelled or {}
    rows = zip(told.layers, steps, clocks, planned, strict=True)
    return [BlockResult(layer, tuple(own), clock, plan, known.get(layer)) for layer, own, clock, plan in rows]


def _share(clocks: list[Clock], block: int, begun: Mapping[int, Clock], whole: Clock) -> None:
    """Add the cycles of an image to those of the blocks that it is for.

    Args:
        clocks: Of every block.
        block: That it begins with.
        begun: Where the cycles went before the first step of each block.
        whole: Where all went.
    """
    before = Clock()
    for number, clock in begun.items():
        clocks[block] += clock - before
        block, before = number, clock
    clocks[block] += whole - before


def run_block(images: Sequence[Image], simulator: Simulator) -> BlockResult:
    """Run images for one block from reset on; what every step did.

    Raises:
        PredfuseError: The gateware hangs, or ends with fewer or more steps than it was told.
    """
    return run_chain(Told(("",), tuple(images)), simulator)[0]


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

    Raises:
        InputError: There is no fused block, or the gateware does not hold one.
        PredfuseError: The gateware hangs, or ends with fewer or more steps than it was told.
    """
    prepared = None if spec is None else prepared_for(program, spec, simulator.machine)
    told = chain_images(program, images, simulator.machine, prepared)
    results: list[BlockResult] = []
    modelled = {} if prepared is None else modelled_cycles(prepared, program, images)
    count = len(program.fused_blocks())
    for number, own in enumerate(told):
        results += run_chain(own, simulator, waves if number == 0 else None, modelled)
        if progress is not None:
            progress(len(results), count)
    return results
