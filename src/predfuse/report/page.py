"""One self-contained HTML page: it needs no network, and plotly.js is in it at most once.

A page is a list of sections, a section a list of parts: :class:`Tiles`, :class:`Table`, :class:`Chart`,
:class:`Gallery` or plain text. All text is escaped.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeAlias

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from predfuse.arrays import UInt8Array
from predfuse.report.table import Table

Tone = Literal["", "good", "bad"]


@dataclass(frozen=True)
class Tile:
    """A headline figure with what it is and, small, what it is compared with."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    """Headline figures side by side."""

    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Chart:
    """A plotly figure (anything with ``to_plotly_json``) with its caption."""

    figure: Any
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A small picture with lines of text below it.

    Attributes:
        pixels: ``[H, W]`` or ``[H, W, 3]`` uint8.
        title: First line.
        lines: Further lines, each with a tone.
    """

    pixels: UInt8Array
    title: str
    lines: Sequence[tuple[str, Tone]] = ()


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side."""

    pictures: Sequence[Picture]
    caption: str = ""


Part: TypeAlias = str | Tiles | Table | Chart | Gallery


@dataclass(frozen=True)
class Section:
    """A titled part of the page; strings among the parts are paragraphs."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: Of the window and the page.
        lead: One paragraph below the title.
        sections: In order.
        facts: Label and value pairs at the foot: what made these figures.
    """

    title: str
    lead: str
    sections: Sequence[Section]
    facts: Sequence[tuple[str, str]] = field(default_factory=tuple)


def render(page: Page) -> str:
    """The page as one HTML document."""
    charts = [part for section in page.sections for part in section.parts if isinstance(part, Chart)]
    numbers = {id(chart): number for number, chart in enumerate(charts)}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["picture"] = _data_uri
    environment.filters["kind"] = lambda part: "text" if isinstance(part, str) else type(part).__name__.lower()
    environment.filters["number"] = lambda chart: numbers[id(chart)]
    source = (resources.files("predfuse.report") / "templates" / "page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        page=page,
        plotly=Markup(_plotly_javascript()) if charts else "",
        figures=[Markup(_script_json(chart.figure)) for chart in charts],
    )


@cache
def _plotly_javascript() -> str:
    from plotly.offline import get_plotlyjs

    source: str = get_plotlyjs()
    return source.replace("</script", "<\\/script")


def _script_json(figure: Any) -> str:
    """A figure as JSON that cannot end the script element it stands in."""
    from plotly.io import to_json

    plain = json.loads(to_json(figure, validate=False))
    plain.get("layout", {}).pop("template", None)  # 7 kB of defaults per figure; the page sets its own
    return json.dumps(plain, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")


def _data_uri(pixels: UInt8Array) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
