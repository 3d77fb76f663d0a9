"""The published tables of ICS 2021 done again: every layer of every network on every machine.

Networks are built from their channel lists with initialised weights, pruned by magnitude to the published densities.
The dense and sparse machines follow the published tile sizes where those are known; the rest of each mapping is found.
Cycles and energies are worked out twice: ``as published``, with the shapes the published tables have (slips included),
and ``corrected``, with the shapes the networks have.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from predfuse.experiments.published_figures import Published, Slip, published
from predfuse.hardware.area import area_items, area_without_mask_buffer_um2
from predfuse.hardware.closed_form.simulate import simulate_workload
from predfuse.hardware.energy import COMPONENTS
from predfuse.hardware.pruning import prune_blocks
from predfuse.hardware.result import SimulationResult
from predfuse.hardware.spec import load_spec
from predfuse.hardware.workload import Workload, workload
from predfuse.models import network

logger = logging.getLogger(__name__)

SPEC_OF = {"dense": "eyeriss-dense", "sparse": "eyeriss-sparse", "archon": "archon-ics21"}
"""Specification by the name of the machine in the published tables."""

COMPACT, FUSED = ("dense", "sparse"), ("archon",)
NETWORKS: dict[str, tuple[str, ...]] = {
    "mobilenetv2": COMPACT,
    "mobilenetv2-fused": FUSED,
    "fusionet": FUSED,
    "mnasnet": COMPACT,
    "mnasnet-fused": FUSED,
    "shufflenet": COMPACT,
    "shufflenet-fused": FUSED,
}
"""Machines each registered network is simulated on."""

AGAINST = {
    "mobilenetv2-fused": "mobilenetv2",
    "fusionet": "mobilenetv2",
    "mnasnet-fused": "mnasnet",
    "shufflenet-fused": "shufflenet",
}
"""The compact network each fused network is compared with."""

CIFAR100_SUFFIX = "-cifar100"
CLASSES = {"": 10, CIFAR100_SUFFIX: 100}


@dataclass(frozen=True)
class Row:
    """One stage of one layer; published figures are None where none are at hand.

    Attributes:
        network: Registered name, with ``-cifar100`` for 100 classes.
        layer: As in the published tables.
        accelerator: ``dense``, ``sparse`` or ``archon``.
        stage: As in the published tables.
        published_cycles: Published.
        cycles: Ours, for the shape the published table has.
        corrected_cycles: Ours, for the shape the network has.
        published_energy_uj: Published (uJ).
        energy_uj: Ours, for the shape the published table has (uJ).
        corrected_energy_uj: Ours, for the shape the network has (uJ).
        mapping: Which dimension lies where.
        slip: What is wrong with the published row, if anything.
    """

    network: str
    layer: str
    accelerator: str
    stage: str
    published_cycles: int | None
    cycles: int
    corrected_cycles: int
    published_energy_uj: float | None
    energy_uj: float
    corrected_energy_uj: float
    mapping: str
    slip: str

    @property
    def cycles_ratio(self) -> float | None:
        """Ours over published."""
        return self.cycles / self.published_cycles if self.published_cycles else None

    @property
    def energy_ratio(self) -> float | None:
        """Ours over published."""
        return self.energy_uj / self.published_energy_uj if self.published_energy_uj else None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "cycles_ratio": self.cycles_ratio, "energy_ratio": self.energy_ratio}


@dataclass(frozen=True)
class Total:
    """One network on one machine.

    Attributes:
        network: As in :class:`Row`.
        accelerator: As in :class:`Row`.
        published_cycles: Published.
        cycles: Ours, for the published shapes.
        corrected_cycles: Ours, for the network's shapes.
        corrected_by_slip: Ours with a single slip corrected, by layer.
        published_energy_uj: Sum of the published rows (uJ).
        energy_uj: Ours, for the published shapes (uJ).
        corrected_energy_uj: Ours, for the network's shapes (uJ).
        energy_by_component_uj: Ours, for the published shapes (uJ).
        milliseconds: Corrected cycles at the clock of the specification (ms).
    """

    network: str
    accelerator: str
    published_cycles: int | None
    cycles: int
    corrected_cycles: int
    corrected_by_slip: dict[str, int]
    published_energy_uj: float | None
    energy_uj: float
    corrected_energy_uj: float
    energy_by_component_uj: dict[str, float]
    milliseconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Headline:
    """How much faster a fused network is on Archon than a compact one on the dense and sparse machines.

    Attributes:
        against: The compact network.
        dense_speedup: Dense over Archon cycles, for the published shapes.
        sparse_speedup: Sparse over Archon cycles; the sparse cycles are the published ones, which belong to the
            authors' trained weights, where published, else the model's.
        sparse_cycles_from: ``published`` or ``model``.
        model_sparse_speedup: The same with the model's sparse cycles for initialised weights.
        corrected: Speedups with single slips corrected, by layer, and ``all`` of them (``all`` uses the model's
            sparse cycles).
        published_dense_speedup: Published, if any.
        published_sparse_speedup: Published, if any.
    """

    against: str
    dense_speedup: float
    sparse_speedup: float
    sparse_cycles_from: str
    model_sparse_speedup: float
    corrected: dict[str, dict[str, float]]
    published_dense_speedup: float | None
    published_sparse_speedup: float | None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))


@dataclass(frozen=True)
class AreaTotal:
    """Area of one machine, ours by component and in total, and published (um2)."""

    accelerator: str
    items: dict[str, float]
    area_um2: float
    published_area_um2: float


@dataclass(frozen=True)
class Reproduction:
    """Everything :func:`reproduce` finds."""

    source: str
    rows: tuple[Row, ...]
    totals: tuple[Total, ...]
    headline: dict[str, Headline]
    areas: tuple[AreaTotal, ...]
    slips: tuple[Slip, ...]
    remarks: tuple[str, ...]

    def total(self, network: str, accelerator: str) -> Total:
        """The total of one network on one machine."""
        return next(t for t in self.totals if (t.network, t.accelerator) == (network, accelerator))

    def as_json(self) -> dict[str, Any]:
        """Plain values, every number with its unit in the name."""
        return {
            "source": self.source,
            "rows": [row.as_json() for row in self.rows],
            "totals": [total.as_json() for total in self.totals],
            "headline": {network: headline.as_json() for network, headline in self.headline.items()},
            "areas": [dict(vars(area)) for area in self.areas],
            "slips": [dict(vars(slip)) for slip in self.slips],
            "remarks": list(self.remarks),
        }


def reproduce(seed: int = 0) -> Reproduction:
    """Every network on its machines, beside the published figures.

    Args:
        seed: Of the initial weights; matters to the sparse machine only.
    """
    facts = published()
    rows: list[Row] = []
    totals: list[Total] = []
    for suffix, classes in CLASSES.items():
        for name, accelerators in NETWORKS.items():
            work = _pruned_workload(name, classes, seed)
            for accelerator in accelerators:
                logger.info("%s%s on %s", name, suffix, accelerator)
                case_rows, total = _case(facts, work, name, suffix, accelerator)
                rows += case_rows
                totals.append(total)
    return Reproduction(
        source=facts.source,
        rows=tuple(rows),
        totals=tuple(totals),
        headline=dict(_headlines(facts, totals)),
        areas=tuple(_areas(facts)),
        slips=facts.slips,
        remarks=facts.remarks,
    )


def _pruned_workload(name: str, classes: int, seed: int) -> Workload:
    return workload(prune_blocks(network(name, seed, {"num_classes": classes})))


def _case(facts: Published, work: Workload, name: str, suffix: str, accelerator: str) -> tuple[list[Row], Total]:
    """Rows and total of one network on one machine.

    Published figures at hand are those for 10 classes. Slips are taken to be in the tables for 100 classes as well,
    which differ in the classifier only.
    """
    spec = load_spec(SPEC_OF[accelerator])
    slips = [slip for slip in facts.slips if slip.network == name]
    tiles = facts.tiles.get(name, {})

    def run(applied: Iterable[Slip]) -> SimulationResult:
        changed = work
        for slip in applied:
            changed = changed.with_operations(slip.as_published)
        return simulate_workload(changed, spec, tiles=tiles)

    corrected = run(())
    as_published = run(slips) if slips else corrected
    known = {
        (stage.layer, stage.stage): stage
        for stage in facts.stages
        if (stage.network, stage.accelerator) == (name, accelerator) and not suffix
    }
    wrong = {slip.layer: slip.what for slip in slips}
    rows = []
    for ours, right in zip(as_published.rows, corrected.rows, strict=True):
        theirs = known.get((ours.layer, ours.stage))
        rows.append(
            Row(
                network=name + suffix,
                layer=ours.layer,
                accelerator=accelerator,
                stage=ours.stage,
                published_cycles=theirs.cycles if theirs else None,
                cycles=ours.total_cycles,
                corrected_cycles=right.total_cycles,
                published_energy_uj=theirs.energy_uj if theirs else None,
                energy_uj=ours.total_energy_uj,
                corrected_energy_uj=right.total_energy_uj,
                mapping=ours.mapping,
                slip=wrong.get(ours.layer, ""),
            )
        )
    total = Total(
        network=name + suffix,
        accelerator=accelerator,
        published_cycles=facts.totals.get((name, accelerator)) if not suffix else None,
        cycles=as_published.total_cycles,
        corrected_cycles=corrected.total_cycles,
        corrected_by_slip={
            slip.layer: run(other for other in slips if other is not slip).total_cycles for slip in slips
        },
        published_energy_uj=sum(stage.energy_uj for stage in known.values()) if known else None,
        energy_uj=as_published.total_energy_uj,
        corrected_energy_uj=corrected.total_energy_uj,
        energy_by_component_uj={name: as_published.energy_pj[name] * 1e-6 for name in COMPONENTS},
        milliseconds=corrected.milliseconds,
    )
    return rows, total


def _headlines(facts: Published, totals: list[Total]) -> Iterator[tuple[str, Headline]]:
    by_case = {(total.network, total.accelerator): total for total in totals}
    stated = {headline.network: headline for headline in facts.headlines}
    for suffix in CLASSES:
        for fused, against in AGAINST.items():
            archon = by_case[fused + suffix, "archon"]
            dense, sparse = by_case[against + suffix, "dense"], by_case[against + suffix, "sparse"]
            sparse_cycles = sparse.published_cycles or sparse.cycles
            corrected = {
                layer: {"dense_speedup": dense.cycles / cycles, "sparse_speedup": sparse_cycles / cycles}
                for layer, cycles in archon.corrected_by_slip.items()
            }
            corrected["all"] = {
                "dense_speedup": dense.corrected_cycles / archon.corrected_cycles,
                "sparse_speedup": sparse.corrected_cycles / archon.corrected_cycles,
            }
            theirs = stated.get(fused) if not suffix else None
            yield (
                fused + suffix,
                Headline(
                    against=against + suffix,
                    dense_speedup=dense.cycles / archon.cycles,
                    sparse_speedup=sparse_cycles / archon.cycles,
                    sparse_cycles_from="published" if sparse.published_cycles else "model",
                    model_sparse_speedup=sparse.cycles / archon.cycles,
                    corrected=corrected,
                    published_dense_speedup=theirs.dense_speedup if theirs else None,
                    published_sparse_speedup=theirs.sparse_speedup if theirs else None,
                ),
            )


def _areas(facts: Published) -> Iterator[AreaTotal]:
    for name, stated in facts.areas_um2.items():
        spec = load_spec(name)
        items = {item.component: item.area_um2 for item in area_items(spec)}
        yield AreaTotal(name, items, area_without_mask_buffer_um2(spec), stated)
