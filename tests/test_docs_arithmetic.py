"""What docs/explanation/arithmetic.md shows is true: its figures are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from predfuse import models
from predfuse.fusion.counts import multiplication_reductions

TEXT = (Path(__file__).parents[1] / "docs" / "explanation" / "arithmetic.md").read_text(encoding="utf-8")


def test_the_table_of_reductions_is_what_the_code_gives() -> None:
    reductions = multiplication_reductions(models.network("fusionet"))
    rows = re.findall(r"^\| b(\d+)(?: to b(\d+))?[^|]*\| ([\d.]+) \|$", TEXT, re.MULTILINE)
    stated = {
        f"b{number}": float(value)
        for first, last, value in rows
        for number in range(int(first), int(last or first) + 1)
    }
    assert stated == {name: round(value, 3) for name, value in reductions.items()}
