"""Equal terms: which machines stand beside each other, costs at equal accuracy, and the tables made of them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from rich.console import Console
from typer.testing import CliRunner

from predfuse import models
from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.experiments.compare import CompareResult, compare
from predfuse.experiments.confidence import Accuracy, over_seeds, wilson_interval
from predfuse.experiments.contenders import SHIPPED_RUN, Contender
from predfuse.experiments.equal_terms import (
    BOUND,
    INTERPOLATED,
    LESS_ACCURATE,
    MORE_ACCURATE,
    at_accuracy,
    best_searched,
    different_networks,
    machines,
    same_network,
)
from predfuse.experiments.pairs import Cost
from predfuse.fusion.counts import count_network
from predfuse.hardware.energy import Actions
from predfuse.hardware.result import LedgerEntry, Simulation, SimulationResult, StageResult
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.report import equal_terms as report
from predfuse.report.compare import render_report, terminal_tables
from predfuse.report.terminal import show
from predfuse.training.runs import load_run

SHARES = st.integers(500, 999).map(lambda value: value / 1000)
COSTS = st.integers(1, 10**6).map(float)
MINE = (
    "name: mine\ndescription: more PEs\nextends: eyeriss-sparse\nprices: synthesised\narray: {rows: 9, columns: 24}\n"
)


def cost(
    machine: str, label: str, cycles: int, accuracy: float | None = None, budget: float = 1.7, estimated: int = 0
) -> Cost:
    spec = load_spec(machine)
    tested = None if accuracy is None else Accuracy(accuracy, accuracy - 0.01, accuracy + 0.01, 1, 10_000)
    contender = Contender(models.network("fusionet-s"), label, accuracy, tested=tested)
    row = StageResult("conv1", "main", cycles, 0, cycles, 1.0, {"dram": cycles * 1e5}, Actions(), "", 1)
    ledger = tuple(LedgerEntry(f"b{number}", "fused", "the gateware does not hold it") for number in range(estimated))
    result = SimulationResult("n", machine, "cycle", 200.0, (row,), ledger)
    return Cost(contender, spec, budget, budget, Simulation((result,)))


@given(SHARES, st.lists(st.tuples(SHARES, COSTS), min_size=1, max_size=6))
def test_costs_at_equal_accuracy_lie_on_the_front(target: float, points: list[tuple[float, float]]) -> None:
    found, terms = at_accuracy(target, points)
    enough = [cost for share, cost in points if share >= target]
    less = [cost for share, cost in points if share <= target]
    if enough:
        assert found <= min(enough) * (1 + 1e-9), "no network of at least that accuracy is cheaper"
    if terms == INTERPOLATED and less:
        assert any(cost <= found * (1 + 1e-9) for cost in less)
    for low, cheap in points:  # nor any mixture of two, whose cost grows evenly with their accuracy
        for high, dear in points:
            if low < target < high and cheap < dear:
                assert found <= cheap * (dear / cheap) ** ((target - low) / (high - low)) * (1 + 1e-9)
    assert (terms == LESS_ACCURATE) == (target > max(share for share, _ in points))
    for share, price in points:
        alone, how = at_accuracy(share, [(share, price)])
        assert alone == pytest.approx(price) and how == INTERPOLATED


def test_of_searched_machines_the_best_for_a_network_is_taken() -> None:
    first, second = cost("sparse-1.7", "n", 300), cost("sparse-1.7-m", "n", 200)
    others = [cost("sparse-depth-first-1.7", "n", 250), cost("eyeriss-sparse", "n", 400)]
    assert best_searched([first, second, *others]) == [second, *others]
    assert best_searched([second, first, cost("sparse-2.5", "n", 900, budget=1.0)])[0] is second


def test_a_machine_whose_gateware_holds_the_network_is_taken_if_there_is_one() -> None:
    held, faster = cost("archon-1.7-m", "n", 300), cost("archon-1.7", "n", 200, estimated=1)
    assert best_searched([faster, held]) == best_searched([held, faster]) == [held]
    fastest = cost("archon-1.7-n", "n", 100, estimated=2)
    assert best_searched([faster, fastest]) == [fastest] and fastest.estimated_blocks == ["b0", "b1"]


@given(SHARES, SHARES, st.lists(st.tuples(SHARES, COSTS), min_size=1, max_size=6))
def test_more_accuracy_never_costs_less(one: float, other: float, points: list[tuple[float, float]]) -> None:
    low, high = sorted((one, other))
    assert at_accuracy(low, points)[0] <= at_accuracy(high, points)[0] * (1 + 1e-9)


def test_interpolation_is_logarithmic_and_its_ends_are_told() -> None:
    points = [(0.90, 100.0), (0.92, 400.0), (0.91, 900.0)]  # the last is dominated
    between, told = at_accuracy(0.91, points)
    assert between == pytest.approx(200.0) and told == INTERPOLATED
    assert at_accuracy(0.95, points) == (400.0, LESS_ACCURATE)
    assert at_accuracy(0.85, points) == (100.0, MORE_ACCURATE)


def test_only_machines_of_equal_area_and_bandwidth_are_paired() -> None:
    ours = cost("archon", "f", 100)
    near, far = cost("eyeriss-sparse", "u", 300, budget=1.6), cost("eyeriss-sparse", "u", 300, budget=1.4)
    slow = Cost(near.contender, near.spec.model_copy(update={"dram_bits_per_cycle": 64}), 1.6, 1.6, near.costs)
    pairs = list(same_network([ours], [near, far, slow]))
    assert [(pair.speedup, pair.rival_area_mm2) for pair in pairs] == [(3.0, 1.6)]
    assert pairs[0].energy_ratio == pytest.approx(1 / 3)


def test_different_networks_are_interpolated_per_machine() -> None:
    ours = cost("archon", "f", 100, 0.91)
    rivals = [cost("eyeriss-sparse", "a", 100, 0.90), cost("eyeriss-sparse", "b", 400, 0.92)]
    rivals.append(cost("eyeriss-dense", "c", 500, 0.93))
    sparse, dense = different_networks([ours], rivals)
    assert (sparse.rival_network, sparse.terms) == ("a / b", INTERPOLATED)
    assert sparse.speedup == pytest.approx(2.0) and len(sparse.rival_accuracies) == 2
    assert (dense.speedup, dense.terms) == (5.0, MORE_ACCURATE)
    assert not list(different_networks([cost("archon", "untrained", 100)], rivals))


def test_widths_on_two_shipped_machines_of_a_kind_are_interpolated() -> None:
    ours = cost("archon", "f", 100, 0.91, budget=1.7)
    rivals = [cost("sparse-1.7-m", "a", 100, 0.90, budget=1.7), cost("sparse-1.7", "b", 400, 0.92, budget=1.7)]
    (pair,) = different_networks([ours], [*rivals, cost("sparse-2.5", "c", 1, 0.93, budget=1.0)])
    assert (pair.terms, pair.rival_machine) == (INTERPOLATED, "sparse-1.7-m / sparse-1.7")
    assert pair.speedup == pytest.approx(2.0)


def test_intervals_hold_every_seed() -> None:
    found = over_seeds([0.90, 0.92], 1000)
    assert found.share == pytest.approx(0.91) and found.seeds == 2
    assert (found.low, found.high) == (wilson_interval(0.90, 1000)[0], wilson_interval(0.92, 1000)[1])


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("machines") / "mine.yaml"
    path.write_text(MINE)
    return path


@pytest.fixture(scope="module")
def result(mine: Path) -> CompareResult:
    return compare(images=1, accelerators=["archon", str(mine), "eyeriss-dense"], tail=True, curves=True)


def test_a_machine_of_ones_own_stands_on_equal_terms(result: CompareResult) -> None:
    equal = result.equal
    assert equal is not None and equal.worst is not None
    (pair,) = equal.same_network  # the published dense machine is smaller
    assert (pair.machine, pair.rival_machine, pair.terms) == ("archon", "mine", "same network")
    assert "tail too" in pair.rival_network and pair.accuracy is not None and pair.accuracy.seeds == 2
    assert pair.cycles == result.best.costs.total_cycles
    assert equal.worst is pair and not equal.different_networks, "accuracies with a pruned tail are not known"
    (bound,) = equal.bounds
    counted = count_network(load_run(SHIPPED_RUN, predictor=True).pruned.network).total
    assert bound.terms == BOUND and bound.rival_cycles < pair.rival_cycles
    assert 0 < bound.rival_cycles < counted.pruned.multiplications / (9 * 24 / 2 * 0.8)
    assert 0 < bound.rival_energy_uj < pair.rival_energy_uj
    bits = [each.dram_bits_per_cycle for each in equal.bandwidths]
    assert bits == [64, 128, 256, 512, 1024]
    for cycles in ([each.cycles for each in equal.bandwidths], [each.rival_cycles for each in equal.bandwidths]):
        assert cycles == sorted(cycles, reverse=True), "more bandwidth never costs cycles"
    # Another machine may be the best where bandwidth is scarce.
    scarce = dataclasses.replace(equal.bandwidths[0], machine="other")
    mixed = dataclasses.replace(equal, bandwidths=(scarce, *equal.bandwidths[1:]))
    (table,) = (one for one in report.tables(mixed) if "DRAM bits a cycle" in one.caption)
    gains = [f"{each.speedup:.2f}x" for each in equal.bandwidths]
    assert sorted(list(row[2:]) for row in table.rows) == sorted([[gains[0], *["-"] * 4], ["-", *gains[1:]]])
    document = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert document["same_network"][0]["speedup"] == pair.rival_cycles / pair.cycles
    assert math.isclose(document["same_network"][0]["energy_ratio"], pair.energy_uj / pair.rival_energy_uj)


def test_blocks_that_a_gateware_does_not_hold_are_named() -> None:
    notes = [note for note in compare(images=1, accelerators=["archon", "archon-1.7"]).notes if "estimated" in note]
    assert len(notes) == 1 and "on archon-1.7: the time of b2, b3, b4, b5, b6 is estimated" in notes[0]


def test_tables_fit_eighty_columns_and_the_worst_stands_first(result: CompareResult) -> None:
    console = Console(width=80)
    with console.capture() as captured:
        for shown in terminal_tables(result):
            show(shown, console)
    text = captured.get()
    assert "…" not in text and text.index("Same network") < text.index("The published pairs")
    html = render_report(result)
    shipped = [cost(f"{kind}-1.7", kind, 10**6, 0.91) for kind in ("archon", "sparse-depth-first")]
    (pair,) = different_networks(shipped[:1], shipped[1:])
    (same,) = same_network(shipped[:1], [cost("sparse-depth-first-1.7-m", "m", 10**6)])
    assert result.equal is not None
    equal = dataclasses.replace(result.equal, different_networks=(pair,), same_network=(same,))
    long = dataclasses.replace(result, equal=equal)
    with console.capture() as captured:
        for shown in terminal_tables(long):
            show(shown, console)
    assert "sparse-depth-first-1.7-m" in captured.get() and "…" not in captured.get()
    assert html.index("On equal terms") < html.index("As published")
    assert result.equal is not None
    assert report.worst_sentence(result.equal) in html


def test_command_takes_machines_of_ones_own(mine: Path) -> None:
    ran = CliRunner().invoke(app, ["compare", "-n", "1", "-a", "archon", "-a", str(mine), "--csv", "-"])
    assert ran.exit_code == 0, ran.output
    rows = list(csv.DictReader(io.StringIO(ran.stdout)))
    assert [row["table"] for row in rows[:3]] == ["same_network", "bounds", "different_networks"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-a", "nothing"], "accelerator 'nothing': is neither shipped nor a file"),
        (["-a", "archon", "-a", "archon"], "gives two machines called 'archon'"),
        (["-a", "archon", "--fidelity", "paper"], "fidelity: is 'paper', which has the published machines only"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    ran = CliRunner().invoke(app, ["compare", *arguments])
    assert isinstance(ran.exception, InputError) and message in str(ran.exception)


def test_without_names_the_searched_machines_are_taken() -> None:
    assert all("-1.7" in spec.name for spec in machines())
    assert {spec.name for spec in machines()} <= {spec.name for spec in machines(all_areas=True)}


def test_every_searched_archon_runs_the_widest_predictor_weights() -> None:
    archons = [spec for spec in machines(all_areas=True) if isinstance(spec, ArchonSpec)]
    assert len(archons) >= 5 and {spec.design.largest_predictor_weight for spec in archons} == {4}
