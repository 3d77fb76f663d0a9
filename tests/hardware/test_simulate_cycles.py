"""``predfuse simulate --fidelity cycle``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from predfuse import zoo
from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.experiments.compare import compare
from predfuse.experiments.contenders import SHIPPED_RUN
from predfuse.integer.options import COMPILE_IMAGES

PREDICTED = str(next(zoo.folder(SHIPPED_RUN).glob("predicted-*.safetensors"), "missing"))


def test_cycles_and_trace(tmp_path: Path) -> None:
    out, trace = tmp_path / "out.json", tmp_path / "trace.json"
    arguments = ["simulate", PREDICTED, "-a", "archon", "--fidelity", "cycle", "--images", "fashion-mnist-1000"]
    ran = CliRunner().invoke(app, [*arguments, "--index", "2", "--json", str(out), "--trace", str(trace)])
    assert ran.exit_code == 0, ran.output
    document = json.loads(out.read_text())
    assert document["fidelity"] == "cycle"
    totals = document["totals"]
    assert totals["total_cycles"] == totals["compute_cycles"] + totals["stall_cycles"]
    events = json.loads(trace.read_text())["traceEvents"]
    assert max(event.get("ts", 0) + event.get("dur", 0) for event in events) == totals["total_cycles"]
    assert {entry["status"] for entry in document["ledger"]} == {"fused", "plain"}


def test_a_compiled_program_is_simulated_as_compare_does_it(tmp_path: Path) -> None:
    program = tmp_path / "a.program"
    images = ["--images", "fashion-mnist-1000"]
    compiled = ["compile", PREDICTED, "-o", str(program), *images, "--count", str(COMPILE_IMAGES)]
    assert CliRunner().invoke(app, compiled).exit_code == 0
    ran = CliRunner().invoke(
        app, ["simulate", str(program), "-a", "archon", "--fidelity", "cycle", *images, "--json", "-"]
    )
    assert ran.exit_code == 0, ran.output
    best = compare("shipped", "cycle", images=1).best
    totals = json.loads(ran.output)["totals"]
    assert totals["total_cycles"] == best.result.total_cycles
    paper = CliRunner().invoke(app, ["simulate", str(program), "-a", "archon-ics21", "--json", "-"])
    assert json.loads(paper.output)["fidelity"] == "paper"
    pruned = CliRunner().invoke(app, ["simulate", str(program), "-a", "archon-ics21", "--prune"])
    assert isinstance(pruned.exception, InputError) and "compiled already" in str(pruned.exception)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fidelity", "cycle"], "masks depend on the image; give images"),
        (["--fidelity", "cycle", "--images", "fashion-mnist-1000", "--index", "-1"], "--index: is -1"),
        (["--fidelity", "cycle", "--images", "fashion-mnist-1000", "--index", "1000"], "holds 1000 images"),
        (["--trace", "t.json"], "--trace: needs cycle fidelity, not paper"),
        (["--images", "fashion-mnist-1000"], "--images: needs cycle fidelity, not paper; add --fidelity cycle"),
        (["--fidelity", "paper", "--images", "random"], "--images: needs cycle fidelity, not paper"),
        (["--fidelity", "gates"], "fidelity: is 'gates'"),
    ],
)
def test_mistakes(options: list[str], message: str) -> None:
    ran = CliRunner().invoke(app, ["simulate", PREDICTED, "-a", "archon", *options])
    assert isinstance(ran.exception, InputError)
    assert message in str(ran.exception)
