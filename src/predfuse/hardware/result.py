"""What a simulation returns: a row per layer and stage, totals, and a ledger of every node of the network."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    """What became of one node.

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
