"""The HTML report of ``predfuse reproduce ics21``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from predfuse.experiments.ics21 import CIFAR100_SUFFIX, Reproduction, Row, Total
from predfuse.report.charts import grouped_bars, ratio_bars
from predfuse.report.page import Chart, Page, Section, Tile, Tiles, render
from predfuse.report.table import Table, optional

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


def totals_table(totals: Sequence[Total], quantity: str, form: str, caption: str) -> Table:
    """Published, ours, their ratio and corrected, of a quantity of :class:`Total` (``cycles``, ``energy_uj``)."""
    rows = []
    for total in totals:
        published, ours, corrected = (
            getattr(total, f"{prefix}{quantity}") for prefix in ("published_", "", "corrected_")
        )
        ratio = ours / published if published else None
        figures = (optional(published, form, "-"), optional(ours, form, "-"), optional(ratio, ".3f", "-"))
        rows.append([f"{total.network} on {total.accelerator}", *figures, optional(corrected, form, "-")])
    return Table(["network on machine", "published", "ours", "ratio", "corrected"], rows, caption)


def total_tables(result: Reproduction) -> list[Table]:
    """Cycles, then energy."""
    return [
        totals_table(result.totals, "cycles", ",", "Cycles per image"),
        totals_table(result.totals, "energy_uj", ",.2f", "Energy per image (uJ)"),
    ]


def headline_table(result: Reproduction) -> Table:
    """The speedups, every correction a row of its own."""
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
    return Table(headings, rows, "Speedup")


def layer_table(title: str, rows: Sequence[Row], with_mapping: bool = False) -> Table:
    """The layers of one network on one machine."""
    headings = ["layer, stage", "cycles pub.", "cycles ours", "ratio", "uJ pub.", "uJ ours", "ratio"]
    body = [
        [
            f"{row.layer}{'*' if row.slip else ''} {row.stage}",
            optional(row.published_cycles, ",", "-"),
            optional(row.cycles, ",", "-"),
            optional(row.cycles_ratio, ".3f", "-"),
            optional(row.published_energy_uj, ",.2f", "-"),
            optional(row.energy_uj, ",.2f", "-"),
            optional(row.energy_ratio, ".3f", "-"),
            *([row.mapping] if with_mapping else []),
        ]
        for row in rows
    ]
    return Table(headings + (["mapping"] if with_mapping else []), body, title)


def energy_difference_table(result: Reproduction) -> Table:
    """Published and our energy by network, machine and stage: where the difference sits."""
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
                    optional(theirs, ",.2f", "-"),
                    optional(ours, ",.2f", "-"),
                    optional(ours / theirs, ".3f", "-"),
                    f"{(ours - theirs) / total.published_energy_uj:+.1%}",
                ]
            )
    return Table(headings, body, "Energy: where ours differs from the published")


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
            sections=[
                _headline(result),
                _totals(result),
                _energy(result),
                Section("Area", area_tables(result)),
                *_layers(result),
            ],
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
    return Section(
        "Speedup",
        [
            Tiles(tiles),
            Chart(ratio_bars(labels, ratios, colours, "cycles of the other machine per cycle of Archon")),
            headline_table(result),
            HEADLINE_CAPTION,
        ],
    )


def _totals(result: Reproduction) -> Section:
    slips = [f"{slip.network}, {slip.layer}: {slip.what}." for slip in result.slips]
    return Section(
        "Totals",
        [*total_tables(result), "Slips of the published tables:", *slips],
    )


def _energy(result: Reproduction) -> Section:
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
            energy_difference_table(result),
            *result.remarks,
        ],
    )


def area_tables(result: Reproduction) -> list[Table]:
    """Area of every machine by component."""
    tables = []
    for area in result.areas:
        rows = [[component, f"{um2:,.1f}"] for component, um2 in area.items.items()]
        rows.append(["total, as published without the mask buffer", f"{area.area_um2:,.1f}"])
        rows.append(["published total", f"{area.published_area_um2:,.0f}"])
        strong = frozenset({len(rows) - 2, len(rows) - 1})
        tables.append(Table(["component", "um2"], rows, f"Area of {area.accelerator}", strong))
    return tables


def terminal(result: Reproduction) -> Iterator[str | Table]:
    """What the command shows: the layers that were published, then all else."""
    for network, accelerator, rows in cases(result):
        if any(row.published_energy_uj is not None for row in rows):
            yield layer_table(f"{network} on {accelerator}", rows)
    yield from (*total_tables(result), energy_difference_table(result), *area_tables(result), headline_table(result))
    yield HEADLINE_CAPTION
    yield "Slips of the published tables (marked * above)"
    yield from (f"- {slip.network}, {slip.layer}: {slip.what}" for slip in result.slips)
    yield "Remarks"
    yield from (f"- {remark}" for remark in result.remarks)
    yield f"Source of the published figures: {result.source}"


def _layers(result: Reproduction) -> Iterator[Section]:
    for network, accelerator, rows in cases(result):
        table = layer_table("Ours is for the shapes of the published table.", rows, with_mapping=True)
        wrong = [f"* {layer}: {what}." for layer, what in {row.layer: row.slip for row in rows if row.slip}.items()]
        yield Section(f"{network} on {accelerator}", [table, *wrong])


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"
