"""Write the table of searched machines in docs/explanation/archon.md: what each takes for its network, and its size.

    python tools/write_machine_tables.py            # CIFAR-10 is needed: predfuse data fetch cifar10

Every machine whose specification names a search runs one image of the network it was searched for.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

from search_machines import head_of, in_words, search_of, searched

from predfuse.explore.evaluation import Subject
from predfuse.explore.networks import NetworkChoice, make_subject
from predfuse.hardware.area import total_area_mm2
from predfuse.hardware.evaluate import evaluate
from predfuse.hardware.spec import load_spec
from predfuse.report.zoo import with_table

ROOT = Path(__file__).parents[1]
MACHINES = ROOT / "docs" / "explanation" / "archon.md"
MARK = "<!-- machines: made by tools/write_machine_tables.py -->", "<!-- machines: end -->"


@cache
def subject(choice: str) -> Subject:
    """A network made once for all its machines."""
    return make_subject(NetworkChoice.model_validate_json(choice))


def points(name: str) -> str:
    """How many points the search evaluated, from the head of the specification."""
    found = re.search(r"best of ([\d,]+) machines", head_of(name))
    if found is None:
        sys.exit(f"{name}.yaml: its head does not say how many machines were evaluated; run tools/search_machines.py")
    return found[1]


def main() -> int:
    machines = ["| machine | network | points | cycles | uJ | mm2 |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for name in searched():
        spec = load_spec(name)
        choice = search_of(name)[1].network
        made = subject(choice.model_dump_json())
        found = evaluate(spec, made.network, made.masks)
        cells = [name, in_words(choice.model_dump()), points(name), f"{found.cycles:,}", f"{found.energy_uj:.1f}"]
        machines.append(f"| {' | '.join(cells)} | {total_area_mm2(spec):.3f} |")
    MACHINES.write_text(with_table(MACHINES, "\n".join(machines), MARK), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
