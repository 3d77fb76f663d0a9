"""Drawings in SVG: rectangles, lines, words and pixels, with no library; a notebook shows them as they are."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from PIL import Image

from predfuse.arrays import UInt8Array
from predfuse.errors import InputError
from predfuse.files import write_text_atomically

INK, GREY, PALE, PAPER = "#1f2933", "#8a94a0", "#e4e8ec", "#ffffff"
BLUE, ORANGE, GREEN, RED = "#2f6db5", "#d9822b", "#3a9159", "#c23b3b"
Anchor = Literal["start", "middle", "end"]


@dataclass
class Drawing:
    """A picture that grows; lengths are in pixels, y points down.

    Attributes:
        width: Of the whole (pixels).
        height: Of the whole (pixels).
        title: What it shows, for readers who do not see it.
    """

    width: float
    height: float
    title: str
    _parts: list[str] = field(default_factory=list)

    def rectangle(
        self, x: float, y: float, width: float, height: float, fill: str = PAPER, line: str = "none", radius: float = 0
    ) -> None:
        """A rectangle from its upper left corner."""
        self._parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="{_n(radius)}" '
            f'fill="{fill}" stroke="{line}"/>'
        )

    def circle(self, x: float, y: float, radius: float, fill: str, line: str = "none") -> None:
        """A disc round its centre."""
        self._parts.append(f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" fill="{fill}" stroke="{line}"/>')

    def line(
        self, points: Sequence[tuple[float, float]], colour: str = INK, width: float = 1, arrow: bool = False
    ) -> None:
        """A line through points, with an arrow's head at its end if asked for."""
        places = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self._parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{_n(width)}"/>')
        if arrow:
            (x0, y0), (x1, y1) = points[-2:]
            length = max(np.hypot(x1 - x0, y1 - y0), 1e-9)
            dx, dy = (x1 - x0) / length * 7, (y1 - y0) / length * 7
            corners = ((x1, y1), (x1 - dx - dy / 2, y1 - dy + dx / 2), (x1 - dx + dy / 2, y1 - dy - dx / 2))
            self._parts.append(
                f'<polygon points="{" ".join(f"{_n(x)},{_n(y)}" for x, y in corners)}" fill="{colour}"/>'
            )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 12,
        colour: str = INK,
        anchor: Anchor = "start",
        bold: bool = False,
    ) -> None:
        """Words on one line; ``y`` is where they stand."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" fill="{colour}" text-anchor="{anchor}"{weight}>'
            f"{escape(words)}</text>"
        )

    def pixels(self, x: float, y: float, width: float, height: float, values: UInt8Array) -> None:
        """An image, its pixels left sharp: ``values`` is ``[H, W]`` or ``[H, W, 3]``, uint8."""
        if values.dtype != np.uint8 or values.ndim not in (2, 3):
            raise InputError("pixels", f"are {values.dtype} {values.shape}", "give uint8 [H, W] or [H, W, 3]")
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "png", optimize=True)
        data = base64.b64encode(buffer.getvalue()).decode()
        self._parts.append(
            f'<image x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" preserveAspectRatio="none" '
            f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
        )

    def svg(self) -> str:
        """The whole as one SVG document, on white paper, so that it can be read on a dark page too."""
        size = f'width="{_n(self.width)}" height="{_n(self.height)}" viewBox="0 0 {_n(self.width)} {_n(self.height)}"'
        opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label={quoteattr(self.title)}'
        font = 'font-family="system-ui, sans-serif" style="max-width:100%;height:auto"'
        paper = f'<rect width="100%" height="100%" rx="6" fill="{PAPER}"/>'
        return "\n".join(
            [f"{opening} {font}>", f"<title>{escape(self.title)}</title>", paper, *self._parts, "</svg>", ""]
        )

    def save(self, path: str | Path) -> None:
        """Write the document."""
        write_text_atomically(Path(path), self.svg())

    def _repr_svg_(self) -> str:
        return self.svg()


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
