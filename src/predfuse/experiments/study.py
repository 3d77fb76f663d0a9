"""The microarchitecture study: what each choice of an Archon is worth, in cycles, energy and area.

Two parts, both on one network and real masks. The *ladder* goes from the published machine to the shipped ``archon``,
one choice at a time. The *sweep* changes one field of ``archon`` after the other. What no other machine beats in
cycles, energy and area at once is on the Pareto front.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from predfuse.errors import InputError
from predfuse.experiments.calibrated import without_shifts
from predfuse.graph.nodes import Array, Network
from predfuse.hardware.area import total_area_um2
from predfuse.hardware.cycle.archon.machine import prepare, run_archon
from predfuse.hardware.cycle.simulate import mean_costs, predicted_masks
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.hardware.vary import with_fields

BASE = "archon"
PUBLISHED = "archon-ics21"
BANDWIDTH = "dram_bits_per_cycle"

LADDER: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("empty lists, dead channels left out", {"design.skip": "empty"}),
    (
        "prediction and masks on chip",
        {
            "design.predictor_order": "tile",
            "design.gates": "banked",
            "pe.mask_sram_depth": 0,
            "mask_buffer.depth": 3328,
            "mask_buffer.banks": 16,
        },
    ),
    ("four words a buffer access", {"array_words_per_access": 4}),
    ("lists kept in the buffer", {"design.weights": "buffer"}),
    ("fused weights generated", {"design.weights": "generated"}),
    ("8 buffer banks instead of 25", {"global_buffer.banks": 8, "global_buffer.depth": 4096}),
    ("14 adders a PE instead of 6", {"pe.adders": 14}),
    ("two lists share a cycle", {"design.shared_lists": 2}),
    ("dead entries skipped", {"design.skip": "entries"}),
    (
        "gates in lane registers",
        {
            "design.gates": "registers",
            "design.shared_lists": 1,
            "design.skip": "empty",
            "pe.ifmap_regfile_words": 2,
            "design.fill_cycles": 8,
        },
    ),
    ("predictor of its own", {"design.predictor": "dedicated", "pe.adder_split": 2}),
    ("two lists a pixel at once", {"design.parallel_lists": 2, "pe.psum_regfile_words": 16}),
)
"""Choices from the published machine to the shipped one; every row keeps those above it."""

SWEEP: Mapping[str, Sequence[Any]] = {
    "pe.adders": (8, 10, 12, 14, 16, 20),
    "design.parallel_lists": (1, 3, 4),
    "design.structures.lane_registers": (4, 5, 6, 8, 10),
    "design.structures.channel_loads": (4, 6, 9),
    "design.structures.project_row_words": (2, 8),
    "design.structures.predictor_units": (36, 50, 64),
    "design.structures.predictor_inputs": (8, 24, 48),
    "design.structures.predictor_channels": (2, 3),
    "design.structures.input_plane_pixels": (1,),
    "design.structures.gate_writes": (4, 6, 9),
    "design.structures.gate_queue_words": (2, 4, 16),
    "mask_buffer.banks": (7, 10, 14, 20),
    "mask_buffer.depth": (1666, 2380, 4760),
    "global_buffer.banks": (4, 6, 12, 16, 25),
    "dram_bits_per_cycle": (64, 128, 256, 1024),
}
"""Values tried for every field, the others as shipped."""


@dataclass(frozen=True)
class Point:
    """One machine on one network.

    Attributes:
        part: ``published``, ``ladder``, ``shipped``, ``sweep``, or ``bandwidth`` (the shipped machine, another DRAM).
        label: What is different about it.
        total_cycles: Mean over the images.
        stall_cycles: Of them.
        energy_uj: Mean over the images.
        area_um2: With the mask buffer.
        unshifted_cycles: The same with the network's shifts pruned away.
        unshifted_energy_uj: Likewise.
        changes: Fields changed from the shipped machine (sweep) or from the row above (ladder).
        on_front: Whether no other point is at least as good in cycles, energy and area, and better in one.
    """

    part: str
    label: str
    total_cycles: int
    stall_cycles: int
    energy_uj: float
    area_um2: float
    unshifted_cycles: int
    unshifted_energy_uj: float
    changes: Mapping[str, Any]
    on_front: bool = False

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.__dict__, "changes": dict(self.changes)}


@dataclass(frozen=True)
class Study:
    """All points, and what they were measured on.

    Attributes:
        network: Name of the network.
        source: Where its images come from.
        images: How many.
        points: Published machine first, then the ladder, the shipped machine, the sweep.
    """

    network: str
    source: str
    images: int
    points: tuple[Point, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values, every number with its unit in the name."""
        return {
            "network": self.network,
            "images": self.images,
            "image_source": self.source,
            "points": [point.as_json() for point in self.points],
        }


def study(
    network: Network,
    images: Array,
    source: str,
    fields: Iterable[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Study:
    """Measure every machine of the ladder and the sweep.

    Args:
        network: With predictors.
        images: ``[N, C, H, W]`` normalised floats.
        source: What they are.
        fields: Only these fields of the sweep; None is all, nothing is the ladder alone.
        progress: Called with the label of every machine before it is measured.

    Raises:
        InputError: An unknown field, or a network without a fused block.
    """
    chosen = list(SWEEP if fields is None else fields)
    unknown = sorted(set(chosen) - SWEEP.keys())
    if unknown:
        raise InputError(f"field {unknown[0]!r}", "is not swept", f"use some of {', '.join(SWEEP)}")
    measure = _Measure(network, images)
    points = []
    for part, label, spec, changes in _machines(chosen):
        if progress is not None:
            progress(label)
        points.append(measure(part, label, spec, changes))
    return Study(network.name, source, len(images), mark_front(points))


def _machines(fields: Sequence[str]) -> Iterable[tuple[str, str, ArchonSpec, Mapping[str, Any]]]:
    published, shipped = load_spec(PUBLISHED), load_spec(BASE)
    assert isinstance(published, ArchonSpec) and isinstance(shipped, ArchonSpec)
    yield "published", f"{PUBLISHED}, as published", published, {}
    changes = first_rung(published, shipped)
    for label, more in LADDER:
        changes |= more
        yield "ladder", label, with_fields(shipped, changes), more
    yield "shipped", f"{BASE}, as shipped", shipped, {}
    for field in fields:
        for value in SWEEP[field]:
            if _value(shipped, field) != value:
                part = "bandwidth" if field == BANDWIDTH else "sweep"
                label = f"{field.removeprefix('design.').removeprefix('structures.')} {value}"
                yield part, label, with_fields(shipped, {field: value}), {field: value}


def first_rung(published: ArchonSpec, shipped: ArchonSpec) -> dict[str, Any]:
    """Changes that turn the shipped machine into the published one, but for its prices and idle structures."""
    changes: dict[str, Any] = {}
    left = {"name", "description", "source", "area_um2", "energy_pj", "array"}

    def compare(old: Any, new: Any, prefix: str) -> None:
        for name in type(new).model_fields:
            field = f"{prefix}{name}"
            if field in left or name == "structures":
                continue
            value = getattr(new, name)
            if hasattr(type(value), "model_fields"):
                compare(getattr(old, name), value, f"{field}.")
            elif value != getattr(old, name):
                changes[field] = value

    compare(shipped, published, "")
    return changes


def _value(spec: ArchonSpec, field: str) -> Any:
    place: Any = spec
    for name in field.split("."):
        place = getattr(place, name)
    return place


class _Measure:
    """Runs machines on one network and its twin without shifts, the masks found once."""

    def __init__(self, network: Network, images: Array) -> None:
        if all(block.predictor is None for block in network.bottlenecks()):
            raise InputError(f"network {network.name}", "has no block with a predictor", "give a predicted network")
        self._networks = (network, without_shifts(network))
        self._masks = [list(predicted_masks(one, images)) for one in self._networks]

    def __call__(self, part: str, label: str, spec: ArchonSpec, changes: Mapping[str, Any]) -> Point:
        costs = []
        for network, masks in zip(self._networks, self._masks, strict=True):
            prepared = prepare(network, spec)
            costs.append(mean_costs([run_archon(prepared, of_image) for of_image in masks]))
        return Point(
            part=part,
            label=label,
            total_cycles=costs[0].total_cycles,
            stall_cycles=costs[0].stall_cycles,
            energy_uj=costs[0].energy_uj,
            area_um2=total_area_um2(spec, with_mask_buffer=True),
            unshifted_cycles=costs[1].total_cycles,
            unshifted_energy_uj=costs[1].energy_uj,
            changes=dict(changes),
        )


def mark_front(points: Sequence[Point]) -> tuple[Point, ...]:
    """The same points, those on the Pareto front of cycles, energy and area marked; a faster DRAM is no merit."""

    def key(point: Point) -> tuple[float, float, float]:
        return point.total_cycles, point.energy_uj, point.area_um2

    def beaten(point: Point) -> bool:
        return any(
            all(a <= b for a, b in zip(key(other), key(point), strict=True)) and key(other) != key(point)
            for other in points
            if other.part != "bandwidth"
        )

    return tuple(replace(point, on_front=point.part != "bandwidth" and not beaten(point)) for point in points)
