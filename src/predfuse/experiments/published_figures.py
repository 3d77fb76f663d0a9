"""Reads the published figures that come with the package (``experiments/published``)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from predfuse.hardware.workload import Operation
from predfuse.readers.documents import parse_yaml


@dataclass(frozen=True)
class PublishedStage:
    """One published row; ``cycles`` is None where only energy is given (``fusion_overhead``)."""

    network: str
    layer: str
    accelerator: str
    stage: str
    cycles: int | None
    energy_uj: float


@dataclass(frozen=True)
class Slip:
    """A layer the published tables work out for another shape than the network has.

    Attributes:
        network: Of the table.
        layer: Of the table.
        what: What is wrong, with figures.
        groups_counted: Groups of the layer that are in the table (0: all).
        channels: Input channels in the table (0: those of the network).
        image: Height and width in the table (0: those of the network).
    """

    network: str
    layer: str
    what: str
    groups_counted: int = 0
    channels: int = 0
    image: int = 0

    def as_published(self, operation: Operation) -> Operation:
        """The operation as the table has it."""
        if operation.layer != self.layer:
            return operation
        if self.groups_counted:
            counted, groups = self.groups_counted, operation.groups
            channels, outputs = operation.channels * counted // groups, operation.outputs * counted // groups
            operation = replace(operation, channels=channels, outputs=outputs, groups=counted, weight=None)
        if self.channels:
            operation = replace(operation, channels=self.channels, weight=None)
        if self.image:
            size = (self.image, self.image)
            operation = operation.with_image(size, size)
        return operation


@dataclass(frozen=True)
class PublishedHeadline:
    """Speedup of a fused network on Archon over ``against`` on the dense and sparse machines."""

    network: str
    against: str
    dense_speedup: float
    sparse_speedup: float


@dataclass(frozen=True)
class Published:
    """The published figures of ICS 2021.

    Attributes:
        source: Where they come from.
        stages: Rows of the layer tables.
        tiles: Weights a PE holds per pass, by network, layer and stage.
        totals: Cycles by network and accelerator.
        headlines: Speedups.
        areas_um2: Area by specification name.
        slips: Layers published for another shape.
        remarks: What else the reader must know.
    """

    source: str
    stages: tuple[PublishedStage, ...]
    tiles: dict[str, dict[tuple[str, str], int]]
    totals: dict[tuple[str, str], int]
    headlines: tuple[PublishedHeadline, ...]
    areas_um2: dict[str, float]
    slips: tuple[Slip, ...]
    remarks: tuple[str, ...]


@cache
def published() -> Published:
    """The figures of ICS 2021."""
    document: dict[str, Any] = parse_yaml("ics21.yaml", _text("ics21.yaml"))
    stages = tuple(
        PublishedStage(
            row["network"],
            row["layer"],
            row["accelerator"],
            row["stage"],
            int(row["cycles"]) if row["cycles"] else None,
            float(row["energy_uj"]),
        )
        for row in _rows("ics21_layers.csv")
    )
    tiles: dict[str, dict[tuple[str, str], int]] = {}
    for row in _rows("ics21_sparse_passes.csv"):
        tiles.setdefault(row["network"], {})[row["layer"], row["stage"]] = int(row["tile_macs"])
    return Published(
        source=document["source"],
        stages=stages,
        tiles=tiles,
        totals={(total["network"], total["accelerator"]): total["cycles"] for total in document["totals"]},
        headlines=tuple(PublishedHeadline(**headline) for headline in document["headline"]),
        areas_um2=document["areas_um2"],
        slips=tuple(Slip(**slip) for slip in document["slips"]),
        remarks=tuple(document["remarks"]),
    )


def _text(name: str) -> str:
    return (resources.files("predfuse.experiments") / "published" / name).read_text(encoding="utf-8")


def _rows(name: str) -> Iterator[dict[str, str]]:
    return iter(csv.DictReader(_text(name).splitlines()))
