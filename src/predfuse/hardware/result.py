"""What a simulation returns: a row per layer and stage, totals, and a ledger of every node of the network."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from predfuse.hardware.energy import COMPONENTS, Actions

Status = Literal["fused", "plain", "unsupported"]


@dataclass(frozen=True)
class StageResult:
    """One stage of one layer.

    Attributes:
        layer: Name of the layer.
        stage: ``expand_or_layer``, ``depthwise``, ``project``; on Archon ``main``, ``predict_expand``,
            ``predict_depthwise``, ``fusion_overhead``.
        compute_cycles: Cycles in which the array works (of ``fusion_overhead``: 0, it happens during ``main``).
        stall_cycles: Cycles in which it waits for data; always 0 at ``paper`` fidelity.
        macs: Multiplications and additions the stage stands for, skipped ones included (count).
        utilisation: Share of the array's peak used during ``compute_cycles`` (0..1).
        energy_pj: Energy by component (pJ); see :data:`predfuse.hardware.energy.COMPONENTS`.
        actions: The counts it comes from.
        mapping: Which dimension lies where, in words.
        pes: PEs in use.

    Source: docs/explanation/archon.md, What is charged.
    """

    layer: str
    stage: str
    compute_cycles: int
    stall_cycles: int
    macs: int
    utilisation: float
    energy_pj: dict[str, float]
    actions: Actions
    mapping: str
    pes: int

    @property
    def total_cycles(self) -> int:
        """Compute and stall cycles."""
        return self.compute_cycles + self.stall_cycles

    @property
    def total_energy_uj(self) -> float:
        """Energy of all components (uJ)."""
        return sum(self.energy_pj.values()) * 1e-6


@dataclass(frozen=True)
class LedgerEntry:
    """How one node of the network was simulated, or why not.

    Attributes:
        node: Its name.
        status: ``fused``, ``plain`` or ``unsupported``.
        reason: Why it is not fused, not charged or not supported; empty where there is nothing to say.
    """

    node: str
    status: Status
    reason: str = ""


@dataclass(frozen=True)
class SimulationResult:
    """One image of one network on one machine.

    Attributes:
        network: Name of the network.
        accelerator: Name of the specification.
        fidelity: ``paper`` (closed forms) or ``cycle``; figures of different fidelity must not share a table.
        clock_mhz: Clock of the specification (MHz).
        rows: Stages in order.
        ledger: Every node of the network.
        notes: What the reader must know about the figures.

    Source: docs/explanation/archon.md, What is charged.
    """

    network: str
    accelerator: str
    fidelity: str
    clock_mhz: float
    rows: tuple[StageResult, ...]
    ledger: tuple[LedgerEntry, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def compute_cycles(self) -> int:
        """Cycles in which the array works."""
        return sum(row.compute_cycles for row in self.rows)

    @property
    def stall_cycles(self) -> int:
        """Cycles in which it waits."""
        return sum(row.stall_cycles for row in self.rows)

    @property
    def total_cycles(self) -> int:
        """Cycles of one image."""
        return self.compute_cycles + self.stall_cycles

    @property
    def milliseconds(self) -> float:
        """Time of one image at the clock (ms)."""
        return self.total_cycles / (self.clock_mhz * 1e3)

    @property
    def energy_pj(self) -> dict[str, float]:
        """Energy by component (pJ)."""
        return {name: sum(row.energy_pj[name] for row in self.rows) for name in COMPONENTS}

    @property
    def total_energy_uj(self) -> float:
        """Energy of one image (uJ)."""
        return sum(row.total_energy_uj for row in self.rows)

    def actions_total(self, name: str) -> float:
        """How often one action happens; see :class:`predfuse.hardware.energy.Actions`."""
        return sum(row.actions.as_dict()[name] for row in self.rows)

    def layer_cycles(self) -> dict[str, int]:
        """Cycles by layer."""
        cycles: dict[str, int] = {}
        for row in self.rows:
            cycles[row.layer] = cycles.get(row.layer, 0) + row.total_cycles
        return cycles

    def as_json(self) -> dict[str, Any]:
        """Plain values, every number with its unit in the name."""
        return {
            "network": self.network,
            "accelerator": self.accelerator,
            "fidelity": self.fidelity,
            "clock_mhz": self.clock_mhz,
            "totals": {
                "compute_cycles": self.compute_cycles,
                "stall_cycles": self.stall_cycles,
                "total_cycles": self.total_cycles,
                "milliseconds": self.milliseconds,
                "energy_uj": self.total_energy_uj,
                "energy_by_component_pj": self.energy_pj,
            },
            "rows": [
                {
                    "layer": row.layer,
                    "stage": row.stage,
                    "cycles": row.total_cycles,
                    "compute_cycles": row.compute_cycles,
                    "stall_cycles": row.stall_cycles,
                    "macs": row.macs,
                    "pes": row.pes,
                    "utilisation": row.utilisation,
                    "mapping": row.mapping,
                    "energy_uj": row.total_energy_uj,
                    "energy_by_component_pj": row.energy_pj,
                    "actions": {name: count for name, count in row.actions.as_dict().items() if count},
                }
                for row in self.rows
            ],
            "ledger": [{"node": entry.node, "status": entry.status, "reason": entry.reason} for entry in self.ledger],
            "notes": list(self.notes),
        }

    def with_unsupported(self, layers: dict[str, str]) -> SimulationResult:
        """Add ``layers`` (name: reason) to the ledger as not simulated; all figures stay."""
        entries = (
            LedgerEntry(entry.node, "unsupported", layers[entry.node]) if entry.node in layers else entry
            for entry in self.ledger
        )
        return replace(self, ledger=tuple(entries))


@dataclass(frozen=True)
class Simulation:
    """One network on one machine, for all images it was given: the mean, and the range.

    Attributes:
        results: One for every image, or a single one where images make no difference.

    Source: docs/explanation/archon.md, What is charged.
    """

    results: tuple[SimulationResult, ...]

    @property
    def images(self) -> int:
        """Number of images that were simulated."""
        return len(self.results)

    @property
    def first(self) -> SimulationResult:
        """The result of the first image, with its rows and its ledger."""
        return self.results[0]

    @property
    def network(self) -> str:
        """Name of the network."""
        return self.first.network

    @property
    def accelerator(self) -> str:
        """Name of the specification."""
        return self.first.accelerator

    @property
    def fidelity(self) -> str:
        """``paper`` or ``cycle``."""
        return self.first.fidelity

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader must know about the figures."""
        return self.first.notes

    @property
    def rows(self) -> tuple[StageResult, ...]:
        """Stages of the first image, in order."""
        return self.first.rows

    @property
    def ledger(self) -> tuple[LedgerEntry, ...]:
        """What became of every node; the same for all images."""
        return self.first.ledger

    @property
    def compute_cycles(self) -> int:
        """Cycles in which the array works, the mean over the images (rounded)."""
        return round(statistics.fmean(result.compute_cycles for result in self.results))

    @property
    def stall_cycles(self) -> int:
        """Cycles in which it waits, the mean over the images (rounded so that it adds up)."""
        return self.total_cycles - self.compute_cycles

    @property
    def total_cycles(self) -> int:
        """Cycles of one image, the mean over the images (rounded)."""
        return round(statistics.fmean(result.total_cycles for result in self.results))

    @property
    def fastest_cycles(self) -> int:
        """Cycles of the fastest image."""
        return min(result.total_cycles for result in self.results)

    @property
    def slowest_cycles(self) -> int:
        """Cycles of the slowest image."""
        return max(result.total_cycles for result in self.results)

    @property
    def milliseconds(self) -> float:
        """Time of one image at the clock (ms), the mean over the images."""
        return statistics.fmean(result.milliseconds for result in self.results)

    @property
    def total_energy_uj(self) -> float:
        """Energy of one image (uJ), the mean over the images."""
        return statistics.fmean(result.total_energy_uj for result in self.results)

    def layer_cycles(self) -> dict[str, float]:
        """Cycles by layer, the mean over the images."""
        by_image = [result.layer_cycles() for result in self.results]
        return {layer: statistics.fmean(cycles[layer] for cycles in by_image) for layer in by_image[0]}

    def as_json(self) -> dict[str, Any]:
        """The first image as :meth:`SimulationResult.as_json` gives it, and under ``images`` what all of them take."""
        figures = {
            "count": self.images,
            "mean_cycles": self.total_cycles,
            "fastest_cycles": self.fastest_cycles,
            "slowest_cycles": self.slowest_cycles,
            "mean_energy_uj": self.total_energy_uj,
        }
        return {**self.first.as_json(), "images": figures}
