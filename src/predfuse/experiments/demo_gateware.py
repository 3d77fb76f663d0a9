"""The demonstration's run on gateware: one fused block on one image, simulated on the small machine."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from predfuse.arrays import ImageArray
from predfuse.errors import PredfuseError
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.integer.program import Program
from predfuse.rtl.run import BlockResult, chain_images, modelled_cycles, prepared_for, run_chain
from predfuse.rtl.simulator import Simulator

MACHINE = "archon-tiny"


@dataclass(frozen=True)
class GatewareRun:
    """The first fused block of a program on the gateware.

    Attributes:
        machine: What it ran on.
        block: What it did, held against the integer machine and the cycle model.
        seconds: Wall-clock time, without building the machine.
    """

    machine: str
    block: BlockResult
    seconds: float

    def __str__(self) -> str:
        one, wrong = self.block, len(self.block.differences)
        differ = f"{wrong:,} of {len(one.steps):,} steps differ, or cycles of the whole."
        exact = "every output bit is the integer machine's, every cycle the model's"
        return (
            f"Gateware of {self.machine}, simulated: block {one.layer} on one image, {one.list_cycles:,} cycles of"
            f" lists and {one.predict_cycles:,} of predictions in {self.seconds:.1f} s; "
            + (f"{exact}." if one.exact else differ)
        )


def first_block(program: Program, images: ImageArray) -> GatewareRun | str:
    """Run it, or say in one sentence why it cannot run here: tools are missing, or the small machine does not hold it.

    Args:
        program: Compiled.
        images: ``[N, C, H, W]``, as :func:`predfuse.integer.run.run_program` takes them; the first is used.
    """
    spec = load_spec(MACHINE)
    assert isinstance(spec, ArchonSpec)
    try:
        simulator = Simulator(Machine.of(spec))
        started = time.perf_counter()
        prepared = prepared_for(program, spec, simulator.machine)
        whole = chain_images(program, images[:1], simulator.machine, prepared)[0]
        told = replace(whole, images=tuple(one for one in whole.images if one.block == 0))
        modelled = {} if prepared is None else modelled_cycles(prepared, program, images[:1])
    except PredfuseError as error:
        return f"The gateware was not run ({error})."
    block, *_ = run_chain(told, simulator, modelled=modelled)
    return GatewareRun(MACHINE, block, time.perf_counter() - started)
