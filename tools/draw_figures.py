"""Draws the figures in docs/figures again: diagrams from the code, the main result from the table in the README.

Run it after changing either: python tools/draw_figures.py. A test says when it was forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from diagrams import fusion_diagram, machine_diagram
from measured import ROOT, kind

from predfuse.hardware import ArchonSpec, load_spec
from predfuse.report.figures import Point, ratios, scatter
from predfuse.report.svg import Drawing

FIGURES = ROOT / "docs" / "figures"
COSTS = re.compile(r"<!-- costs.*?-->\n(.*?)<!-- costs: end -->", re.DOTALL)
HEADLINE = re.compile(r"<!-- headline.*?-->\n(.*?)<!-- headline: end -->", re.DOTALL)


def drawings() -> dict[str, Drawing]:
    """Every committed drawing by its file's name."""
    archon = load_spec("archon")
    assert isinstance(archon, ArchonSpec)
    speed = ratios("Speed of fused networks, at equal area", list(headline_rows()), "slower than the rival", "faster")
    costs = {
        f"accuracy_over_{quantity}.svg": scatter(
            f"CIFAR-10: accuracy over {quantity}, machines of 1.7 mm2",
            list(cost_points(column)),
            axis,
            "right, test images",
        )
        for quantity, column, axis in (("cycles", 5, "cycles of one image"), ("energy", 6, "uJ of one image"))
    }
    return {"fusion.svg": fusion_diagram(), "headline.svg": speed, "machine.svg": machine_diagram(archon), **costs}


def cost_points(column: int) -> Iterator[Point]:
    """The CIFAR-10 rows of the table of costs; a row's kind is the machine without what it was searched for."""
    found = COSTS.search((ROOT / "docs" / "explanation" / "zoo.md").read_text(encoding="utf-8"))
    assert found is not None, "zoo.md has no table of costs between its markers"
    for line in found[1].split("\n"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 7 or cells[0] != "cifar10":
            continue
        right, low, high = (float(share.rstrip("%")) for share in (cells[3], *cells[4].split(" to ")))
        name = cells[1].partition("`, ")[0].strip("`")
        yield Point(name, float(cells[column].replace(",", "")), right, low, high, kind(cells[2]))


def headline_rows() -> Iterator[tuple[str, float]]:
    """Name and speed of the rows of the README's first table that carry a name for the figure."""
    found = HEADLINE.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found is not None, "README.md has no headline table between its markers"
    for line in found[1].strip().splitlines()[2:]:
        cells = [cell.strip().strip("*") for cell in line.strip().strip("|").split("|")]
        if len(cells) == 5:
            yield f"{_short(cells[0])} over {_short(cells[1])}", float(cells[2].removesuffix("x"))


def _short(cell: str) -> str:
    return re.sub(r"[`*]", "", cell)


if __name__ == "__main__":
    for name, drawing in drawings().items():
        drawing.save(FIGURES / name)
        print(f"wrote docs/figures/{name}")
