"""Write the table of docs/explanation/zoo.md that says what every network gets right and what an image costs.

predfuse compare --run ... --against ... --json docs/measured/DATA.json      # one file for each data set
python tools/write_cost_table.py                                             # then: python tools/draw_figures.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from predfuse.errors import InputError
from predfuse.readers.documents import read_json
from predfuse.report.zoo import with_table

ROOT = Path(__file__).parents[1]
PAGE, MEASURED = ROOT / "docs" / "explanation" / "zoo.md", ROOT / "docs" / "measured"
MARK = "<!-- costs: made by tools/write_cost_table.py -->", "<!-- costs: end -->"
MEND = "name a file that predfuse compare --run ... --json wrote"
HEADINGS = ("data", "network", "machine", "right", "95 % interval", "cycles", "uJ")


def rows(path: Path) -> list[list[str]]:
    """The networks of one comparison on all machines, the fastest first.

    Raises:
        InputError: The file cannot be read, or no comparison of trained networks wrote it.
    """
    found = read_json(path)
    try:
        data = found["image_source"].removesuffix(" test images")
        costs = sorted(found["costs"], key=lambda cost: cost["cycles"])
        made = [[data, *_cells(cost)] for cost in costs if cost["accuracy"] is not None]
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(str(path), "has no costs of trained networks", MEND) from error
    if not made:
        raise InputError(str(path), "has no trained network", MEND)
    return made


def _cells(cost: dict[str, Any]) -> list[str]:
    tested = cost["accuracy"]
    network, machine = f"`{cost['network'].partition(', ')[0]}`, {cost['network'].partition(', ')[2]}", cost["machine"]
    right, interval = f"{tested['share']:.2%}", f"{tested['low']:.2%} to {tested['high']:.2%}"
    return [network, machine, right, interval, f"{cost['cycles']:,.0f}", f"{cost['energy_uj']:.1f}"]


def page() -> str:
    """The page with its table written anew."""
    lines = [f"| {' | '.join(HEADINGS)} |", "| --- | --- | --- | ---: | --- | ---: | ---: |"]
    lines += [f"| {' | '.join(row)} |" for path in sorted(MEASURED.glob("*.json")) for row in rows(path)]
    return with_table(PAGE, "\n".join(lines), MARK)


def main() -> int:
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
