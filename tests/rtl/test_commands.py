"""``predfuse rtl``: a program of one block on a small machine, run, written to a folder, and a lie found out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from integer.block_cases import INPUT_BITS, compiled, example_block
from rtl.blocks import dense_block
from rtl.machines import SMALL, THREE, TINY, require_tools, simulator_of, spec_of
from typer.testing import CliRunner

from predfuse.arrays import Int64Array
from predfuse.cli import app
from predfuse.errors import InputError, PredfuseError
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.sequence.schedule import Clock
from predfuse.integer.options import CompileOptions
from predfuse.integer.program import Program
from predfuse.integer.program_io import save_program
from predfuse.rtl.build import build, find_tools
from predfuse.rtl.generate import generate
from predfuse.rtl.starts import Measured, Step, compare


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A program and two images; every specification stands for the small machine."""
    simulator_of(SMALL)
    monkeypatch.setattr(Machine, "of", staticmethod(lambda spec: SMALL))
    monkeypatch.setattr("predfuse.cli.rtl.load_spec", lambda name: spec_of(SMALL))
    case = example_block()
    # Every second weight, as in a pruned network.
    half = np.indices(case.block.expand_weight.shape).sum(axis=0) % 2
    block = replace(case.block, expand_weight=case.block.expand_weight * half)
    node = compiled(replace(case, block=block), CompileOptions(sum_bits=20, accumulator_bits=48))
    shape = (case.x.shape[0], case.x.shape[1], case.x.shape[2])
    table = np.zeros((shape[0], 256), np.int16)
    save_program(Program("p", shape, INPUT_BITS, table, (node,)), tmp_path / "p.prog")
    np.save(tmp_path / "x.npy", np.stack([case.x, -case.x]).astype(np.float32))
    return str(tmp_path / "p.prog"), str(tmp_path / "x.npy")


def test_a_run_is_exact(files: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    ran = CliRunner().invoke(app, ["rtl", "run", *files, "--count", "2", "--json", str(path)])
    assert ran.exit_code == 0, ran.output
    (block,) = json.loads(path.read_text())["blocks"]
    # Two images of four tiles each, all on the 4x4 pixels.
    assert block["list_cycles"] == block["planned_list_cycles"] > 0
    assert block["predict_cycles"] == block["planned_predict_cycles"] > 0
    assert block["wrong_passes"] == block["wrong_pixels"] == 0
    assert not json.loads(path.read_text())["differences"]
    assert (
        block["cycles"]
        == block["planned_cycles"]
        == block["model_cycles"]
        > block["core_cycles"]
        >= block["list_cycles"]
    )
    assert block["fill_cycles"] > block["fill_cycles_beside"] > 0


def test_a_difference_is_told_and_is_exit_code_1(files: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def lie(step: Step, measured: Measured, pixels: Int64Array) -> object:
        return [(block, replace(one, wrong_pixels=1)) for block, one in compare(step, measured, pixels)]

    monkeypatch.setattr("predfuse.rtl.run.compare", lie)
    ran = CliRunner().invoke(app, ["rtl", "run", *files])
    assert isinstance(ran.exception, SystemExit) and ran.exit_code == 1
    assert "wrong_pixels=1" in "".join(ran.output.split())


def test_comparing_finds_every_kind_of_difference() -> None:
    right, pixels = Measured(3, 4, (1, 2), Clock(9)), np.array([0, 5, 6])
    step = Step(1, 1, 1, "a step", 9, right, np.array([1, 2]), pixels[1:])
    ((block, same),) = compare(step, right, pixels)
    assert block == 1 and not same.differs
    for wrong in (
        replace(right, list_cycles=2),
        replace(right, predict_cycles=5),
        replace(right, begins=(1, 3)),
        replace(right, begins=(1,)),
        replace(right, before=Clock(8)),
    ):
        ((_, found),) = compare(step, wrong, pixels)
        assert found.differs
    ((_, found),) = compare(step, right, pixels + 1)
    assert found.wrong_pixels == 2
    # Outputs of the block before are its own affair, the rest is that of the block that is worked on.
    (own, found), (before, outputs) = compare(replace(step, leaves=0), replace(right, list_cycles=2), pixels + 1)
    assert (own, found.wrong_pixels, found.differs, found.list_cycles) == (1, 0, True, 2)
    assert (before, outputs.wrong_pixels, outputs.list_cycles) == (0, 2, 0)


def test_the_folder_checks_itself(files: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "gateware"
    wrote = CliRunner().invoke(app, ["rtl", "generate", *files, "-o", str(out)])
    assert wrote.exit_code == 0, wrote.output
    assert {"Makefile", "bench.cpp", "compare.cpp", "sv"} <= {path.name for path in out.iterdir()}
    # What make does, with the machine that is built already.
    compiler = str(find_tools().compiler)
    subprocess.run([compiler, str(out / "compare.cpp"), "-o", str(out / "compare")], check=True)
    (told,), (expected,) = out.glob("*.images"), out.glob("*.expected")
    subprocess.run([str(build(SMALL)), str(told), str(out / "results")], check=True)
    command = [str(out / "compare"), str(expected), str(out / "results")]
    assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0
    raw = np.fromfile(expected, np.int64)
    raw[0] += 1
    raw.tofile(expected)
    assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 1
    again = CliRunner().invoke(app, ["rtl", "generate", *files, "-o", str(out)])
    assert isinstance(again.exception, PredfuseError) and "exists already" in str(again.exception)


def test_the_folder_is_built_by_its_own_makefile(tmp_path: Path) -> None:
    """Verilator, make and a compiler, nothing of predfuse; a word that is told wrong is found."""
    tools = require_tools()
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    case, out = dense_block(4, 4), tmp_path / "gateware"
    node = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48))
    program = Program("p", (4, 5, 5), INPUT_BITS, np.zeros((4, 256), np.int16), (node,))
    (name,) = generate(program, case.x[None].astype(np.float32), THREE, out)
    environment = {**os.environ, "VERILATOR_ROOT": str(tools.root)}
    environment.pop("PYTHONPATH", None)

    def make() -> int:
        command = ["make", "-C", str(out), f"VERILATOR={tools.verilator}"]
        return subprocess.run(command, check=False, capture_output=True, env=environment).returncode

    assert make() == 0
    lines = np.fromfile(out / f"{name}.images", np.int32)
    # Maps begin the image: whether the first channel has a gate word at the first tap.
    lines[4] ^= 1
    lines.tofile(out / f"{name}.images")
    assert make() != 0


def test_waveforms_take_the_form_of_their_suffix(tmp_path: Path) -> None:
    try:
        simulator = simulator_of(TINY, waves="fst")
    except InputError as error:
        if "needs the headers" not in str(error):
            raise
        pytest.skip(str(error))
    simulator.run([], tmp_path / "waves.fst")
    assert (tmp_path / "waves.fst").read_bytes()[0] == 0  # the header block of FST


def test_other_waveforms_are_refused(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["rtl", "run", "no.prog", "no.npy", "--trace", str(tmp_path / "waves.ghw")])
    assert isinstance(ran.exception, InputError) and ".fst or a .vcd" in str(ran.exception)
