from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from predfuse.report import charts
from predfuse.report.page import Chart, Gallery, Page, Picture, Section, Tile, Tiles, render
from predfuse.report.table import Table

NASTY = '</script><b>"&'


class Elements(HTMLParser):
    """Collects elements, attributes that point somewhere, and the text outside scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.scripts: list[str] = []
        self._raw = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self._raw = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw == "script":
            self.scripts.append(data)
        elif not self._raw:
            self.text += data


def page_with(*parts: object) -> Page:
    return Page("A title", "A lead.", [Section("One", list(parts))], [("Made by", "a test")])  # type: ignore[arg-type]


def two_charts() -> list[Chart]:
    bars = charts.grouped_bars(["b1", "b2"], {"dense": ([1.0, 2.0], "grey")}, "count")
    shares = charts.stacked_shares(["b1"], {"panel": {NASTY: ([0.25], "green")}})
    return [Chart(bars, "Bars."), Chart(shares)]


def test_page_is_self_contained_and_has_plotly_once() -> None:
    html = render(page_with(*two_charts()))
    elements = Elements(html)
    assert elements.links == []
    assert "link" not in elements.tags
    assert not re.search(r"@import|url\(", html.split("<body>")[0])
    assert html.count("plotly.js v") == 1
    assert elements.tags.count("script") == 2


def test_page_without_charts_carries_no_script() -> None:
    html = render(page_with("Only words."))
    assert "script" not in Elements(html).tags
    assert len(html) < 10_000


def test_figures_survive_the_way_into_the_page() -> None:
    script = Elements(render(page_with(*two_charts()))).scripts[-1]
    figures = json.loads(script.split("const figures = ")[1].split(";\nfigures.forEach")[0])
    assert [len(figure["data"]) for figure in figures] == [1, 1]
    assert figures[0]["data"][0]["y"] == [1.0, 2.0]
    assert figures[1]["data"][0]["name"] == NASTY
    assert "template" not in figures[0]["layout"]


def test_text_is_escaped_everywhere() -> None:
    picture = Picture(np.zeros((2, 2), np.uint8), NASTY, [(NASTY, "bad")])
    parts = (NASTY, Tiles([Tile(NASTY, NASTY, NASTY)]), Table([NASTY], [[NASTY]], NASTY), Gallery([picture], NASTY))
    elements = Elements(render(page_with(*parts)))
    assert elements.text.count(NASTY) == 10
    assert elements.tags.count("b") == 1  # the title of the picture


def test_pictures_are_embedded_losslessly() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    (link,) = Elements(render(page_with(Gallery([Picture(pixels, "noise")])))).links
    kind, content = link.split(",")
    assert kind == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))), pixels)


def test_tables_mark_totals_and_text_columns() -> None:
    table = Table(["what", "count"], [["a", "1"], ["sum", "1"]], strong_rows=frozenset((1,)))
    html = render(page_with(table))
    assert html.count('<tr class="strong">') == 1
    assert html.count('<td class="text">') == 2
    assert "<td>1</td>" in html


@pytest.mark.parametrize("kind", ["ratio", "lines", "heat", "intervals"])
def test_every_chart_keeps_its_values(kind: str) -> None:
    if kind == "ratio":
        figure = charts.ratio_bars(["a", "b"], [2.0, 0.5], ["blue", "red"], "x")
        assert figure.data[0].x == (2.0, 0.5)
        assert figure.data[0].text == ("2.0x", "0.5x")
    elif kind == "lines":
        figure = charts.lines({"run": ([1, 2], [0.5, 0.75], "blue")}, "epochs", "accuracy")
        assert figure.data[0].y == (0.5, 0.75)
    elif kind == "heat":
        maps = {"input": np.eye(2), "b1": np.full((2, 2), 0.4), "b2": np.full((1, 1), 0.5)}
        figure = charts.heat_maps(maps, 2, scale=(0.3, 0.6))
        assert [(trace.zmin, trace.zmax) for trace in figure.data] == [(0, 1), (0.3, 0.6), (0.3, 0.6)]
        assert [trace.showscale for trace in figure.data] == [False, False, True]
    else:
        figure = charts.intervals({"net": (["plain"], [0.5], [(0.4, 0.7)], "green")}, "right")
        error = figure.data[0].error_y
        assert error.array[0] == pytest.approx(0.2)
        assert error.arrayminus[0] == pytest.approx(0.1)
        low, high = figure.layout.yaxis.range
        assert low < 0.4
        assert high > 0.7
