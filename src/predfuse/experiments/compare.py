"""Compact networks on a dense machine, the same pruned on a sparse one, fused networks on Archon, side by side.

Two sets of networks. ``shipped``: the trained checkpoints of the package on the shipped test images, the fused network
compiled to integers and run by the integer machine, whose masks the cycles come from. ``published``: the full-size
networks of ICS 2021, calibrated on real images but not trained, so that no accuracy is stated.

At ``cycle`` fidelity the dense and sparse machines also stand with as many PEs as this project's Archon has, and with
as many as its area holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from predfuse.errors import InputError
from predfuse.experiments.contenders import (
    COMPILE_IMAGES,
    SHIPPED_RIVAL,
    SHIPPED_RUN,
    Contender,
    Lineup,
    Say,
    published,
    trained,
)
from predfuse.hardware.area import total_area_um2
from predfuse.hardware.closed_form.simulate import PAPER, simulate
from predfuse.hardware.cycle.archon.machine import prepare, run_archon
from predfuse.hardware.cycle.eyeriss.machine import run_eyeriss
from predfuse.hardware.cycle.run import CYCLE, CycleRun
from predfuse.hardware.result import Simulation, SimulationResult
from predfuse.hardware.spec import AcceleratorSpec, ArchonSpec, EyerissSpec, archon_for, load_spec
from predfuse.training.runs import load_run, require_same_data

NetworkSet = Literal["shipped", "published"]
Fidelity = Literal["paper", "cycle"]

NOT_EQUAL_TERMS = (
    "not on equal terms: the sizes of archon were searched, those of the dense and sparse machines are as published; "
    "at equal PEs and equal area they got PEs and nothing else; rivals sized as freely take back most of the lead "
    "(docs/archon.md)"
)
"""What a reader of any row of an Archon of this project beside the dense and sparse machines must know."""

DENSE, SPARSE, PUBLISHED_ARCHON = "eyeriss-dense", "eyeriss-sparse", "archon-ics21"


@dataclass(frozen=True)
class Machine:
    """One network on one machine.

    Attributes:
        role: ``dense``, ``sparse`` or ``fused``.
        scale: ``as published``, ``shipped``, ``equal PEs`` or ``equal area``.
        contender: The network.
        spec: The machine.
        costs: Of one image, the mean over all.
        result: Of the first image, by layer and stage.
        run: Of the first image, with its timeline; None at ``paper`` fidelity.
    """

    role: str
    scale: str
    contender: Contender
    spec: AcceleratorSpec
    costs: Simulation
    result: SimulationResult
    run: CycleRun | None = None

    @property
    def area_um2(self) -> float:
        """Of the whole machine, the mask buffer included (um2)."""
        return total_area_um2(self.spec, with_mask_buffer=True)


@dataclass(frozen=True)
class CompareResult:
    """Everything a comparison measured.

    Attributes:
        networks: Which set.
        fidelity: ``paper`` or ``cycle``.
        images: Images run.
        source: What they are.
        machines: In order; the first is the dense machine, the second the sparse one, both as published.
        notes: What the reader must know.
    """

    networks: NetworkSet
    fidelity: Fidelity
    images: int
    source: str
    machines: tuple[Machine, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def dense(self) -> Machine:
        """The dense machine as published."""
        return self.machines[0]

    @property
    def sparse(self) -> Machine:
        """The sparse machine as published."""
        return self.machines[1]

    @property
    def best(self) -> Machine:
        """The machine to quote: the first fused network on this project's Archon, else on the published one.

        Of the published networks that is the hardest case, with a shift in every channel as training leaves them.
        """
        fused = [machine for machine in self.machines if machine.role == "fused"]
        return next((machine for machine in fused if machine.scale == "shipped"), fused[0])

    def speedup(self, machine: Machine, over: Machine) -> float:
        """Cycles of ``over`` per cycle of ``machine``."""
        return over.costs.total_cycles / machine.costs.total_cycles

    def as_json(self) -> dict[str, Any]:
        """Plain values, every number with its unit in the name."""
        return {
            "networks": self.networks,
            "fidelity": self.fidelity,
            "images": self.images,
            "image_source": self.source,
            **self._ratios(self.best),
            "machines": [self._machine(machine) for machine in self.machines],
            "notes": list(self.notes),
        }

    def _ratios(self, machine: Machine) -> dict[str, float]:
        return {
            "speedup_over_dense": self.speedup(machine, self.dense),
            "speedup_over_sparse": self.speedup(machine, self.sparse),
            "energy_ratio_to_dense": machine.costs.total_energy_uj / self.dense.costs.total_energy_uj,
        }

    def _machine(self, machine: Machine) -> dict[str, Any]:
        survivors = machine.contender.survivors
        return {
            "network": machine.contender.label,
            "accelerator": machine.spec.name,
            "fidelity": self.fidelity,
            "role": machine.role,
            "scale": machine.scale,
            "accuracy": machine.contender.accuracy,
            "total_cycles": machine.costs.total_cycles,
            "compute_cycles": machine.costs.compute_cycles,
            "stall_cycles": machine.costs.stall_cycles,
            "fastest_image_cycles": machine.costs.fastest_cycles,
            "slowest_image_cycles": machine.costs.slowest_cycles,
            "milliseconds": machine.spec.milliseconds(machine.costs.total_cycles),
            "energy_uj": machine.costs.total_energy_uj,
            "area_um2": machine.area_um2,
            "pes": machine.spec.array.pes,
            "survivors_expand": survivors[0] if survivors else None,
            "survivors_depthwise": survivors[1] if survivors else None,
            **self._ratios(machine),
            "cycles_by_stage": stage_cycles(machine.result),
            "energy_by_component_uj": {name: pj * 1e-6 for name, pj in machine.result.energy_pj.items()},
        }


def stage_cycles(result: SimulationResult) -> dict[str, int]:
    """Compute cycles by stage, and all stalls."""
    cycles: dict[str, int] = {}
    for row in result.rows:
        cycles[row.stage] = cycles.get(row.stage, 0) + row.compute_cycles
    return {**cycles, "stall": result.stall_cycles}


def compare(
    networks: NetworkSet = "shipped",
    fidelity: Fidelity = "cycle",
    images: int = 100,
    *,
    root: Path | None = None,
    progress: Say | None = None,
    run: Path | None = None,
    against: Path | None = None,
) -> CompareResult:
    """Load or make the networks and run the comparison.

    Args:
        networks: ``shipped`` or ``published``.
        fidelity: ``paper`` or ``cycle``; at ``paper`` fidelity only the published machines stand.
        images: How many test images; the published networks take at most a few.
        root: Where data sets lie.
        progress: Told what is being done.
        run: Training run of the fused network, in place of the shipped one.
        against: Training run of the compact network on dense and sparse machines, likewise.

    Raises:
        InputError: An unknown set or fidelity, runs beside published networks or on different data, or a checkpoint
            that is not there.
    """
    for name, value, known in (("networks", networks, NetworkSet), ("fidelity", fidelity, Fidelity)):
        if value not in get_args(known):
            raise InputError(name, f"is {value!r}", f"use {' or '.join(get_args(known))}")
    if images < 1:
        raise InputError("images", f"is {images}", "use 1 or more")
    say = progress or (lambda text: None)
    if networks == "published":
        if run is not None or against is not None:
            raise InputError("networks", "published networks come without training runs", "leave out one of them")
        contenders = published(images, root, say)
    else:
        of_run = load_run(run or SHIPPED_RUN, predictor=True)
        of_rival = load_run(against or SHIPPED_RIVAL, predictor=False)
        require_same_data(of_run, of_rival)
        dataset = of_run.test_images(max(images, COMPILE_IMAGES), root)
        contenders = trained(of_run, of_rival, dataset, images, say)
    return compare_lineup(contenders, networks, fidelity, say)


def compare_lineup(contenders: Lineup, networks: NetworkSet, fidelity: Fidelity, say: Say) -> CompareResult:
    """Run networks that are at hand on the machines made for them."""
    rivals, notes = (contenders.dense, contenders.sparse), contenders.notes
    machines = [
        measure(role, "as published", contender, load_spec(name), fidelity, say)
        for role, contender, name in zip(("dense", "sparse"), rivals, (DENSE, SPARSE), strict=True)
    ]
    published_archon = load_spec(PUBLISHED_ARCHON)
    for contender in contenders.fused:
        if fidelity == CYCLE and (largest := contender.network.largest_predictor_weight) > 1:
            what = f"has predictor weights up to {largest}: {published_archon.name} cannot run it"
            notes += (f"{contender.label} {what}",)
        else:
            machines.append(measure("fused", "as published", contender, published_archon, fidelity, say))
    if fidelity == CYCLE:  # closed forms would leave out all that this project's machine was designed for
        archons = [archon_for(contender.network) for contender in contenders.fused]
        machines += [
            measure("fused", "shipped", contender, spec, fidelity, say)
            for contender, spec in zip(contenders.fused, archons, strict=True)
        ]
        machines += _scaled(rivals, archons[0], say)
        notes += (NOT_EQUAL_TERMS,)
    return CompareResult(networks, fidelity, contenders.images, contenders.source, tuple(machines), notes)


def measure(
    role: str, scale: str, contender: Contender, spec: AcceleratorSpec, fidelity: Fidelity, say: Say
) -> Machine:
    """Run one network on one machine, once for every image it has masks of."""
    say(f"{contender.label} on {spec.name}")
    if fidelity == PAPER:
        result = simulate(contender.network, spec)
        return Machine(role, scale, contender, spec, Simulation((result,)), result)
    if isinstance(spec, EyerissSpec):
        runs = [run_eyeriss(contender.network, spec)]
    else:
        prepared = prepare(contender.program or contender.network, spec)
        runs = [run_archon(prepared, masks) for masks in contender.masks]
    return Machine(role, scale, contender, spec, Simulation(tuple(run.result for run in runs)), runs[0].result, runs[0])


def _scaled(rivals: tuple[Contender, Contender], archon: ArchonSpec, say: Say) -> Iterator[Machine]:
    area = total_area_um2(archon, with_mask_buffer=True)
    for role, contender, name in zip(("dense", "sparse"), rivals, (DENSE, SPARSE), strict=True):
        spec = load_spec(name)
        assert isinstance(spec, EyerissSpec)
        for scale, pes in (("equal PEs", archon.array.pes), ("equal area", pes_in_area(spec, area))):
            machines = [measure(role, scale, contender, grid, "cycle", say) for grid in grids(spec, pes)]
            yield min(machines, key=lambda machine: machine.costs.total_cycles * machine.costs.total_energy_uj)


def grids(spec: EyerissSpec, pes: int) -> list[EyerissSpec]:
    """The machine with as many PEs as whole columns make of ``pes``, in grids of its rows and of one row less."""
    found = []
    for rows in (spec.array.rows, spec.array.rows - 1):
        columns = max(1, pes // rows)
        array = spec.array.model_copy(update={"rows": rows, "columns": columns})
        found.append(spec.model_copy(update={"name": f"{spec.name}-{rows}x{columns}", "array": array}))
    return found


def pes_in_area(spec: EyerissSpec, area_um2: float) -> int:
    """PEs that fit ``area_um2`` beside the machine's global buffer.

    Raises:
        InputError: The area does not even hold the buffer and one row.
    """
    each = (total_area_um2(spec) - spec.area_um2.global_buffer) / spec.array.pes
    pes = int((area_um2 - spec.area_um2.global_buffer) // each)
    if pes < spec.array.rows:
        raise InputError("area", f"{area_um2:,.0f} um2 do not hold {spec.name}", "give more")
    return pes
