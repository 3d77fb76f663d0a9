"""Write what fused networks gain on equal terms into the README and docs/explanation/archon.md.

predfuse compare --run ... --against ... --json docs/measured/DATA.json      # one file for each data set
python tools/write_equal_terms.py                                            # then: python tools/draw_figures.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from measured import ROOT, comparisons, kind, write
from search_machines import head_of

from predfuse.errors import InputError
from predfuse.experiments.equal_terms import INTERPOLATED
from predfuse.report.zoo import with_tables

README, PAGE = ROOT / "README.md", ROOT / "docs" / "explanation" / "archon.md"
HEADLINE = "<!-- headline: made by tools/write_equal_terms.py -->", "<!-- headline: end -->"
SAME = "<!-- same network: made by tools/write_equal_terms.py -->", "<!-- same network: end -->"
DIFFERENT = "<!-- different networks: made by tools/write_equal_terms.py -->", "<!-- different networks: end -->"
BOUNDS = "<!-- bounds: made by tools/write_equal_terms.py -->", "<!-- bounds: end -->"
KINDS = ("sparse-depth-first", "sparse", "dense")
DATA = {"cifar10": "CIFAR-10", "fashion-mnist": "Fashion-MNIST"}
WIDTHS = {"": "", "x2": "", "x0.5": " of half the width", "middle x0.5": ", half inside"}
"""What the widths of a network are called; ``fusionet-s`` for CIFAR-10 is twice as wide as the registered one."""
PUBLISHED = "archon-3.2-fusionet", "sparse-depth-first-3.2-fusionet"

Pair = dict[str, Any]


def rival_kind(pair: Pair) -> str:
    """Of the machine, or machines of one kind, a rival runs on."""
    return kind(pair["rival_machine"].partition(" / ")[0])


def title(label: str) -> str:
    """A network's name as a table has it, from its label."""
    name, _, parts = label.partition(", ")[0].partition(" ")
    parts, tail = parts.removesuffix("with tail").strip(), parts.endswith("with tail")
    return f"`{name}`{WIDTHS.get(parts, f' {parts}')}{', tail pruned' if tail else ''}"


def percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


def rival_of(pair: Pair, costs: Sequence[Mapping[str, Any]]) -> tuple[str, float, str]:
    """What stands beside a fused network at its accuracy: its name, its accuracy, and its stage."""
    if pair["terms"] == INTERPOLATED:
        return "`mobilenetv2-s`, interpolated over width", pair["accuracy"]["share"], ""
    names = pair["rival_network"].split(" / ")
    own = [cost for cost in costs if cost["network"] in names and cost["cycles"] == pair["rival_cycles"]]
    return title(own[0]["network"]), own[0]["accuracy"]["share"], own[0]["network"].partition(", ")[2]


def headline_rows(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[float, str]]:
    """Speed and line of every row of the README's first table, the worst first."""
    rows = [(ratio, line) for data, one in found.items() for ratio, line in _rows_of(data, one)]
    return sorted([*rows, _published()], key=lambda row: row[0])


def _rows_of(data: str, document: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    where = DATA[data].partition("-MNIST")[0]
    for key, mark in (("different_networks", "**"), ("same_network", "")):
        pairs = [pair for pair in document[key] if rival_kind(pair).startswith("sparse")]
        for network, own in groupby(sorted(pairs, key=lambda pair: str(pair["network"])), lambda pair: pair["network"]):
            all_of_it = list(own)
            worst = min(all_of_it, key=lambda pair: float(pair["speedup"]))
            energy = max(float(pair["energy_ratio"]) for pair in all_of_it)
            if key == "same_network":
                rival, theirs = "itself", worst["rival_accuracies"][0]["share"]
            else:
                rival, theirs, _ = rival_of(worst, document["costs"])
            cells = (
                f"{title(network)} ({where})",
                rival,
                f"{mark}{worst['speedup']:.2f}x{mark}",
                f"{mark}{energy:.2f}{mark}",
                f"{percent(worst['accuracy']['share'])}, {percent(theirs)}",
            )
            yield float(worst["speedup"]), f"| {' | '.join(cells)} |"


def _published() -> tuple[float, str]:
    """The published network, calibrated, on the machines searched for it."""
    (cycles, energy), (rival_cycles, rival_energy) = map(_searched, PUBLISHED)
    speed, ratio = rival_cycles / cycles, energy / rival_energy
    return speed, f"| `fusionet` (published; 3.2 mm2) | itself | {speed:.2f}x | {ratio:.2f} | not trained |"


def _searched(name: str) -> tuple[float, float]:
    """Cycles and energy (uJ) that a search found, from the head of the specification."""
    found = re.search(r": ([\d,]+) cycles, ([\d.]+) uJ", head_of(name))
    if found is None:
        raise InputError(f"{name}.yaml", "does not say what was found", "run tools/search_machines.py --write")
    return float(found[1].replace(",", "")), float(found[2])


def same_rows(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for every network: speed and energy over itself on every kind of machine, the worst first."""
    rows = []
    for data, document in found.items():
        for network in dict.fromkeys(str(pair["network"]) for pair in document["same_network"]):
            own = {rival_kind(pair): pair for pair in document["same_network"] if pair["network"] == network}
            pairs = [own[name] for name in KINDS]
            machine, cycles = pairs[0]["machine"], f"{pairs[0]['cycles']:,.0f}"
            cells = [cell for pair in pairs for cell in (f"{pair['speedup']:.2f}x", f"{pair['energy_ratio']:.2f}")]
            line = " | ".join((f"{title(network)}, {DATA[data]}", f"`{machine}`", cycles, *cells))
            rows.append((min(float(pair["speedup"]) for pair in pairs), f"| {line} |"))
    return [line for _, line in sorted(rows)]


def different_rows(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for every network and kind of machine: speed and energy over rivals of its accuracy, the worst first."""
    rows = []
    for data, document in found.items():
        for pair in document["different_networks"]:
            share = float(pair["accuracy"]["share"])
            rival, theirs, stage = rival_of(pair, document["costs"])
            more = f"{abs(theirs - share) * 100:.1f} points {'higher' if theirs > share else 'lower'}"
            beside = f"{more} ({theirs:.2%} {stage})" if stage else "equal"
            first = f"{title(pair['network'])}, {DATA[data]}, {share:.2%}"
            cells = (first, f"{rival}, {rival_kind(pair)}", beside)
            line = " | ".join((*cells, f"{pair['speedup']:.2f}x", f"{pair['energy_ratio']:.2f}"))
            rows.append((float(pair["speedup"]), f"| {line} |"))
    return [line for _, line in sorted(rows)]


def bound_rows(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for every network: what is left over a machine that skips every zero."""
    rows = [
        (float(pair["speedup"]), f"{title(pair['network'])}, {DATA[data]}", f"{pair['energy_ratio']:.1f}")
        for data, document in found.items()
        for pair in document["bounds"]
    ]
    return [f"| {name} | {speed:.2f}x | {energy} |" for speed, name, energy in sorted(rows)]


def pages() -> dict[Path, str]:
    """The README and the page with all tables written anew.

    Raises:
        InputError: What was measured, a page or a specification cannot be read.
    """
    found = comparisons()
    headline = ["| fused on `archon-1.7` | against, pruned and unfused | speed | energy | accuracy, ours and theirs |"]
    headline += ["| --- | --- | ---: | ---: | --- |", *(line for _, line in headline_rows(found))]
    kinds = " | ".join(f"over `{name}` | energy" for name in KINDS)
    same = [f"| fused network | on | cycles | {kinds} |", "| --- | --- | ---: |" + " ---: |" * 6, *same_rows(found)]
    different = ["| fused network | against, on | its accuracy | speed | energy |", "| --- | --- | --- | ---: | ---: |"]
    bounds = ["| fused network | speed | energy |", "| --- | ---: | ---: |", *bound_rows(found)]
    different += different_rows(found)
    page = {SAME: "\n".join(same), DIFFERENT: "\n".join(different), BOUNDS: "\n".join(bounds)}
    return {README: with_tables(README, {HEADLINE: "\n".join(headline)}), PAGE: with_tables(PAGE, page)}


if __name__ == "__main__":
    write(pages)
