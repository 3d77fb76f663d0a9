"""Write the tables of searched machines in docs/explanation: what each takes for its network, its size at both prices.

    python tools/write_machine_tables.py            # CIFAR-10 is needed: predfuse data fetch cifar10

Every machine whose specification names a search runs one image of the network it was searched for.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

from search_machines import SPECS, in_words, search_of, searched

from predfuse.explore.evaluation import Subject
from predfuse.explore.networks import NetworkChoice, make_subject
from predfuse.hardware.area import synthesised_area_mm2, total_area_mm2
from predfuse.hardware.evaluate import evaluate
from predfuse.hardware.spec import load_spec
from predfuse.hardware.synthesised import at_synthesis
from predfuse.report.zoo import with_table

ROOT = Path(__file__).parents[1]
MACHINES = ROOT / "docs" / "explanation" / "archon.md"
PRICES = ROOT / "docs" / "explanation" / "hardware.md"
MARK = "<!-- machines: made by tools/write_machine_tables.py -->", "<!-- machines: end -->"


@cache
def subject(choice: str) -> Subject:
    """A network made once for all its machines."""
    return make_subject(NetworkChoice.model_validate_json(choice))


def points(name: str) -> str:
    """How many points the search evaluated, from the head of the specification."""
    head = " ".join(line.lstrip("# ") for line in (SPECS / f"{name}.yaml").read_text(encoding="utf-8").splitlines())
    found = re.search(r"best of ([\d,]+) machines", head)
    if found is None:
        sys.exit(f"{name}.yaml: its head does not say how many machines were evaluated; run tools/search_machines.py")
    return found[1]


def main() -> int:
    machines = ["| machine | network | points | cycles | uJ | mm2 |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    prices = [
        "| machine | published mm2 | synthesised mm2 | ratio | published uJ | synthesised uJ |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    shipped = [name for name in searched() if "-cells-" not in name]
    for name in ("archon", "archon-shift", *shipped):
        spec = load_spec(name)
        area, synthesised = total_area_mm2(spec), synthesised_area_mm2(spec)
        priced = at_synthesis(spec)
        assert synthesised is not None and priced is not None
        energies = ["-", "-"]
        if name in shipped:
            choice = search_of(name)[1].network
            made = subject(choice.model_dump_json())
            found, at_cells = (evaluate(one, made.network, made.masks) for one in (spec, priced))
            energies = [f"{found.energy_uj:.2f}", f"{at_cells.energy_uj:.2f}"]
            cells = [name, in_words(choice.model_dump()), points(name), f"{found.cycles:,}"]
            machines.append(f"| {' | '.join(cells)} | {found.energy_uj:.1f} | {area:.3f} |")
        sizes = f"{area:.3f} | {synthesised:.3f} | {synthesised / area:.2f}"
        prices.append(f"| `{name}` | {sizes} | {' | '.join(energies)} |")
    for page, table in ((MACHINES, machines), (PRICES, prices)):
        page.write_text(with_table(page, "\n".join(table), MARK), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
