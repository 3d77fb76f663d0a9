"""Every kind of output on a full disk and where nobody can write: one line, nothing half-written or left behind."""

from __future__ import annotations

import dataclasses
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import save_file

from predfuse import cli, models
from predfuse.graph.io import save_network

NETWORK = "{given}/network.safetensors"
PROGRAM = "{given}/program.safetensors"
PICTURES = "{given}/images.safetensors"
TRACE = ["trace", "cli.test_full_disk:module", "--input", "1,1,8,8", "--mean", "0.5", "--std", "0.25"]
RANDOM = ["--images", "random", "--count", "2"]
COMMANDS = {
    "accelerators --json": ["accelerators", "--json", "{out}"],
    "accelerators --csv": ["accelerators", "--csv", "{out}"],
    "accelerators --report": ["accelerators", "--report", "{out}"],
    "accelerators new": ["accelerators", "new", "-o", "{out}.yaml"],
    "ablations": ["zoo", "ablations", "--write", "{out}.md"],
    "table": ["zoo", "table", "--write", "{out}.md"],
    "trace": [*TRACE, "-o", "{out}"],
    "compile": ["compile", NETWORK, *RANDOM, "-o", "{out}"],
    "compile --json": ["compile", NETWORK, *RANDOM, "-o", "{out}", "--json", "{out}.json"],
    "prepare": ["prepare", NETWORK, *RANDOM, "--steps", "0", "-o", "{out}"],
    "prune": ["prune", NETWORK, "-o", "{out}"],
    "evaluate --json": ["evaluate", NETWORK, "--images", "{given}/pictures", "--json", "{out}"],
    "push": ["zoo", "push", "fashion-mnist-mobilenetv2-s-x0.5", "{out}"],
    "export torch": ["export", NETWORK, "-o", "{out}.pt2"],
    "export onnx": ["export", NETWORK, "-o", "{out}.onnx"],
    "export memory": ["export", PROGRAM, "-o", "{out}", "--form", "memory"],
    "run --csv": ["run", PROGRAM, PICTURES, "--csv", "{out}"],
    "run --dump": ["run", PROGRAM, PICTURES, "--dump", "{out}"],
    "rtl generate": ["rtl", "generate", PROGRAM, PICTURES, "-o", "{out}"],
    "simulate --report": ["simulate", NETWORK, "-a", "eyeriss-sparse", "--report", "{out}"],
    "simulate --trace": [
        "simulate",
        NETWORK,
        "-a",
        "archon",
        "--images",
        PICTURES,
        "--fidelity",
        "cycle",
        "--trace",
        "{out}",
    ],
    "analyze --json": ["analyze", NETWORK, "--json", "{out}"],
    "train": ["train", "{given}/config.yaml", "-o", "{out}"],
    "explore": ["explore", "{given}/space.yaml", "-o", "{out}"],
    "demo --report": ["demo", "--report", "{out}"],
    "compare --json": ["compare", "--json", "{out}"],
}
LATE = ("demo", "compare", "rtl", "push")
"""Slow to get to their output, or first at a copy elsewhere: only the place nobody can write is tried, which they find
before they begin."""
KEPT = {"train": ["out", "out/.lock"], "explore": ["out", "out/cache", "out/search.lock"]}
"""What stays of folders in which interrupted work goes on."""


def module() -> object:
    """A network to trace."""
    from torch import nn

    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network, its program, images, a training and a search."""
    folder = tmp_path_factory.mktemp("given")
    options = {"input_shape": [1, 8, 8], "stage_middle": [16, 16], "num_classes": 3}
    network = dataclasses.replace(models.network("fusionet-s", options=options), mean=(0.5,), std=(0.25,))
    save_network(network, folder / "network.safetensors")
    save_file({"images": np.zeros((2, 1, 8, 8))}, folder / "images.safetensors")
    for name in "abc":
        (folder / "pictures" / name).mkdir(parents=True)
        for place in range(5):
            Image.new("L", (8, 8), 40 * place).save(folder / f"pictures/{name}/{place}.png")
    config = {
        "network": {"name": "fusionet-s", "options": {"stage_middle": [16, 16]}},
        "data": {"name": f"folder:{folder}/pictures"},
        "vanilla": {"epochs": 1},
        "batch_size": 4,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    space = {"machine": "eyeriss-sparse", "network": {"name": "mobilenetv2-s", "fused": False, "pruned": "nothing"}}
    space |= {"fields": {"machine.array.rows": [3, 4]}, "objectives": ["total_cycles"], "sampler": "grid"}
    (folder / "space.yaml").write_text(yaml.safe_dump(space))
    prepare = ["prepare", NETWORK, *RANDOM, "--steps", "0", "-o", "{given}/prepared.safetensors"]
    compiled = ["compile", NETWORK, *RANDOM, "-o", PROGRAM]
    for argv in (compiled, ["run", PROGRAM, PICTURES], ["analyze", NETWORK], prepare):  # which also makes the kernels
        cli.app([part.format(given=folder) for part in argv], standalone_mode=False)
    return folder


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow: what a full disk is to a program."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def fails_in_one_line(argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the command line; the line it failed with."""
    monkeypatch.setattr(sys, "argv", ["predfuse", *argv])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr()
    assert ended.value.code in (1, 2), shown
    lines = [line for line in shown.err.splitlines() if line.startswith("predfuse: error: ")]
    assert len(lines) == 1 and "Traceback" not in shown.err, shown.err
    assert shown.err.endswith(lines[0] + "\n")
    return lines[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_outputs_that_cannot_be_written(
    name: str, given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def argv(out: Path) -> list[str]:
        return [part.format(given=given, out=out) for part in COMMANDS[name]]

    assert "/proc/out" in fails_in_one_line(argv(Path("/proc/out")), capsys, monkeypatch)
    command = name.split()[0]
    if command in LATE:
        return
    if command in ("ablations", "table"):
        kept = "<!-- zoo -->\n<!-- /zoo -->\n<!-- ablations -->\n<!-- /ablations -->\n"
        (tmp_path / "out.md").write_text(kept)
    before, files = tree(tmp_path), tree(given)
    with full_disk():
        line = fails_in_one_line(argv(tmp_path / "out"), capsys, monkeypatch)
    assert str(tmp_path / "out") in line
    assert tree(tmp_path) == KEPT.get(name, before)
    assert tree(given) == files
    assert all(path.read_text() == kept for path in tmp_path.glob("*.md"))


def test_standard_output_on_a_full_disk(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - the device
        monkeypatch.setattr(sys, "stdout", full)
        monkeypatch.setattr(sys, "argv", ["predfuse", "accelerators", "--json", "-"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        monkeypatch.undo()
        assert ended.value.code == 1
        assert capfd.readouterr().err == f"predfuse: error: the system: {os.strerror(28)}; make room\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "memory: there is not enough"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "memory: there is not"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (PermissionError(13, "Permission denied", "/x/y"), "/x/y: Permission denied; check the path"),
    ],
)
def test_what_the_machine_refuses_is_one_line(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: list[str]) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    assert line in fails_in_one_line([], capsys, monkeypatch)


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: list[str]) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main()
