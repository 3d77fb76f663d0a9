"""What a network costs on a machine, and what a fused one gains over a rival: parts of a comparison on equal terms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from predfuse.experiments.confidence import Accuracy
from predfuse.experiments.contenders import Contender
from predfuse.hardware.result import Simulation
from predfuse.hardware.spec import AcceleratorSpec, EyerissSpec

EQUAL_AREA = 1.1
"""Machines whose areas differ by no more than this factor stand beside each other."""


@dataclass(frozen=True)
class Pair:
    """A fused network on an Archon beside a rival on another machine.

    Attributes:
        network: The fused one.
        machine: What it runs on.
        area_mm2: Area of that machine, its mask buffer included.
        rival_network: What stands against it: the same unfused and pruned, or other networks.
        rival_machine: What those run on.
        rival_area_mm2: Area of that machine.
        dram_bits_per_cycle: Bandwidth of both; None where it has no limit.
        cycles: Of one image, the mean over several.
        rival_cycles: The rival's; at equal accuracy, where the rivals are several networks.
        energy_uj: Of one image.
        rival_energy_uj: The rival's.
        terms: ``same network``; else how the rival's costs were brought to the accuracy of the fused network.
        accuracy: Of the fused network on the whole test set; None where it was not trained.
        rival_accuracies: Of the rivals.
    """

    network: str
    machine: str
    area_mm2: float
    rival_network: str
    rival_machine: str
    rival_area_mm2: float
    dram_bits_per_cycle: int | None
    cycles: float
    rival_cycles: float
    energy_uj: float
    rival_energy_uj: float
    terms: str
    accuracy: Accuracy | None = None
    rival_accuracies: tuple[Accuracy, ...] = ()

    @property
    def speedup(self) -> float:
        """Cycles of the rival per cycle of the fused network."""
        return self.rival_cycles / self.cycles

    @property
    def energy_ratio(self) -> float:
        """Energy of the fused network over the rival's."""
        return self.energy_uj / self.rival_energy_uj

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        accuracies = [accuracy.as_json() for accuracy in self.rival_accuracies]
        return {
            **self.__dict__,
            "accuracy": self.accuracy and self.accuracy.as_json(),
            "rival_accuracies": accuracies,
            "speedup": self.speedup,
            "energy_ratio": self.energy_ratio,
        }


@dataclass(frozen=True, eq=False)
class Cost:
    """One network on one machine.

    Attributes:
        contender: The network.
        spec: The machine.
        area_mm2: Of the machine.
        budget_mm2: The area it was searched for; its own where it was not.
        costs: Of one image.
    """

    contender: Contender
    spec: AcceleratorSpec
    area_mm2: float
    budget_mm2: float
    costs: Simulation

    @property
    def product(self) -> float:
        """Energy times cycles."""
        return self.costs.total_energy_uj * self.costs.total_cycles

    @property
    def estimated_blocks(self) -> list[str]:
        """Fused blocks whose time is estimated, for the machine's gateware does not hold them."""
        return [entry.node for entry in self.costs.ledger if entry.status == "fused" and entry.reason]

    @property
    def rank(self) -> tuple[bool, float]:
        """The smallest of a kind is the best: machines whose gateware holds the network first, then by product."""
        return bool(self.estimated_blocks), self.product

    def as_json(self) -> dict[str, Any]:
        """Plain values: what runs where, what it gets right, what one image costs."""
        tested = self.contender.tested
        return {
            "network": self.contender.label,
            "machine": self.spec.name,
            "kind": self.spec.kind,
            "schedule": self.spec.schedule if isinstance(self.spec, EyerissSpec) else "fused",
            "area_mm2": self.area_mm2,
            "accuracy": tested and tested.as_json(),
            "cycles": self.costs.total_cycles,
            "energy_uj": self.costs.total_energy_uj,
        }

    def stands_beside(self, other: Cost) -> bool:
        """Whether both machines are of about the same area and have the same bandwidth."""
        near = abs(math.log(self.budget_mm2 / other.budget_mm2)) <= math.log(EQUAL_AREA)
        return near and self.spec.dram_bits_per_cycle == other.spec.dram_bits_per_cycle
