"""The study on a small network: ladder and sweep, Pareto front, report, command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.experiments.calibrated import calibrated, with_all_shifts, without_shifts
from predfuse.experiments.study import LADDER, SWEEP, Point, Study, first_rung, mark_front, study
from predfuse.hardware.cycle.archon.machine import prepare, run_archon
from predfuse.hardware.cycle.simulate import predicted_masks
from predfuse.hardware.spec import load_spec
from predfuse.hardware.vary import with_fields
from predfuse.report.study import render_report


def point(cycles: int, energy: float, area: float) -> Point:
    return Point("sweep", "x", cycles, 0, energy, area, cycles, energy, {})


@pytest.fixture(scope="module")
def result() -> Study:
    made = calibrated("fusionet-s", 1)
    return study(made.network, made.images, made.source, ["design.structures.lane_registers"])


def test_front_holds_what_nothing_beats() -> None:
    points = [point(10, 5.0, 5.0), point(5, 10.0, 5.0), point(10, 5.0, 6.0), point(11, 9.0, 4.0), point(10, 5.0, 5.0)]
    assert [p.on_front for p in mark_front(points)] == [True, True, False, True, True]


def test_study(result: Study) -> None:
    parts = [p.part for p in result.points]
    assert parts.count("ladder") == len(LADDER)
    assert [p.label for p in result.points if p.part == "sweep"] == [
        f"lane_registers {value}" for value in SWEEP["design.structures.lane_registers"]
    ]
    assert parts[0] == "published" and parts.count("shipped") == 1
    by_part = {p.part: p for p in result.points}
    assert by_part["shipped"].total_cycles < result.points[0].total_cycles / 1.8
    assert by_part["shipped"].energy_uj < result.points[0].energy_uj / 2
    assert by_part["shipped"].area_um2 <= result.points[0].area_um2
    for p in result.points:
        assert p.unshifted_cycles <= p.total_cycles and p.unshifted_energy_uj < p.energy_uj, p.label
    assert any(p.on_front for p in result.points)
    assert json.loads(json.dumps(result.as_json()))["points"][0]["area_um2"] == result.points[0].area_um2


def test_ladder_begins_with_the_published_machine(result: Study) -> None:
    published, shipped = load_spec("archon-ics21"), load_spec("archon")
    rung = with_fields(shipped, first_rung(published, shipped))  # type: ignore[arg-type]
    for part in ("pe", "global_buffer", "mask_buffer", "array_words_per_access", "array", "dram_bits_per_cycle"):
        assert getattr(rung, part) == getattr(published, part), part
    same = {"structures"}
    assert rung.design.model_dump(exclude=same) == published.design.model_dump(exclude=same)  # type: ignore[union-attr]
    made = calibrated("fusionet-s", 1)
    (masks,) = predicted_masks(made.network, made.images)
    runs = [run_archon(prepare(made.network, spec), masks).result for spec in (published, rung)]  # type: ignore[arg-type]
    assert runs[0].layer_cycles() == runs[1].layer_cycles()
    assert runs[0].total_energy_uj == pytest.approx(runs[1].total_energy_uj, rel=0.01)
    assert result.points[1].total_cycles <= result.points[0].total_cycles == runs[0].total_cycles
    assert result.points[1].area_um2 == pytest.approx(result.points[0].area_um2, rel=1e-3)


def test_every_swept_value_is_a_possible_machine() -> None:
    shipped = load_spec("archon")
    for field, values in SWEEP.items():
        for value in values:
            with_fields(shipped, {field: value})  # type: ignore[arg-type]


def test_report(result: Study) -> None:
    html = render_report(result)
    assert "Pareto front" in html and "archon-ics21, as published" in html
    assert html.count("plotly.js v") <= 1 and "src=" not in html.split("<script")[0]


def test_calibration_gives_live_masks_and_no_shifts_on_request() -> None:
    made = calibrated("mobilenetv2-s", 1)
    assert made.images.shape == (1, 3, 32, 32)
    assert all(block.predictor is not None for block in made.network.bottlenecks())
    bare = without_shifts(made.network)
    assert all(not block.expand_bias.any() and not block.depthwise_bias.any() for block in bare.bottlenecks())
    full = with_all_shifts(made.network)
    assert all(block.expand_bias.all() and block.depthwise_bias.all() for block in full.bottlenecks())
    density = np.mean([np.count_nonzero(b.expand_weight) / b.expand_weight.size for b in bare.bottlenecks()])
    assert density == pytest.approx(0.2, abs=0.01)


def test_command(tmp_path: Path) -> None:
    out, page = tmp_path / "study.json", tmp_path / "study.html"
    arguments = ["study", "fusionet-s", "-f", "none", "--json", str(out), "--report", str(page)]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.output
    assert len(json.loads(out.read_text())["points"]) == 2 + len(LADDER)
    assert page.read_text().startswith("<!")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "fusionet-s", "-f", "wheels"], "field 'wheels': is not swept"),
        (["study", "fusionet-s", "-n", "0"], "--limit: is 0"),
        (["study", "shufflenet", "-f", "none"], "no block with a predictor"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    ran = CliRunner().invoke(app, arguments)
    assert isinstance(ran.exception, InputError)
    assert message in str(ran.exception)
