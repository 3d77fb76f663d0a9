"""The example of a user's own network runs, is short, and is what the documentation shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "own_network.py"


def test_the_example_runs_from_training_to_cycles() -> None:
    done = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    figures = re.search(r"accuracy ([\d.]+)%, integers agree on ([\d.]+)%\narchon\S+: ([\d,]+) cycles", done.stdout)
    assert figures is not None and "Preparation(blocks=('2', '3'), refused={}" in done.stdout
    accuracy, agreement, cycles = (float(text.replace(",", "")) for text in figures.groups())
    assert accuracy > 60 and agreement >= 95 and cycles > 1000


def test_it_is_less_than_40_lines_and_stands_in_the_documentation() -> None:
    code = EXAMPLE.read_text(encoding="utf-8").split("\n", 2)[2]
    assert sum(bool(line.strip()) for line in code.splitlines()) < 40
    shown = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "own_network.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None and shown.group(1) == code
