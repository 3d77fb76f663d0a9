"""``predfuse compile`` and ``predfuse run`` from end to end, and their exit codes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from predfuse import models
from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.graph.io import save_network
from predfuse.integer import run_program
from predfuse.integer.program_io import load_program, save_program


def predfuse(*arguments: object) -> None:
    """Run a command in this process; errors propagate."""
    app([str(argument) for argument in arguments], standalone_mode=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network, its program, images with labels."""
    folder = tmp_path_factory.mktemp("programs")
    options = {"input_shape": [1, 8, 8], "stage_middle": [16, 16], "num_classes": 3}
    save_network(models.network("fusionet-s", options=options), folder / "network.safetensors")
    images = np.random.default_rng(0).normal(size=(4, 1, 8, 8))
    save_file({"images": images, "labels": np.array([0, 1, 2, 0])}, folder / "images.safetensors")
    predfuse("compile", folder / "network.safetensors", "-o", folder / "program.safetensors", "--images", "random")
    return folder


def test_compiling_twice_gives_the_same_bytes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "again.safetensors"
    predfuse("compile", folder / "network.safetensors", "-o", output, "--images", "random", "--json", "-")
    assert output.read_bytes() == (folder / "program.safetensors").read_bytes()
    summary = json.loads(capsys.readouterr().out)
    assert summary["calibration"] == "random" and summary["calibration_images"] == 256
    assert [layer["name"] for layer in summary["layers"]] == [node.name for node in load_program(output).nodes]
    assert summary["saturations"] == 0


def test_options_reach_the_program(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "p.safetensors"
    widths = ["--weight-bits", "9", "--margin", "3"]
    flags = ["--images", "random", "--count", "3", *widths, "--tile", "4x6"]
    predfuse("compile", folder / "network.safetensors", "-o", output, *flags)
    assert "--tile never changed anything" in capsys.readouterr().err
    program = load_program(output)
    assert program.metadata["options"]["weight_bits"] == 9 and program.metadata["calibration_images"] == 3
    narrow = ("--images", "random", "--count", "2", "--bits", "8")
    predfuse("compile", folder / "network.safetensors", "-o", output, *narrow)
    program = load_program(output)
    assert program.bits == 8 and program.metadata["options"]["weight_bits"] == 8
    assert program.metadata["options"]["sum_bits"] == 12 and {node.bits for node in program.nodes} == {8}


def test_running_gives_table_and_json(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predfuse("run", folder / "program.safetensors", folder / "images.safetensors", "--json", tmp_path / "r.json")
    shown = capsys.readouterr().out
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["count"] == 4 and result["labels"] == [0, 1, 2, 0]
    assert f"accuracy {result['accuracy']:.2%}" in shown and "saturated" in shown
    program = load_program(folder / "program.safetensors")
    images = np.random.default_rng(0).normal(size=(4, 1, 8, 8))
    assert result["scores"] == run_program(program, images).scores.tolist()
    predfuse(
        "run", folder / "program.safetensors", folder / "images.safetensors", "--machine", "reference", "--json", "-"
    )
    slow = json.loads(capsys.readouterr().out)
    assert slow["scores"] == result["scores"] and slow["machine"] == "reference"
    assert slow["saturations"] == result["saturations"]


def test_mistakes_are_refused(folder: Path, tmp_path: Path) -> None:
    network, program, images = (folder / f"{name}.safetensors" for name in ("network", "program", "images"))
    out = tmp_path / "p.safetensors"
    for arguments, message in (
        (("compile", network, "-o", out), "does not say what data it was trained on"),
        (("compile", network, "-o", out, "--images", "random", "--require-fused"), "layer b1: has no predictor"),
        (("compile", network, "-o", out, "--images", "random", "--count", "0"), "--count: is 0"),
        (("compile", network, "-o", out, "--images", "fashion-mnist-1000"), "holds images of 1x28x28"),
        (("compile", network, "-o", tmp_path / "no" / "p", "--images", "random"), "does not exist"),
        (("compile", program, "-o", out, "--images", "random"), "holds format 'predfuse-program'"),
        (("compile", "nothing", "-o", out), "is neither a registered network nor a file"),
        (("run", network, images), "holds format 'predfuse-network', not 'predfuse-program'; make a program of it"),
        (("run", images, images), "is no predfuse-program file"),
        (("run", program, "fashion-mnist-1000"), "holds images of 1x28x28, expected 1x8x8"),
        (("run", program, images, "--machine", "quick"), "--machine: is 'quick'"),
        (("run", program, images, "--count", "0"), "--count: is 0"),
        (("run", program, images, "--json", tmp_path / "no" / "r"), "does not exist"),
    ):
        with pytest.raises(InputError) as caught:
            predfuse(*arguments)
        assert message in str(caught.value)
    assert not out.exists()


def test_labels_of_other_data_are_refused(folder: Path, tmp_path: Path) -> None:
    images, program = tmp_path / "images.safetensors", tmp_path / "program.safetensors"
    save_program(dataclasses.replace(load_program(folder / "program.safetensors"), labels=("a", "b", "c")), program)
    save_file({"images": np.zeros((1, 1, 8, 8)), "labels": np.array([2])}, images)
    predfuse("run", program, images)
    save_file({"images": np.zeros((1, 1, 8, 8)), "labels": np.array([3])}, images)
    with pytest.raises(InputError, match="has label 3, the program knows 3 classes"):
        predfuse("run", program, images)


def test_the_process_exits_with_one_line_and_code_2(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((folder / "program.safetensors").read_bytes()[:-100])
    command = [sys.executable, "-m", "predfuse", "run", str(broken), str(folder / "images.safetensors")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2 and finished.stdout == ""
    assert finished.stderr.startswith(f"predfuse: error: {broken}") and finished.stderr.count("\n") == 1
