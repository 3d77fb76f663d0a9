"""The commands accelerators, simulate and reproduce, as a user runs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from predfuse.cli import main
from predfuse.graph.io import save_network
from predfuse.hardware import load_spec
from predfuse.hardware.closed_form.simulate import simulate
from predfuse.models import network


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["predfuse", *arguments])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_accelerators_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "accelerators") == 0
    shown = capsys.readouterr().out
    for name in ("archon-ics21", "eyeriss-dense", "eyeriss-sparse"):
        assert name in shown


def test_one_is_shown_with_fields_and_area(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "accelerators", "show", "archon-ics21") == 0
    shown = capsys.readouterr().out
    for text in ("pe.mask_sram_depth", "energy_pj.dram_access", "index decoders", "1,531,227.0", "1,695,941.0"):
        assert text in shown


def test_simulate_prints_and_writes_what_the_library_finds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "result.json"
    arguments = ("simulate", "fusionet-s", "--accelerator", "archon-ics21", "--fidelity", "paper", "--json", str(path))
    assert run(monkeypatch, *arguments) == 0
    expected = simulate(network("fusionet-s"), load_spec("archon-ics21"))
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written.pop("images")["mean_cycles"] == expected.total_cycles
    assert written == json.loads(json.dumps(expected.as_json()))
    shown = capsys.readouterr().out
    assert f"{expected.total_cycles:,} cycles" in shown and "GPW1" in shown and "…" not in shown


def test_simulate_takes_a_saved_network_and_json_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    save_network(network("mobilenetv2-s"), path)
    assert run(monkeypatch, "simulate", str(path), "-a", "eyeriss-sparse", "--prune", "--json", "-") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["network"] == "mobilenetv2-s" and document["accelerator"] == "eyeriss-sparse"
    dense = simulate(network("mobilenetv2-s"), load_spec("eyeriss-dense")).total_cycles
    assert document["totals"]["total_cycles"] < dense / 2


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("simulate", "nosuchnet", "-a", "eyeriss-dense"), ("nosuchnet", "fusionet")),
        (("simulate", "fusionet-s", "-a", "nosuch"), ("nosuch", "eyeriss-dense")),
        (("simulate", "fusionet-s", "-a", "eyeriss-dense", "--fidelity", "high"), ("fidelity", "high")),
        (("simulate", "fusionet-s", "-a", "eyeriss-dense", "--json", "/nowhere/x.json"), ("/nowhere/x.json", "folder")),
        (("reproduce", "ics21", "--json", "/nowhere/x.json"), ("/nowhere/x.json", "folder")),
        (("accelerators", "show", "nosuch"), ("nosuch", "eyeriss-dense")),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    parts: tuple[str, ...],
) -> None:
    assert run(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.startswith("predfuse: error: ")
    for part in parts:
        assert part in captured.err


def test_a_bad_specification_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("kind: dense\nname: bad\nclock_mhz: -5\n", encoding="utf-8")
    assert run(monkeypatch, "accelerators", "show", str(path)) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and str(path) in message


def test_reproduce_prints_tables_and_writes_json_and_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figures, report = tmp_path / "figures.json", tmp_path / "report.html"
    assert run(monkeypatch, "reproduce", "ics21", "--json", str(figures), "--report", str(report)) == 0
    shown = capsys.readouterr().out
    for text in ("4,132,672", "718,116", "636,988", "665,738", "5.75x", "2.11x", "6.21x", "2.27x", "GPW1*"):
        assert text in shown
    assert "…" not in shown
    document = json.loads(figures.read_text(encoding="utf-8"))
    assert sum(row["cycles"] for row in document["rows"] if row["network"] == "fusionet") == 636_988
    assert "<html" in report.read_text(encoding="utf-8")
