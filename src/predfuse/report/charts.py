"""The kinds of plotly charts the reports use, in one look. Values are given ready to be shown; nothing is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from predfuse.arrays import Float64Array

INK, GRID = "#1b1f24", "#e3e7eb"
COLOURS = {  # Okabe and Ito's palette, distinguishable with any colour vision
    "grey": "#8a9299",
    "blue": "#0072b2",
    "sky": "#56b4e9",
    "orange": "#e69f00",
    "green": "#009e73",
    "red": "#d55e00",
    "purple": "#cc79a7",
}
MAP_PX = 150
"""Height of one heat map."""
FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif", "size": 13, "color": INK}


def _finish(figure: Any, height_px: int, **layout: Any) -> Any:
    figure.update_layout(
        height=height_px,
        font=FONT,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 64, "r": 16, "t": 40, "b": 44},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        bargap=0.28,
        **layout,
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, automargin=True)
    return figure


def grouped_bars(
    categories: Sequence[str],
    series: Mapping[str, tuple[Sequence[float], str]],
    unit: str,
    height_px: int = 360,
) -> Any:
    """Bars side by side per category.

    Args:
        categories: Labels along the bottom.
        series: Values per category and colour (a key of :data:`COLOURS`), by name.
        unit: Title of the value axis.
        height_px: Height of the chart.
    """
    figure = go.Figure(
        [
            go.Bar(name=name, x=list(categories), y=list(values), marker_color=COLOURS[colour])
            for name, (values, colour) in series.items()
        ]
    )
    figure.update_yaxes(title=unit, exponentformat="SI")
    return _finish(figure, height_px, barmode="group")


def stacked_shares(
    categories: Sequence[str],
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], str]]],
    height_px: int = 360,
) -> Any:
    """Shares of a whole stacked per category, one panel beside the other.

    Args:
        categories: Labels along the bottom of every panel.
        panels: Panel title to series (values 0..1 per category, colour); the same series names in every panel.
        height_px: Height of the chart.
    """
    figure = make_subplots(cols=len(panels), subplot_titles=list(panels), shared_yaxes=True, horizontal_spacing=0.05)
    for column, series in enumerate(panels.values(), start=1):
        for name, (values, colour) in series.items():
            bar = go.Bar(
                name=name,
                x=list(categories),
                y=list(values),
                marker_color=COLOURS[colour],
                legendgroup=name,
                showlegend=column == 1,
                hovertemplate="%{x}: %{y:.1%}<extra>" + name + "</extra>",
            )
            figure.add_trace(bar, row=1, col=column)
    _finish(figure, height_px, barmode="stack")
    figure.update_yaxes(tickformat=".0%", range=[0, 1])
    figure.update_layout(legend={"y": -0.12, "yanchor": "top"}, margin={"t": 34, "b": 70})
    return figure


def ratio_bars(labels: Sequence[str], ratios: Sequence[float], colours: Sequence[str], unit: str) -> Any:
    """Horizontal bars of ratios with a line at 1, the first label on top."""
    bar = go.Bar(
        x=list(ratios),
        y=list(labels),
        orientation="h",
        marker_color=[COLOURS[colour] for colour in colours],
        text=[f"{ratio:,.1f}x" for ratio in ratios],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.2f}x<extra></extra>",
    )
    figure = go.Figure([bar])
    figure.update_xaxes(title=unit, rangemode="tozero")
    figure.update_yaxes(autorange="reversed")
    figure.add_vline(x=1, line={"color": INK, "width": 1, "dash": "dot"})
    _finish(figure, 90 + 26 * len(labels))
    figure.update_layout(margin={"t": 12, "r": 56})
    return figure


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float], str]],
    x_title: str,
    y_title: str,
    y_format: str = ".0%",
    logarithmic: bool = False,
) -> Any:
    """Lines with markers.

    Args:
        series: x values, y values and colour (a key of :data:`COLOURS`) by name.
        x_title: Title of the horizontal axis.
        y_title: Title of the vertical axis.
        y_format: Of its labels; by default values are shares.
        logarithmic: Whether the horizontal axis is, with a label at every value.
    """
    figure = go.Figure(
        [
            go.Scatter(name=name, x=list(x), y=list(y), mode="lines+markers", line={"color": COLOURS[colour]})
            for name, (x, y, colour) in series.items()
        ]
    )
    figure.update_xaxes(title=x_title)
    if logarithmic:
        values = sorted({value for x, _, _ in series.values() for value in x})
        figure.update_xaxes(type="log", tickvals=values, ticktext=[f"{value:g}" for value in values])
    figure.update_yaxes(title=y_title, tickformat=y_format)
    return _finish(figure, 320)


def heat_maps(
    images: Mapping[str, Float64Array],
    columns: int,
    scale: tuple[float, float],
    scale_bar: bool = True,
) -> Any:
    """Square heat maps ``[H, W]`` of shares in one colour scale, by title.

    Args:
        images: Maps by title; one called ``input`` is drawn in grey, 0..1.
        columns: Maps per row.
        scale: Shares at both ends of the colour scale.
        scale_bar: Whether the scale is shown.
    """
    rows = -(-len(images) // columns)
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=list(images), horizontal_spacing=0.02, vertical_spacing=0.16 / rows
    )
    for place, (title, image) in enumerate(images.items()):
        row, column = divmod(place, columns)
        grey = title == "input"
        low, high = (0.0, 1.0) if grey else scale
        heat_map = go.Heatmap(
            z=image.tolist(),
            zmin=low,
            zmax=high,
            colorscale="gray" if grey else "Viridis",
            showscale=scale_bar and place == len(images) - 1,
            colorbar={"tickformat": ".0%", "thickness": 12, "len": 0.9},
            hovertemplate="%{z:.0%}<extra></extra>",
        )
        figure.add_trace(heat_map, row=row + 1, col=column + 1)
        figure.update_yaxes(scaleanchor=f"x{place + 1}" if place else "x", row=row + 1, col=column + 1)
    _finish(figure, rows * (MAP_PX + 46) + 30)
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, constrain="domain", autorange="reversed")
    figure.update_layout(margin={"l": 8, "r": 8, "t": 30, "b": 8})
    return figure


def intervals(
    points: Mapping[str, tuple[Sequence[str], Sequence[float], Sequence[tuple[float, float]], str]], y_title: str
) -> Any:
    """Shares with intervals: categories, values, (low, high) per value, colour, by name."""
    figure = go.Figure()
    for name, (categories, values, bounds, colour) in points.items():
        marker = {"color": COLOURS[colour], "size": 11}
        dots = go.Scatter(
            name=name,
            x=list(categories),
            y=list(values),
            mode="markers",
            marker=marker,
            error_y=_spread(values, bounds),
        )
        dots.update(hovertemplate="%{x}: %{y:.1%}<extra>" + name + "</extra>", offsetgroup=name)
        figure.add_trace(dots)
    ends = [end for *_, bounds, _ in points.values() for bound in bounds for end in bound]
    margin = 0.1 * (max(ends) - min(ends)) + 0.001
    figure.update_yaxes(title=y_title, tickformat=".0%", range=[min(ends) - margin, max(ends) + margin])
    return _finish(figure, 300, scattermode="group", scattergap=0.7)


def stacked_bars(labels: Sequence[str], series: Mapping[str, tuple[Sequence[float], str]], unit: str) -> Any:
    """Horizontal bars, each the sum of its parts, the first label on top.

    Args:
        labels: One per bar.
        series: Values per label and colour (a key of :data:`COLOURS`), by name.
        unit: Title of the value axis.
    """
    figure = go.Figure(
        [
            go.Bar(
                name=name,
                x=list(values),
                y=list(labels),
                orientation="h",
                marker_color=COLOURS[colour],
                hovertemplate="%{y}: %{x:,.4g} " + unit + "<extra>" + name + "</extra>",
            )
            for name, (values, colour) in series.items()
        ]
    )
    figure.update_xaxes(title=unit, exponentformat="SI")
    figure.update_yaxes(autorange="reversed")
    _finish(figure, 120 + 28 * len(labels), barmode="stack")
    return figure


def points(
    series: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[str], str]],
    x_title: str,
    y_title: str,
    bounds: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> Any:
    """Markers with a text each on hovering.

    Args:
        series: x values, y values, texts and colour (a key of :data:`COLOURS`) by name.
        x_title: Title of the horizontal axis.
        y_title: Title of the vertical axis.
        bounds: Low and high end of every y value, by the names of ``series``; y values are then shares.
    """
    figure = go.Figure()
    for name, (x, y, texts, colour) in series.items():
        marker = {"color": COLOURS[colour], "size": 10, "line": {"color": "white", "width": 1}}
        dots = go.Scatter(name=name, x=list(x), y=list(y), mode="markers", text=list(texts), marker=marker)
        dots.update(hovertemplate="%{text}<br>%{x:,.4g}, %{y:,.4g}<extra></extra>")
        if bounds is not None:
            dots.update(error_y=_spread(y, bounds[name]))
        figure.add_trace(dots)
    figure.update_xaxes(title=x_title)
    figure.update_yaxes(title=y_title, **({"rangemode": "tozero"} if bounds is None else {"tickformat": ".1%"}))
    return _finish(figure, 380)


def _spread(values: Sequence[float], bounds: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, (_, high) in zip(values, bounds, strict=True)],
        "arrayminus": [value - low for value, (low, _) in zip(values, bounds, strict=True)],
    }
