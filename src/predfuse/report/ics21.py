"""The HTML report of ``predfuse reproduce ics21``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from predfuse.experiments.ics21 import CIFAR100_SUFFIX, Reproduction, Row, Total
from predfuse.report.charts import grouped_bars, ratio_bars
from predfuse.report.page import Chart, Page, Section, Table, Tile, Tiles, render

HEADLINE_CAPTION = (
    "Cycles of the other machine per cycle of Archon, at 72 (dense, sparse) and 64 (Archon) PEs and the same clock. "
    "Modified networks are compared with their originals, FusioNet with MobileNetV2."
)

COMPONENT_LABELS = {
    "dram": "DRAM",
    "global_buffer": "global buffer",
    "mask_buffer": "mask buffer",
    "register_files": "register files",
    "multipliers": "multipliers",
    "adders": "adders",
    "control": "control",
}


def cycles(value: int | None) -> str:
    """A cycle count with thousands separators; a dash where there is none."""
    return "-" if value is None else f"{value:,}"


def microjoules(value: float | None) -> str:
    """An energy with two decimals; a dash where there is none."""
    return "-" if value is None else f"{value:,.2f}"


def factor(value: float | None) -> str:
    """A ratio with three decimals; a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


def cycle_totals_table(totals: Sequence[Total]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the cycle totals."""
    headings = ["network on machine", "published", "ours", "ratio", "corrected"]
    rows = [
        [
            f"{total.network} on {total.accelerator}",
            cycles(total.published_cycles),
            cycles(total.cycles),
            factor(total.cycles / total.published_cycles if total.published_cycles else None),
            cycles(total.corrected_cycles),
        ]
        for total in totals
    ]
    return headings, rows


def energy_totals_table(totals: Sequence[Total]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the energy totals (uJ)."""
    headings = ["network on machine", "published", "ours", "ratio", "corrected"]
    rows = [
        [
            f"{total.network} on {total.accelerator}",
            microjoules(total.published_energy_uj),
            microjoules(total.energy_uj),
            factor(total.energy_uj / total.published_energy_uj if total.published_energy_uj else None),
            microjoules(total.corrected_energy_uj),
        ]
        for total in totals
    ]
    return headings, rows


def headline_table(result: Reproduction) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the speedups, every correction a row of its own."""
    headings = ["on Archon", "over dense", "published", "over sparse", "published", "sparse cycles"]
    rows = []
    for network, headline in result.headline.items():
        rows.append(
            [
                network,
                f"{headline.dense_speedup:.2f}x",
                _times(headline.published_dense_speedup),
                f"{headline.sparse_speedup:.2f}x",
                _times(headline.published_sparse_speedup),
                headline.sparse_cycles_from,
            ]
        )
        if headline.sparse_cycles_from == "published":
            rows.append(["- our sparse weights", "", "", f"{headline.model_sparse_speedup:.2f}x", "", "model"])
        names = [name.removesuffix(CIFAR100_SUFFIX) for name in (network, headline.against)]
        for layer, speedups in headline.corrected.items():
            if layer == "all" and not any(slip.network in names for slip in result.slips):
                continue
            what = "- all slips corrected" if layer == "all" else f"- {layer} corrected"
            dense, sparse = (f"{speedups[key]:.2f}x" for key in ("dense_speedup", "sparse_speedup"))
            source = "model" if layer == "all" else headline.sparse_cycles_from
            rows.append([what, dense, "", sparse, "", source])
    return headings, rows


def layer_table(rows: Sequence[Row], with_mapping: bool = False) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a layer table of one network on one machine."""
    headings = ["layer, stage", "cycles pub.", "cycles ours", "ratio", "uJ pub.", "uJ ours", "ratio"]
    body = [
        [
            f"{row.layer}{'*' if row.slip else ''} {row.stage}",
            cycles(row.published_cycles),
            cycles(row.cycles),
            factor(row.cycles_ratio),
            microjoules(row.published_energy_uj),
            microjoules(row.energy_uj),
            factor(row.energy_ratio),
            *([row.mapping] if with_mapping else []),
        ]
        for row in rows
    ]
    return headings + (["mapping"] if with_mapping else []), body


def energy_difference_table(result: Reproduction) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of published and our energy by network, machine and stage: where the difference sits."""
    headings = ["uJ of network, stage", "published", "ours", "ratio", "of total"]
    body = []
    for total in result.totals:
        if total.published_energy_uj is None:
            continue
        machine = "" if total.accelerator == "archon" else f" on {total.accelerator}"
        stages: dict[str, tuple[float, float]] = {}
        for row in result.rows:
            if (row.network, row.accelerator) == (total.network, total.accelerator):
                theirs, ours = stages.get(row.stage, (0.0, 0.0))
                stages[row.stage] = (theirs + (row.published_energy_uj or 0.0), ours + row.energy_uj)
        for stage, (theirs, ours) in stages.items():
            body.append(
                [
                    f"{total.network}{machine}, {stage}",
                    microjoules(theirs),
                    microjoules(ours),
                    factor(ours / theirs),
                    f"{(ours - theirs) / total.published_energy_uj:+.1%}",
                ]
            )
    return headings, body


def cases(result: Reproduction) -> Iterator[tuple[str, str, list[Row]]]:
    """Network, machine and rows, in order."""
    for total in result.totals:
        rows = [row for row in result.rows if (row.network, row.accelerator) == (total.network, total.accelerator)]
        yield total.network, total.accelerator, rows


def render_report(result: Reproduction) -> str:
    """The whole report as one self-contained HTML document."""
    return render(
        Page(
            title="The ICS 2021 tables done again",
            lead=(
                "Predictive layer fusion on Archon against compact networks on a dense and a sparse machine: published "
                "figures, those of this implementation at paper fidelity, and their ratio. As published means with the "
                "shapes the published tables have, corrected with the shapes the networks have."
            ),
            sections=[_headline(result), _totals(result), _energy(result), _areas(result), *_layers(result)],
            facts=[
                ("figures", result.source),
                ("fidelity", "paper: closed forms, no stalls, no load imbalance on Archon"),
            ],
        )
    )


def _headline(result: Reproduction) -> Section:
    tiles, labels, ratios, colours = [], [], [], []
    for network, headline in result.headline.items():
        if headline.published_dense_speedup is None:
            continue
        for machine in ("dense", "sparse"):
            ours = getattr(headline, f"{machine}_speedup")
            theirs = getattr(headline, f"published_{machine}_speedup")
            tiles.append(
                Tile(f"{ours:.2f}x", f"{network} over {machine} {headline.against}", f"published {theirs:.2f}x")
            )
    for network, headline in result.headline.items():
        for machine, colour in (("dense", "blue"), ("sparse", "orange")):
            labels.append(f"{network} over {machine}")
            ratios.append(getattr(headline, f"{machine}_speedup"))
            colours.append(colour)
    headings, rows = headline_table(result)
    return Section(
        "Speedup",
        [
            Tiles(tiles),
            Chart(ratio_bars(labels, ratios, colours, "cycles of the other machine per cycle of Archon")),
            Table(headings, rows, HEADLINE_CAPTION),
        ],
    )


def _totals(result: Reproduction) -> Section:
    slips = [f"{slip.network}, {slip.layer}: {slip.what}." for slip in result.slips]
    return Section(
        "Totals",
        [
            Table(*cycle_totals_table(result.totals), "Cycles per image."),
            Table(*energy_totals_table(result.totals), "Energy per image (uJ)."),
            "Slips of the published tables:",
            *slips,
        ],
    )


def _energy(result: Reproduction) -> Section:
    headings, rows = energy_difference_table(result)
    shown = [total for total in result.totals if total.published_energy_uj is not None]
    colours = ["blue", "sky", "purple", "green", "orange", "red", "grey"]
    series = {
        label: ([total.energy_by_component_uj[name] for total in shown], colour)
        for (name, label), colour in zip(COMPONENT_LABELS.items(), colours, strict=True)
    }
    chart = grouped_bars([f"{total.network} on {total.accelerator}" for total in shown], series, "uJ per image")
    return Section(
        "Energy",
        [
            Chart(chart, "Our energy by component."),
            Table(headings, rows, "Where published and our energies differ."),
            *result.remarks,
        ],
    )


def _areas(result: Reproduction) -> Section:
    tables = []
    for area in result.areas:
        rows = [[component, f"{um2:,.1f}"] for component, um2 in area.items.items()]
        rows.append(["total, as published without the mask buffer", f"{area.area_um2:,.1f}"])
        rows.append(["published total", f"{area.published_area_um2:,.0f}"])
        strong = frozenset({len(rows) - 2, len(rows) - 1})
        tables.append(Table([area.accelerator, "um2"], rows, "Area by component.", strong))
    return Section("Area", tables)


def _layers(result: Reproduction) -> Iterator[Section]:
    for network, accelerator, rows in cases(result):
        headings, body = layer_table(rows, with_mapping=True)
        parts = [Table(headings, body, "Ours is for the shapes of the published table.")]
        wrong = [f"* {layer}: {what}." for layer, what in {row.layer: row.slip for row in rows if row.slip}.items()]
        yield Section(f"{network} on {accelerator}", [*parts, *wrong])


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"
