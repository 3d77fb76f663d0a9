"""The comparison the whole project is about: dense, sparse, fused, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from predfuse.graph.nodes import Network
from predfuse.hardware.area import total_area_um2
from predfuse.hardware.closed_form.simulate import PAPER, simulate
from predfuse.hardware.result import SimulationResult
from predfuse.hardware.spec import AcceleratorSpec, load_spec


@dataclass(frozen=True)
class Contender:
    """One network on one machine.

    Attributes:
        result: Its simulation.
        pes: PEs of the machine.
        area_um2: Area of the machine as published (um2), the mask buffer left out.
        area_with_masks_um2: The same with it (um2).
    """

    result: SimulationResult
    pes: int
    area_um2: float
    area_with_masks_um2: float


@dataclass(frozen=True)
class Comparison:
    """A compact network on the dense machine, its pruned version on the sparse one, a fused network on Archon."""

    dense: Contender
    sparse: Contender
    fused: Contender

    @property
    def dense_speedup(self) -> float:
        """Cycles of the dense machine per cycle of Archon."""
        return self.dense.result.total_cycles / self.fused.result.total_cycles

    @property
    def sparse_speedup(self) -> float:
        """Cycles of the sparse machine per cycle of Archon."""
        return self.sparse.result.total_cycles / self.fused.result.total_cycles

    @property
    def dense_speedup_at_equal_area(self) -> float:
        """:attr:`dense_speedup` as if cycles fell with area: times dense area over Archon's with its mask buffer."""
        return self.dense_speedup * self.dense.area_um2 / self.fused.area_with_masks_um2

    @property
    def sparse_speedup_at_equal_area(self) -> float:
        """:attr:`sparse_speedup` likewise."""
        return self.sparse_speedup * self.sparse.area_um2 / self.fused.area_with_masks_um2

    def as_json(self) -> dict[str, Any]:
        """Plain values, every number with its unit in the name."""
        machines = {"dense": self.dense, "sparse": self.sparse, "fused": self.fused}
        return {
            "fidelity": self.fused.result.fidelity,
            **{
                role: {
                    "network": machine.result.network,
                    "accelerator": machine.result.accelerator,
                    "total_cycles": machine.result.total_cycles,
                    "milliseconds": machine.result.milliseconds,
                    "energy_uj": machine.result.total_energy_uj,
                    "pes": machine.pes,
                    "area_um2": machine.area_um2,
                    "area_with_masks_um2": machine.area_with_masks_um2,
                }
                for role, machine in machines.items()
            },
            "dense_speedup": self.dense_speedup,
            "sparse_speedup": self.sparse_speedup,
            "dense_speedup_at_equal_area": self.dense_speedup_at_equal_area,
            "sparse_speedup_at_equal_area": self.sparse_speedup_at_equal_area,
        }


def compare_paper(
    dense: Network,
    sparse: Network,
    fused: Network,
    dense_spec: AcceleratorSpec | None = None,
    sparse_spec: AcceleratorSpec | None = None,
    fused_spec: AcceleratorSpec | None = None,
) -> Comparison:
    """Simulate the three contenders at ``paper`` fidelity (milliseconds of work).

    Args:
        dense: E.g. ``mobilenetv2-s``.
        sparse: The same network pruned.
        fused: E.g. ``fusionet-s``, pruned, with or without its predictors.
        dense_spec: Default ``eyeriss-dense``.
        sparse_spec: Default ``eyeriss-sparse``.
        fused_spec: Default ``archon-ics21``.

    Raises:
        InputError: A machine cannot run its network.
    """
    return Comparison(
        _contender(dense, dense_spec or load_spec("eyeriss-dense")),
        _contender(sparse, sparse_spec or load_spec("eyeriss-sparse")),
        _contender(fused, fused_spec or load_spec("archon-ics21")),
    )


def _contender(network: Network, spec: AcceleratorSpec) -> Contender:
    result = simulate(network, spec, PAPER)
    return Contender(result, spec.array.pes, total_area_um2(spec), total_area_um2(spec, with_mask_buffer=True))
