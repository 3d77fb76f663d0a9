"""The comparison on the shipped networks: its JSON, its report, machines of equal size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from predfuse import zoo
from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.experiments.compare import CompareResult, compare
from predfuse.experiments.contenders import SHIPPED_RIVAL, SHIPPED_RUN
from predfuse.hardware.area import total_area_um2
from predfuse.hardware.spec import load_spec
from predfuse.report.compare import kind_cycles, render_report
from predfuse.training.checkpoint import read_tensors, write_tensors

ARCHON_UM2 = total_area_um2(load_spec("archon"))
KEYS = {
    "network",
    "accelerator",
    "fidelity",
    "accuracy",
    "total_cycles",
    "compute_cycles",
    "stall_cycles",
    "energy_uj",
    "area_um2",
}


@pytest.fixture(scope="module")
def result() -> CompareResult:
    return compare("shipped", "cycle", images=3)


def test_json(result: CompareResult) -> None:
    document = json.loads(json.dumps(result.as_json()))
    assert {"speedup_over_dense", "speedup_over_sparse", "energy_ratio_to_dense"} <= document.keys()
    for machine in document["machines"]:
        assert machine.keys() >= KEYS
        assert machine["fidelity"] == "cycle" and 0 <= machine["accuracy"] <= 1
        assert machine["total_cycles"] == machine["compute_cycles"] + machine["stall_cycles"]
        assert sum(machine["cycles_by_stage"].values()) == pytest.approx(machine["total_cycles"], rel=0.02)
    assert [m["accelerator"] for m in document["machines"][:4]] == [
        "eyeriss-dense",
        "eyeriss-sparse",
        "archon-ics21",
        "archon",
    ]
    best = document["machines"][3]
    dense = document["machines"][0]
    assert document["speedup_over_dense"] == dense["total_cycles"] / best["total_cycles"] > 3
    assert document["energy_ratio_to_dense"] == best["energy_uj"] / dense["energy_uj"] < 0.3


def test_masks_come_from_the_integer_machine(result: CompareResult) -> None:
    survivors = result.best.contender.survivors
    assert survivors is not None and all(0.1 < share < 0.9 for share in survivors)
    assert len(result.best.contender.masks) == 3
    assert result.best.contender.program is not None


def test_report(result: CompareResult) -> None:
    html = render_report(result)
    assert "archon-ics21" in html and "waiting for predictions" in html
    for machine in result.machines:
        assert sum(kind_cycles(machine).values()) == machine.result.total_cycles


@pytest.fixture(scope="module")
def larger_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped run with predictors whose latent weights are read as whole numbers up to 2."""
    folder = tmp_path_factory.mktemp("larger") / "run"
    shutil.copytree(zoo.folder(SHIPPED_RUN), folder)
    path = folder / "predicted-joint.safetensors"
    tensors, metadata = read_tensors(path)
    known = {key: value for key, value in metadata.items() if key not in ("format", "version")}
    write_tensors(path, tensors, {**known, "largest_weight": 2})
    return folder


def test_larger_predictor_weights_leave_the_published_machine_out(larger_weights: Path) -> None:
    found = compare("shipped", "cycle", images=1, runs=[larger_weights])
    assert found.best.contender.network.largest_predictor_weight == 2
    assert [machine.spec.name for machine in found.machines if machine.role == "fused"] == ["archon"]
    assert found.best.spec.name == "archon" and found.best.area_um2 == ARCHON_UM2
    assert any("has predictor weights up to 2: archon-ics21 cannot run it" in note for note in found.notes)
    assert "archon" in render_report(found)


def test_paper_fidelity_has_the_published_machines_only() -> None:
    result = compare("shipped", "paper", images=1)
    assert [machine.spec.name for machine in result.machines] == ["eyeriss-dense", "eyeriss-sparse", "archon-ics21"]
    assert all(machine.costs.stall_cycles == 0 for machine in result.machines)
    assert "paper fidelity" in render_report(result)


def test_command(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("out.json", "page.html", "trace.json")}
    options = ["--json", "out.json", "--report", "page.html", "--trace", "trace.json"]
    arguments = ["compare", "-n", "1", *(str(paths.get(option, option)) for option in options)]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.output
    assert "speed" in ran.output
    assert json.loads(paths["out.json"].read_text())["images"] == 1
    assert json.loads(paths["trace.json"].read_text())["traceEvents"]
    assert paths["page.html"].stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--networks", "all"], "networks: is 'all'; use shipped or published"),
        (["compare", "--fidelity", "rtl"], "fidelity: is 'rtl'; use paper or cycle"),
        (["compare", "-n", "0"], "--count: is 0"),
        (["compare", "--fidelity", "paper", "--trace", "t.json"], "--trace: needs cycle fidelity"),
        (["compare", "--json", "/nowhere/x.json"], "does not exist"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    ran = CliRunner().invoke(app, arguments)
    assert isinstance(ran.exception, InputError)
    assert message in str(ran.exception)


def test_runs_replace_the_shipped_networks_only() -> None:
    folder = zoo.folder(SHIPPED_RIVAL)
    with pytest.raises(InputError, match="without training runs"):
        compare("published", runs=[folder])
    with pytest.raises(InputError, match="holds no predicted"):
        compare("shipped", runs=[folder])


def test_a_trained_run_of_ones_own_is_compared(result: CompareResult) -> None:
    again = compare("shipped", "cycle", images=3, runs=[zoo.folder(SHIPPED_RUN)], against=[SHIPPED_RIVAL])
    assert again.as_json() == result.as_json()
