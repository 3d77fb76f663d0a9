"""Machines that ship from searches: their areas, and the figures of docs/explanation/archon.md, run again."""

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
AREAS_MM2 = ("1.7", "2.5", "3.2")
MACHINES = {name: float(area) for name in names() for area in AREAS_MM2 if area in name.split("-")}


@lru_cache(maxsize=2)
def pruned(run: str) -> Network:
    return load_run(run, predictor=False).pruned.network


def documented(machine: str) -> tuple[int, float, float]:
    """Cycles, energy (uJ) and area (mm2) of the machine's row in the table."""
    rows = [
        line.split("|") for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {machine} |")
    ]
    assert len(rows) == 1, machine
    cycles, energy, area = (cell.strip().replace(",", "") for cell in rows[0][4:7])
    return int(cycles), float(energy), float(area)


def require_documented(machine: str, found: Evaluation) -> None:
    cycles, energy, area = documented(machine)
    assert (found.cycles, f"{found.energy_uj:.1f}", f"{found.area_mm2:.3f}") == (cycles, f"{energy:.1f}", f"{area:.3f}")


def test_all_kinds_ship_within_their_area_at_the_prices_of_synthesis() -> None:
    assert {"archon-1.7-n", "dense-2.5", "sparse-1.7-half", "archon-3.2-fusionet"} <= set(MACHINES)
    for name, most in MACHINES.items():
        spec = load_spec(name)
        assert spec.prices == "synthesised" and 0.8 * most <= total_area_mm2(spec) <= most, name
        assert f"{total_area_mm2(spec):.3f}" == f"{documented(name)[2]:.3f}"


@pytest.mark.parametrize(
    ("machine", "run"),
    [
        ("sparse-depth-first-1.7-n", "cifar10-fusionet-n"),
        ("sparse-1.7-n", "cifar10-fusionet-n"),
        ("sparse-depth-first-1.7-half", "cifar10-mobilenetv2-s-x0.5"),
        ("sparse-1.7-half", "cifar10-mobilenetv2-s-x0.5"),
    ],
)
def test_rivals_cost_what_the_page_says(machine: str, run: str) -> None:
    require_documented(machine, evaluate(load_spec(machine), pruned(run)))


def test_the_fused_machine_costs_what_the_page_says() -> None:
    try:
        data.load("cifar10", "test", limit=1)
    except InputError as error:
        pytest.skip(str(error))
    subject = make_subject(NetworkChoice(name="cifar10-fusionet-n"))
    require_documented("archon-1.7-n", evaluate(load_spec("archon-1.7-n"), subject.network, subject.masks))
