"""The microarchitecture study as tables and as one HTML page."""

from __future__ import annotations

from predfuse import __version__
from predfuse.experiments.study import Point, Study
from predfuse.report.charts import points
from predfuse.report.page import Chart, Page, Section, Table, Tile, Tiles, render

PART_COLOURS = {"published": "red", "ladder": "orange", "shipped": "green", "sweep": "grey", "bandwidth": "sky"}
HEADINGS = ("machine", "cycles", "stall", "uJ", "mm2", "no shifts", "front")


def study_table(study: Study, parts: tuple[str, ...], caption: str) -> Table:
    """A row per machine of some parts of the study."""
    shown = [point for point in study.points if point.part in parts]
    rows = [_row(point) for point in shown]
    strong = frozenset(place for place, point in enumerate(shown) if point.part == "shipped")
    return Table(HEADINGS, rows, caption, strong)


def _row(point: Point) -> list[str]:
    return [
        point.label,
        f"{point.total_cycles:,}",
        f"{point.stall_cycles / point.total_cycles:.1%}",
        f"{point.energy_uj:,.0f}",
        f"{point.area_um2 * 1e-6:.3f}",
        f"{point.unshifted_cycles:,}",
        "yes" if point.on_front else "",
    ]


LADDER_CAPTION = "From the published machine to the shipped one, every row with what stands above it"
SWEEP_CAPTION = "The shipped machine with one field changed"


def render_report(study: Study) -> str:
    """The study as one HTML page."""
    shipped = next(point for point in study.points if point.part == "shipped")
    published = study.points[0]
    area, energy = {}, {}
    for part, colour in PART_COLOURS.items():
        chosen = [point for point in study.points if point.part == part]
        labels = [point.label for point in chosen]
        cycles = [float(point.total_cycles) for point in chosen]
        area[part] = ([point.area_um2 * 1e-6 for point in chosen], cycles, labels, colour)
        energy[part] = ([point.energy_uj for point in chosen], cycles, labels, colour)
    front = [point for point in study.points if point.on_front]
    tiles = [
        Tile(f"{shipped.total_cycles:,}", "cycles of the shipped machine", f"published {published.total_cycles:,}"),
        Tile(f"{shipped.energy_uj:,.0f} uJ", "energy", f"published {published.energy_uj:,.0f} uJ"),
        Tile(f"{shipped.area_um2 * 1e-6:.2f} mm2", "area", f"published {published.area_um2 * 1e-6:.2f} mm2"),
        Tile(f"{shipped.unshifted_cycles:,}", "cycles with the network's shifts pruned"),
    ]
    sections = [
        Section("At a glance", [Tiles(tiles)]),
        Section(
            "Cycles against area and energy",
            [
                Chart(points(area, "mm2", "cycles"), "Every machine measured: area and cycles of one image."),
                Chart(points(energy, "uJ", "cycles"), "The same: energy and cycles."),
            ],
        ),
        Section("Pareto front", [_front_table(front)]),
        Section("Ladder", [study_table(study, ("published", "ladder", "shipped"), LADDER_CAPTION)]),
        Section("Sweep", [study_table(study, ("shipped", "sweep", "bandwidth"), SWEEP_CAPTION)]),
    ]
    facts = [
        ("network", study.network),
        ("images", f"{study.images} ({study.source})"),
        ("fidelity", "cycle"),
        ("predfuse", __version__),
    ]
    lead = "What every choice of the accelerator is worth, in cycles, energy and area of one network on real masks."
    return render(Page("Microarchitecture study", lead, sections, facts))


def _front_table(front: list[Point]) -> Table:
    rows = [_row(point)[:-1] for point in sorted(front, key=lambda point: point.total_cycles)]
    return Table(HEADINGS[:-1], rows, "No machine is as good in cycles, energy and area and better in one")


def front_table(study: Study) -> Table:
    """The machines on the Pareto front, fewest cycles first."""
    return _front_table([point for point in study.points if point.on_front])
