"""Machines searched at prices of synthesis: their areas, and the figures of docs/explanation/archon.md, run again."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

from predfuse import data
from predfuse.errors import InputError
from predfuse.explore.networks import NetworkChoice, make_subject
from predfuse.graph.nodes import Network
from predfuse.hardware.area import total_area_mm2
from predfuse.hardware.evaluate import Evaluation, evaluate
from predfuse.hardware.spec import load_spec, names
from predfuse.training.runs import load_run

DOCS = Path(__file__).parents[2] / "docs" / "explanation" / "archon.md"
MACHINES = [name for name in names() if "-cells-" in name]
AREA_MM2 = 1.7


@lru_cache(maxsize=2)
def pruned(run: str) -> Network:
    return load_run(run, predictor=False).pruned.network


def documented(machine: str) -> tuple[float, int, float]:
    """Area (mm2), cycles and energy (uJ) of the machine's row in the table."""
    rows = [line.split("|") for line in DOCS.read_text(encoding="utf-8").splitlines() if f"| {machine} |" in line]
    assert len(rows) == 1, machine
    area, cycles, energy = (cell.strip().replace(",", "") for cell in rows[0][4:7])
    return float(area), int(cycles), float(energy)


def require_documented(machine: str, found: Evaluation) -> None:
    area, cycles, energy = documented(machine)
    assert (
        found.cycles == cycles
        and f"{found.energy_uj:.2f}" == f"{energy:.2f}"
        and f"{found.area_mm2:.3f}" == f"{area:.3f}"
    )


def test_all_kinds_ship_within_their_area() -> None:
    assert {"archon-cells-n", "dense-cells-n", "sparse-cells-x0.5", "sparse-depth-first-cells-x0.5"} <= set(MACHINES)
    for name in MACHINES:
        spec = load_spec(name)
        assert spec.prices == "synthesised" and 0.9 * AREA_MM2 <= total_area_mm2(spec) <= AREA_MM2
        assert round(total_area_mm2(spec), 3) == documented(name)[0]


@pytest.mark.parametrize("machine", [name for name in MACHINES if not name.startswith("archon")])
def test_rivals_cost_what_the_page_says(machine: str) -> None:
    run = "cifar10-mobilenetv2-s-x0.5" if machine.endswith("x0.5") else "cifar10-fusionet-n"
    require_documented(machine, evaluate(load_spec(machine), pruned(run)))


def test_the_fused_machine_costs_what_the_page_says() -> None:
    try:
        data.load("cifar10", "test", limit=1)
    except InputError as error:
        pytest.skip(str(error))
    subject = make_subject(NetworkChoice(name="cifar10-fusionet-n"))
    require_documented("archon-cells-n", evaluate(load_spec("archon-cells-n"), subject.network, subject.masks))
