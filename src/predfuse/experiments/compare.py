"""Fused networks on Archon beside compact ones on dense and sparse machines: as published, and on equal terms.

Two sets of networks. ``shipped``: trained ones on test images, the fused ones compiled to integers and run by the
integer machine, whose masks the cycles come from. ``published``: the full-size networks of ICS 2021, calibrated on
real images but not trained, so that no accuracy is stated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from predfuse.errors import InputError
from predfuse.experiments.contenders import (
    SHIPPED_RUN,
    Contender,
    Lineup,
    Say,
    load_runs,
    published,
    trained,
)
from predfuse.experiments.equal_terms import AREA_MM2, PUBLISHED_AREA_MM2, EqualTerms, equal_terms, machines
from predfuse.hardware.area import total_area_um2
from predfuse.hardware.closed_form.simulate import PAPER, simulate
from predfuse.hardware.cycle.run import CYCLE, CycleRun
from predfuse.hardware.result import Simulation, SimulationResult
from predfuse.hardware.spec import AcceleratorSpec, load_spec
from predfuse.integer.options import COMPILE_IMAGES

NetworkSet = Literal["shipped", "published"]
Fidelity = Literal["paper", "cycle"]

NOT_EQUAL_TERMS = (
    "machines as published are not on equal terms with archon, whose sizes were searched; rivals searched as freely "
    "take back this lead, and areas as published leave much out (docs/explanation/archon.md)"
)
"""What a reader of any row of an Archon of this project beside the published machines must know."""

DENSE, SPARSE, PUBLISHED_ARCHON, OWN_ARCHON = "eyeriss-dense", "eyeriss-sparse", "archon-ics21", "archon"


@dataclass(frozen=True)
class Machine:
    """One network on one machine.

    Attributes:
        role: ``dense``, ``sparse`` or ``fused``.
        scale: ``as published`` or ``shipped``.
        contender: The network.
        spec: The machine.
        costs: Of one image, the mean over all.
        run: Of the first image, with its timeline; None at ``paper`` fidelity.
    """

    role: str
    scale: str
    contender: Contender
    spec: AcceleratorSpec
    costs: Simulation
    run: CycleRun | None = None

    @property
    def result(self) -> SimulationResult:
        """The result of the first image, by layer and stage."""
        return self.costs.first

    @property
    def area_um2(self) -> float:
        """Area of the whole machine, the mask buffer included (um2)."""
        return total_area_um2(self.spec)


@dataclass(frozen=True)
class CompareResult:
    """Everything a comparison measured.

    Attributes:
        networks: Which set.
        fidelity: ``paper`` or ``cycle``.
        images: Images run.
        source: What they are.
        machines: The published pairs, in order; the first is the dense machine, the second the sparse one.
        notes: What the reader must know.
        equal: The same networks on machines of equal area; None where that was not asked for.
    """

    networks: NetworkSet
    fidelity: Fidelity
    images: int
    source: str
    machines: tuple[Machine, ...]
    notes: tuple[str, ...] = field(default=())
    equal: EqualTerms | None = None

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
            **({} if self.equal is None else self.equal.as_json()),
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
    runs: Sequence[Path | str] = (),
    against: Sequence[Path | str] = (),
    accelerators: Sequence[str] = (),
    tail: bool = False,
    curves: bool = False,
) -> CompareResult:
    """Load or make the networks and run the comparison.

    Args:
        networks: ``shipped`` or ``published``.
        fidelity: ``paper`` or ``cycle``; at ``paper`` fidelity only the published machines stand.
        images: How many test images; the published networks take at most a few.
        root: Where data sets lie.
        progress: Told what is being done.
        runs: Training runs of fused networks, in place of the shipped one.
        against: Training runs of compact networks for dense and sparse machines, likewise.
        accelerators: Machines to stand on equal terms, names or files; default: the searched ones that ship.
        tail: Whether rivals have the 1x1 layers outside their blocks pruned too.
        curves: Whether to go through all areas of the shipped machines and through DRAM bandwidths.

    Raises:
        InputError: An unknown set, fidelity or machine, runs beside published networks or on different data, or a
            checkpoint that is not there.
    """
    for name, value, known in (("networks", networks, NetworkSet), ("fidelity", fidelity, Fidelity)):
        if value not in get_args(known):
            raise InputError(name, f"is {value!r}", f"use {' or '.join(get_args(known))}")
    if images < 1:
        raise InputError("images", f"is {images}", "use 1 or more")
    if fidelity == PAPER and (accelerators or curves):
        raise InputError("fidelity", "is 'paper', which has the published machines only", "use cycle")
    say = progress or (lambda text: None)
    specs = machines(accelerators, curves, PUBLISHED_AREA_MM2 if networks == "published" else AREA_MM2)
    if networks == "published":
        if runs or against:
            raise InputError("networks", "published networks come without training runs", "leave out one of them")
        lineup = published(images, root, say)
    else:
        ours, rivals = load_runs(runs or (SHIPPED_RUN,), against)
        dataset = ours[0].test_images(max(images, COMPILE_IMAGES), root)
        lineup = trained(ours, rivals, dataset, images, say)
    result = compare_lineup(lineup, networks, fidelity, say)
    if fidelity == PAPER or not specs:
        return result
    return on_equal_terms(result, lineup.with_pruned_tails() if tail else lineup, specs, curves, say)


def on_equal_terms(
    result: CompareResult, lineup: Lineup, specs: Sequence[AcceleratorSpec], curves: bool, say: Say
) -> CompareResult:
    """A comparison with what its networks cost on machines of equal area."""
    equal = equal_terms(lineup, specs, curves, say)
    return replace(result, equal=equal, notes=tuple(dict.fromkeys((*result.notes, *lineup.notes, *equal.notes))))


def compare_lineup(lineup: Lineup, networks: NetworkSet, fidelity: Fidelity, say: Say) -> CompareResult:
    """Run networks that are at hand on the published machines and on the Archon of this project."""
    notes = lineup.notes
    found = [
        measure(role, "as published", contender, load_spec(name), fidelity, say)
        for role, contender, name in (("dense", lineup.dense[0], DENSE), ("sparse", lineup.sparse[0], SPARSE))
    ]
    published_archon = load_spec(PUBLISHED_ARCHON)
    for contender in lineup.fused:
        if fidelity == CYCLE and (largest := contender.network.largest_predictor_weight) > 1:
            what = f"has predictor weights up to {largest}: {published_archon.name} cannot run it"
            notes += (f"{contender.label} {what}",)
        else:
            found.append(measure("fused", "as published", contender, published_archon, fidelity, say))
    if fidelity == CYCLE:  # closed forms would leave out all that this project's machine was designed for
        found += [
            measure("fused", "shipped", contender, load_spec(OWN_ARCHON), fidelity, say) for contender in lineup.fused
        ]
        notes += (NOT_EQUAL_TERMS,)
    return CompareResult(networks, fidelity, lineup.images, lineup.source, tuple(found), notes)


def measure(
    role: str, scale: str, contender: Contender, spec: AcceleratorSpec, fidelity: Fidelity, say: Say
) -> Machine:
    """Run one network on one machine, once for every image it has masks of."""
    say(f"{contender.label} on {spec.name}")
    if fidelity == PAPER:
        return Machine(role, scale, contender, spec, Simulation((simulate(contender.network, spec),)))
    runs = contender.runs_on(spec)
    return Machine(role, scale, contender, spec, Simulation(tuple(run.result for run in runs)), runs[0])
