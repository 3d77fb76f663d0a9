"""Write what the gateware costs the model into docs/explanation/rtl.md: cycles and energy with it, and as estimated.

    python tools/write_estimates.py       # some minutes; CIFAR-10 is needed

One image each, with its own masks. A machine marked * does not hold all blocks of the network; their time is estimated
in both columns, with what the gateware is told charged in the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from measured import ROOT, write

from predfuse.explore.networks import NetworkChoice, make_subject
from predfuse.hardware.evaluate import evaluate
from predfuse.hardware.spec import load_spec
from predfuse.hardware.vary import with_fields
from predfuse.report.zoo import with_tables

PAGE = ROOT / "docs" / "explanation" / "rtl.md"
MARKS = "<!-- estimates: made by tools/write_estimates.py -->", "<!-- estimates: end -->"
NETWORKS = {
    "FusioNet-E": (NetworkChoice(name="cifar10-fusionet-e"), ("archon-1.7-e",)),
    "FusioNet-N, CIFAR-10": (NetworkChoice(name="cifar10-fusionet-n"), ("archon-1.7-n", "archon")),
    "FusioNet-N, Fashion-MNIST": (NetworkChoice(name="fashion-mnist-fusionet-n"), ("archon-1.7-n",)),
    "FusioNet-M, half its middle": (
        NetworkChoice(name="cifar10-fusionet-m-half"),
        ("archon-1.7", "archon-2.5", "archon"),
    ),
    "FusioNet-M": (NetworkChoice(name="cifar10-fusionet-m"), ("archon-1.7-m",)),
    "FusioNet-S, CIFAR-10": (NetworkChoice(name="cifar10-fusionet-s"), ("archon",)),
    "FusioNet-S, Fashion-MNIST": (NetworkChoice(name="fashion-mnist-fusionet-s"), ("archon",)),
    "FusioNet, a fifth of its shifts": (
        NetworkChoice(name="fusionet", shift_share=0.2),
        ("archon-3.2-fusionet", "archon"),
    ),
}
"""What runs where, by what the page calls it."""


def rows() -> list[tuple[float, str]]:
    """Every row with how much more is charged than estimated."""
    found = []
    for network, (choice, machines) in NETWORKS.items():
        subject = make_subject(choice)
        for name in machines:
            spec = load_spec(name)
            charged = evaluate(spec, subject.network, subject.masks)
            before = evaluate(with_fields(spec, {"design.streams": "estimated"}), subject.network, subject.masks)
            cycles, energy = charged.cycles / before.cycles, charged.energy_uj / before.energy_uj
            mark = " *" if charged.estimated_blocks else ""
            cells = [network, name + mark, f"{before.cycles:,}", f"{charged.cycles:,}", f"{100 * cycles - 100:+.0f} %"]
            cells += [f"{before.energy_uj:.1f}", f"{charged.energy_uj:.1f}", f"{100 * energy - 100:+.0f} %"]
            found.append((cycles, f"| {' | '.join(cells)} |"))
    return sorted(found, reverse=True)


def pages() -> Mapping[Path, str]:
    """The page with its table."""
    head = "| network | machine | estimated | charged | | uJ | charged | |\n| --- | --- |" + " ---: |" * 6
    table = "\n".join([head, *(text for _, text in rows())])
    return {PAGE: with_tables(PAGE, {MARKS: table})}


if __name__ == "__main__":
    write(pages)
