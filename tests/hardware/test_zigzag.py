"""The dense machine beside ZigZag (extra ``peer``): as many multiplications and cycles, the rest within bounds."""

from __future__ import annotations

import pytest
from snippets import ROOT

pytest.importorskip("zigzag", reason="ZigZag is not installed (extra peer)")

import compare_zigzag

PAGE = (ROOT / "docs" / "explanation" / "zigzag.md").read_text(encoding="utf-8").split("`dense-1.7`:")
ROWS = [*(("eyeriss-dense", layer) for layer in compare_zigzag.LAYERS), ("dense-1.7", "depthwise 3x3")]


@pytest.mark.parametrize(("machine", "layer"), ROWS)
def test_zigzag_agrees_within_what_the_page_states(machine: str, layer: str) -> None:
    row = compare_zigzag.compare(layer, machine)
    assert row.macs[0] == row.macs[1]
    assert row.array_cycles[0] == row.array_cycles[1]
    assert row.wide_cycles <= row.total_cycles[1]
    least = 0.9 if machine == "eyeriss-dense" else 0.8  # sizes that round up differ more on a wide array
    assert least < row.total_cycles[0] / row.wide_cycles < 1.35
    assert 0.7 < row.total_cycles[0] / row.total_cycles[1] < 1.2
    table = PAGE[compare_zigzag.MACHINES.index(machine)]
    assert f"| {' | '.join(row.cells())} |" in table, "run python tools/compare_zigzag.py and correct the page"
