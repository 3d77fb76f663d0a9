"""The demonstration on tiny untrained networks saved as ``predfuse train`` saves them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from markupsafe import escape
from rich.console import Console

from predfuse import models
from predfuse.cli import main
from predfuse.data import fashion_mnist, load
from predfuse.errors import InputError
from predfuse.experiments import demo, demo_gateware
from predfuse.experiments.compare import NOT_EQUAL_TERMS
from predfuse.experiments.confidence import wilson_interval
from predfuse.fusion.execute import run_network
from predfuse.hardware.cycle.archon.sequence.schedule import Clock
from predfuse.integer.calibrate import normalise
from predfuse.predictor.initialise import insert_predictors
from predfuse.report.compare import headline, headlines
from predfuse.report.demo import page
from predfuse.report.demo_tables import pruned_comparison, terminal
from predfuse.report.page import render
from predfuse.report.terminal import show
from predfuse.rtl.run import BlockResult
from predfuse.rtl.starts import Compared
from predfuse.training.checkpoint import read_tensors, save_checkpoint, write_tensors
from predfuse.training.pruning import Pruner

IMAGES = 12
FUSIBLE: dict[str, Any] = {
    "input_shape": (1, 28, 28),
    "stem_stride": 2,
    "groups": 2,
    "stage_channels": (8,),
    "stage_middle": (32,),
    "stage_blocks": (2,),
    "last_channels": 8,
    "tail_channels": 16,
}


def save(folder: Path, stage: str, model: Any, **facts: Any) -> None:
    known = {
        "stage": stage,
        "data": "fashion-mnist",
        "mean": fashion_mnist.MEAN,
        "std": fashion_mnist.STD,
        "labels": fashion_mnist.CLASSES,
        "test_accuracy": 0.125,
        "test_images": 10_000,
    }
    save_checkpoint(folder / f"{stage}.safetensors", model, {**known, **facts})


def pruned(model: Any) -> Any:
    Pruner(model).prune(0.8, 0.7)
    return model


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A fusible run with both tunings of the predictor, the joint one said to be better, and a rival."""
    torch.manual_seed(0)
    run, rival = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("rival")
    images = load("fashion-mnist-1000", "test", limit=16).images
    inputs = torch.from_numpy(((images / 255 - fashion_mnist.MEAN[0]) / fashion_mnist.STD[0]).astype(np.float32))

    def fusible() -> Any:
        model = models.build("fusionet", **FUSIBLE)
        with torch.no_grad():
            for _ in range(30):  # give the batch norms statistics, so that activations differ between images
                model.train()(inputs)
        return model.eval()

    save(run, "vanilla", fusible())
    save(run, "pruned", pruned(fusible()))
    model = pruned(fusible())
    insert_predictors(model, inputs)
    save(run, "predicted-frozen", model, test_accuracy=0.25)
    with torch.no_grad():
        model.get_submodule("layers.FC1").bias.add_(torch.arange(10.0))
    save(run, "predicted-joint", model, test_accuracy=0.5)
    log = [
        {"stage": stage, "epoch": epoch, "test_accuracy": 0.1 * epoch}
        for stage in ("vanilla", "layerwise", "predicted-joint", "predicted-frozen")
        for epoch in (1.0, 2.0)
    ] + [{"stage": "vanilla", "loss": 0.5}]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    other = models.build("mobilenetv2-s", input_shape=(1, 28, 28)).eval()
    save(rival, "vanilla", other)
    save(rival, "pruned", pruned(other))
    return run, rival


@pytest.fixture(scope="session")
def result(runs: tuple[Path, Path]) -> demo.DemoResult:
    with pytest.MonkeyPatch.context() as patch:
        without_gateware(patch)
        return demo.run_demo(*runs, count=IMAGES)


def without_gateware(patch: pytest.MonkeyPatch) -> None:
    """Machines are not built for every test: one below does it."""
    patch.setattr(demo, "first_block", lambda program, images: "The gateware was not run (a test).")


def test_json_has_the_promised_keys_and_agrees_with_direct_runs(result: demo.DemoResult) -> None:
    figures = json.loads(json.dumps(demo.as_json(result), allow_nan=False))
    assert figures["images"] == IMAGES
    networks = {name: variant.checkpoint.network for name, variant in result.variants.items()}
    inputs = normalise(networks["fused"], result.dataset.images)
    fused = run_network(networks["fused"], inputs, "fused")
    plain = run_network(networks["vanilla"], inputs, "true", statistics=False)
    assert figures["accuracy"]["fused"] == fused.accuracy(result.dataset.labels)
    assert figures["accuracy"]["vanilla"] == plain.accuracy(result.dataset.labels)
    assert set(figures["accuracy"]) == {"vanilla", "pruned", "predicted", "fused"}
    assert figures["fused_max_abs_difference"] < 1e-9
    operations = figures["operations"]
    assert operations["dense"]["multiplications"] > operations["pruned"]["multiplications"]
    assert operations["pruned"]["multiplications"] > operations["pruned_zero_activations"]["multiplications"]
    assert figures["multiplication_reduction"] == pytest.approx(
        operations["dense"]["multiplications"] / operations["fused"]["multiplications"]
    )
    assert operations["fused"]["additions"] > operations["fused"]["predictor_additions"] > 0
    for block, expected in zip(figures["blocks"], fused.blocks, strict=True):
        assert block["survivors_expand"] == expected.expand.on / expected.expand.gates
        gates = expected.expand.gates + expected.depthwise.gates
        assert block["false_on"] == (expected.expand.false_on + expected.depthwise.false_on) / gates
        assert 0 < block["false_off"] < 1
        assert 0 < block["survivors_depthwise"] < 1
    assert figures["rival"]["network"] == "mobilenetv2-s"
    assert min(figures["published_fusionet_multiplication_reduction"].values()) == pytest.approx(7.3)


def test_the_better_tuning_is_shown(result: demo.DemoResult) -> None:
    assert result.variants["fused"].checkpoint.stage == "predicted-joint"
    assert (result.variants["fused"].classes == result.variants["predicted"].classes).all()


def test_progress_ends_complete(runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    without_gateware(monkeypatch)
    seen: dict[str, tuple[int, int]] = {}
    demo.run_demo(*runs, count=2, progress=lambda what, done, total: seen.__setitem__(what, (done, total)), workers=1)
    assert seen.pop("simulating") == seen.pop("gateware (minutes the first time)") == (1, 1)
    assert len(seen) == 6
    assert set(seen.values()) == {(2, 2)}


def test_terminal_fits_eighty_columns(result: demo.DemoResult) -> None:
    console = Console(width=80)
    with console.capture() as captured:
        for part in terminal(result):
            show(part, console)
    text = captured.get()
    assert "…" not in text
    for word in (
        "fusionet fused",
        "mobilenetv2-s pruned",
        "95 % interval",
        "b1 25.69",
        "b16 7.30",
        "largest difference",
    ):
        assert word in " ".join(text.split())


def test_page_shows_every_section(result: demo.DemoResult) -> None:
    html = render(page(result))
    for title in (
        "At a glance",
        "Images and answers",
        "Survivors and prediction errors",
        "Masks over an image",
        "Training",
    ):
        assert title in html
    assert html.count("<img ") == len(np.unique(result.dataset.labels))


def test_comparison_with_pruning_is_told_either_way(result: demo.DemoResult) -> None:
    total = result.counts.total
    fewer = dataclasses.replace(total.fused, multiplications=total.pruned.multiplications / 2)
    more = dataclasses.replace(total.fused, multiplications=total.pruned.multiplications * 2)
    for fused, wording in ((fewer, "2.00 times less often"), (more, "2.00 times as often")):
        counts = dataclasses.replace(result.counts)
        object.__setattr__(counts, "total", dataclasses.replace(total, fused=fused))
        assert wording in pruned_comparison(dataclasses.replace(result, counts=counts))


def test_wilson_interval_matches_published_values() -> None:
    low, high = wilson_interval(0.5, 10)  # Wilson 1927 by hand: (0.2366, 0.7634)
    assert [low, high] == pytest.approx([0.2366, 0.7634], abs=1e-4)
    assert wilson_interval(1.0, 20)[1] == 1.0
    assert wilson_interval(0.0, 20)[0] == 0.0


def copy_run(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def without(name: str) -> Callable[[Path, Path], None]:
    def remove(run: Path, rival: Path) -> None:
        for path in run.glob(name):
            path.unlink()

    return remove


def truncate(run: Path, rival: Path) -> None:
    path = run / "pruned.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def put_another_network(run: Path, rival: Path) -> None:
    (run / "pruned.safetensors").write_bytes((rival / "pruned.safetensors").read_bytes())


def drop_predictors(run: Path, rival: Path) -> None:
    without("predicted-*")(run, rival)
    (run / "predicted-joint.safetensors").write_bytes((run / "pruned.safetensors").read_bytes())


def change_data(run: Path, rival: Path) -> None:
    tensors, metadata = read_tensors(rival / "vanilla.safetensors")
    known = {key: value for key, value in metadata.items() if key not in ("format", "version")}
    write_tensors(rival / "vanilla.safetensors", tensors, {**known, "data": "cifar10"})


def spoil_weights(run: Path, rival: Path) -> None:
    tensors, metadata = read_tensors(run / "vanilla.safetensors")
    known = {key: value for key, value in metadata.items() if key not in ("format", "version")}
    next(tensor for tensor in tensors.values() if tensor.is_floating_point()).view(-1)[0] = float("nan")
    write_tensors(run / "vanilla.safetensors", tensors, known)


def spoil_log(run: Path, rival: Path) -> None:
    (run / "log.jsonl").write_text("{")


@pytest.mark.parametrize(
    ("damage", "wording"),
    [
        (without("vanilla*"), r"vanilla\.safetensors: does not exist"),
        (without("predicted-*"), r"holds no predicted-\*\.safetensors"),
        (truncate, r"pruned\.safetensors: is no intact safetensors file"),
        (put_another_network, r"pruned\.safetensors: holds mobilenetv2.*, not fusionet"),
        (drop_predictors, "has a block without a predictor"),
        (change_data, "was trained on cifar10, not fashion-mnist"),
        (spoil_weights, "holds NaN or infinite values"),
        (spoil_log, r"log\.jsonl: is no JSON-lines log"),
    ],
)
def test_unusable_runs_are_named(
    damage: Callable[[Path, Path], None], wording: str, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    run, rival = copy_run(runs[0], tmp_path / "run"), copy_run(runs[1], tmp_path / "rival")
    damage(run, rival)
    with pytest.raises(InputError, match=wording):
        demo.run_demo(run, rival, count=2)


def command(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["predfuse", "demo", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_command_writes_both_files(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_gateware(monkeypatch)
    files = ["--json", str(tmp_path / "d.json"), "--report", str(tmp_path / "d.html")]
    code, out, _ = command(["--run", str(runs[0]), "--against", str(runs[1]), "-n", "3", *files], capsys, monkeypatch)
    assert code == 0
    assert "Operations per image" in out
    assert json.loads((tmp_path / "d.json").read_text())["images"] == 3
    assert (tmp_path / "d.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("arguments", "wording"),
    [
        (["--json", "/nonexistent/d.json"], "the folder /nonexistent does not exist"),
        (["--run", "/nonexistent"], "is no folder of a training run"),
    ],
)
def test_user_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str], wording: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = command(arguments, capsys, monkeypatch)
    assert code == 2
    assert wording in err
    assert len(err.strip().splitlines()) == 1


def test_shipped_networks_do_what_the_project_promises() -> None:
    """On 100 images fused equals unfused and is mostly right; on the whole test set training measured the rest."""
    result = demo.run_demo(count=100)
    assert result.fused_max_abs_difference < 1e-9
    assert min(variant.accuracy for variant in result.variants.values()) > 0.8
    metadata = {name: variant.checkpoint.metadata for name, variant in result.variants.items()}
    assert {facts["test_images"] for facts in metadata.values()} == {10_000}
    assert metadata["vanilla"]["test_accuracy"] >= 0.916
    assert metadata["pruned"]["test_accuracy"] >= metadata["vanilla"]["test_accuracy"] - 0.002
    assert metadata["fused"]["test_accuracy"] >= metadata["vanilla"]["test_accuracy"] - 0.003
    assert result.counts.total.multiplication_reduction > 15
    ran = result.gateware
    if isinstance(ran, str):
        pytest.skip(ran)  # no compiler here
    assert ran.block.layer == "b1" and ran.block.list_cycles > 0 and ran.block.exact
    assert "every output bit" in str(ran) and demo.as_json(result)["gateware"]["differences"] == 0


def test_a_wrong_step_and_a_missing_tool_are_told(result: demo.DemoResult, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Compared("tile 0", 1, 1, 5, 6, 0, 0, 1, 2)
    ran = demo_gateware.GatewareRun("archon-tiny", BlockResult("b1", (bad,), Clock(), Clock()), 1.0)
    assert "1 of 1 steps differ" in str(ran) and "every" not in str(ran)
    text = [*terminal(result), *terminal(dataclasses.replace(result, gateware=ran))]
    assert "The gateware was not run (a test)." in text and str(ran) in text
    monkeypatch.setattr("shutil.which", lambda name: None)
    program: Any = None  # not come to
    said = demo_gateware.first_block(program, np.zeros((1, 1, 4, 4)))
    assert isinstance(said, str) and "predfuse[rtl]" in said and "\n" not in said


def test_the_simulated_comparison_is_that_of_the_compare_command(result: demo.DemoResult) -> None:
    document = demo.as_json(result)["comparison"]
    assert document["fidelity"] == "cycle"
    assert document["images"] == min(len(result.dataset), demo.SIMULATED_IMAGES)
    by_accelerator = {machine["accelerator"]: machine for machine in document["machines"]}
    assert {"eyeriss-dense", "eyeriss-sparse", "archon-ics21", "archon"} <= set(by_accelerator)
    fused, dense = by_accelerator["archon"], by_accelerator["eyeriss-dense"]
    assert fused["speedup_over_dense"] == dense["total_cycles"] / fused["total_cycles"]
    sentence = headline(result.comparison)
    assert f"{document['speedup_over_dense']:.2f}x the speed of dense" in sentence
    assert "as published" in sentence and "equal area" not in sentence
    assert NOT_EQUAL_TERMS in document["notes"]
    html = render(page(result))
    assert "Accelerators as published, cycle fidelity" in html and escape(sentence) in html
    # The same on equal terms comes first: machines of one area, searched alike.
    assert document["same_network"][0]["machine"] == "archon-1.7-n"
    (said, *_) = headlines(result.comparison)
    assert said.startswith("Worst on equal terms") and html.index(escape(said)) < html.index(escape(sentence))


def test_machines_are_compared_from_the_very_checkpoints(result: demo.DemoResult) -> None:
    machines = demo.as_json(result)["machines"]
    assert machines["fidelity"] == "paper"
    assert [machines[role]["accelerator"] for role in ("dense", "sparse", "fused")] == [
        "eyeriss-dense",
        "eyeriss-sparse",
        "archon-ics21",
    ]
    for role in ("dense", "sparse"):
        assert machines[f"{role}_speedup"] == machines[role]["total_cycles"] / machines["fused"]["total_cycles"]
    pruned_ratio = machines["sparse"]["total_cycles"] / machines["dense"]["total_cycles"]
    assert 0.2 < pruned_ratio < 1
    html = render(page(result))
    assert "Accelerators, paper fidelity" in html and f"{machines['fused']['total_cycles']:,}" in html
