"""Draws the figures in docs/figures again: diagrams from the code, the main result from the table in the README.

Run it after changing either: python tools/draw_figures.py. A test says when it was forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from diagrams import fusion_diagram, machine_diagram

from predfuse.hardware import ArchonSpec, load_spec
from predfuse.report.figures import ratios
from predfuse.report.svg import Drawing

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"
HEADLINE = re.compile(r"<!-- headline.*?-->\n(.*?)<!-- headline: end -->", re.DOTALL)


def drawings() -> dict[str, Drawing]:
    """Every committed drawing by its file's name."""
    archon = load_spec("archon")
    assert isinstance(archon, ArchonSpec)
    speed = ratios("Speed of fused networks, at equal area", list(headline_rows()), "slower than the rival", "faster")
    return {"fusion.svg": fusion_diagram(), "headline.svg": speed, "machine.svg": machine_diagram(archon)}


def headline_rows() -> Iterator[tuple[str, float]]:
    """Name and speed of the rows of the README's first table that carry a name for the figure."""
    found = HEADLINE.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found is not None, "README.md has no headline table between its markers"
    for line in found[1].splitlines()[2:]:
        cells = [cell.strip().strip("*") for cell in line.strip().strip("|").split("|")]
        if len(cells) == 5:
            yield f"{_short(cells[0])} over {_short(cells[1])}", float(cells[2].removesuffix("x"))


def _short(cell: str) -> str:
    return re.sub(r"[`*]", "", cell)


if __name__ == "__main__":
    for name, drawing in drawings().items():
        drawing.save(FIGURES / name)
        print(f"wrote docs/figures/{name}")
