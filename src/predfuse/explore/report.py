"""A search as tables and as one HTML page: front, hypervolume, parallel coordinates, importance of the fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from predfuse.explore.result import Row, SearchResult
from predfuse.explore.space import MORE_IS_BETTER
from predfuse.report.charts import COLOURS, FONT, GRID, grouped_bars, points
from predfuse.report.page import Chart, Page, Section, Tile, Tiles, render
from predfuse.report.table import Table

FORMATS = {
    "total_cycles": ("cycles", "{:,.0f}"),
    "stall_cycles": ("stall cycles", "{:,.0f}"),
    "energy_uj": ("uJ", "{:,.1f}"),
    "energy_delay_uj_ms": ("uJ ms", "{:,.3g}"),
    "area_mm2": ("mm2", "{:.3f}"),
    "estimated_blocks": ("blocks estimated", "{:.0f}"),
    "accuracy_percent": ("accuracy %", "{:.2f}"),
}
"""How a metric is headed and written."""
_COLOUR_NAMES = ("blue", "orange", "green", "purple", "sky", "red")


def front_table(result: SearchResult) -> Table:
    """A row per machine on the front."""
    rows = result.front_rows()
    metrics = [name for name in FORMATS if rows and name in rows[0].outcome.metrics]
    fields = list(result.space.values)
    headings = ("point", *(FORMATS[name][0] for name in metrics), *(_short(field) for field in fields))
    body = [
        [
            str(row.number),
            *(FORMATS[name][1].format(row.outcome.metrics[name]) for name in metrics),
            *(str(row.point[field]) for field in fields),
        ]
        for row in rows
    ]
    return Table(headings, body, "No point is as good in all objectives and better in one")


def summary(result: SearchResult) -> str:
    """One line: what became of the points."""
    counts = result.counts()
    words = {"met": "met the limits", "broken": "broke one", "unfit": "cannot run the network", "failed": "failed"}
    return f"{len(result.rows):,} points: " + ", ".join(
        f"{count:,} {words[state]}" for state, count in counts.items() if count
    )


def render_report(result: SearchResult) -> str:
    """The search as one HTML page."""
    space = result.space
    met = [row for row in result.rows if row.outcome.state == "met"]
    sections = [Section("At a glance", [Tiles(_tiles(result)), summary(result)])]
    first, *others = space.objectives
    against = others or ["area_mm2"]
    charts = [Chart(_front_chart(result, met, name, first), f"All points: {name} and {first}.") for name in against]
    if charts and met:
        sections.append(Section("Front", [*charts, front_table(result)]))
        sections.append(
            Section("All points that met the limits", [Chart(_parallel(result, met), "Drag along an axis.")])
        )
    if result.hypervolume:
        numbers, shares = zip(*result.hypervolume, strict=True)
        sections.append(
            Section(
                "Hypervolume over time",
                [
                    Chart(
                        _steps(numbers, shares),
                        "Share of the box between the best and the worst of every objective that the front dominates.",
                    )
                ],
            )
        )
    if result.importance:
        fields = list(space.values)
        bars = {
            name: ([shares.get(field, 0.0) for field in fields], _COLOUR_NAMES[place % len(_COLOUR_NAMES)])
            for place, (name, shares) in enumerate(result.importance.items())
        }
        chart = grouped_bars([_short(field) for field in fields], bars, "share")
        sections.append(
            Section("What each field matters", [Chart(chart, "Share of being among the best tenth (PED-ANOVA).")])
        )
    facts = [
        ("machine", space.machine.name),
        ("network", space.network.name),
        ("images", "; ".join(result.sources)),
        ("sampler", f"{space.sampler}, seed {space.seed}, {space.evaluations} evaluations"),
        ("models", result.version),
    ]
    return render(Page("Search", f"{space.machine.name} for {space.network.name}.", sections, facts))


def _tiles(result: SearchResult) -> list[Tile]:
    rows = result.front_rows()
    tiles = [Tile(str(len(rows)), "points on the front", f"of {len(result.rows):,}")]
    for name in result.space.objectives:
        if rows:
            best = max if name in MORE_IS_BETTER else min
            heading, form = FORMATS[name]
            tiles.append(Tile(form.format(best(row.outcome.metrics[name] for row in rows)), f"best {heading}"))
    return tiles


def _front_chart(result: SearchResult, met: Sequence[Row], x: str, y: str) -> Any:
    on_front = {result.rows[place].number for place in result.front}
    series = {}
    for name, colour, inside in (("other", "grey", False), ("front", "green", True)):
        chosen = [row for row in met if (row.number in on_front) == inside]
        texts = ["<br>".join(f"{_short(field)} {value}" for field, value in row.point.items()) for row in chosen]
        metrics = [row.outcome.metrics for row in chosen]
        series[name] = ([one[x] for one in metrics], [one[y] for one in metrics], texts, colour)
    return points(series, FORMATS[x][0], FORMATS[y][0])


def _parallel(result: SearchResult, met: Sequence[Row]) -> Any:
    axes: list[dict[str, Any]] = []
    for field, known in result.space.refined_values.items():
        places = [known.index(row.point[field]) for row in met]
        values = known[: max(len(result.space.values[field]), 1 + max(places, default=0))]
        axes.append(
            {
                "label": _short(field),
                "values": places,
                "tickvals": list(range(len(values))),
                "ticktext": [str(value) for value in values],
            }
        )
    for name in result.space.objectives:
        axes.append({"label": FORMATS[name][0], "values": [row.outcome.metrics[name] for row in met]})
    colour = {"color": axes[-len(result.space.objectives)]["values"], "colorscale": "Viridis", "reversescale": True}
    figure = go.Figure([go.Parcoords(dimensions=axes, line=colour)])
    figure.update_layout(height=420, font=FONT, paper_bgcolor="rgba(0,0,0,0)")
    return figure


def _steps(numbers: Sequence[int], shares: Sequence[float]) -> Any:
    line = {"shape": "hv", "color": COLOURS["blue"]}
    figure = go.Figure([go.Scatter(x=list(numbers), y=list(shares), mode="lines", line=line)])
    figure.update_layout(height=280, font=FONT, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)")
    figure.update_xaxes(title="point", gridcolor=GRID)
    figure.update_yaxes(title="share", gridcolor=GRID, range=[0, 1])
    return figure


def _short(field: str) -> str:
    parts = field.split(".")
    return ".".join(parts[-2:]) if len(parts) > 2 else parts[-1]
