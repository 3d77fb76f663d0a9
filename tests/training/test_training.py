"""The three stages, resuming to the same bits, two processes, and what a user can get wrong."""

from __future__ import annotations

import copy
import json
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from pydantic import BaseModel
from typer.testing import CliRunner

from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.models import to_network
from predfuse.models.layers import BottleneckUnit
from predfuse.predictor.layerwise import block_loss
from predfuse.pruning.choose import cubic_sparsity, keep_largest
from predfuse.tensor_file import save_tensor_file
from predfuse.training.augment import generator, vary
from predfuse.training.checkpoint import FORMAT, load_checkpoint, read_tensors, save_checkpoint, write_tensors
from predfuse.training.config import PredictConfig, TrainConfig, load_config, parse_config, stored_config
from predfuse.training.fast.choose import use_kernels
from predfuse.training.learning_rate import cosine_rate
from predfuse.training.loop import Stage, Trainer
from predfuse.training.losses import cross_entropy, distillation, with_signs
from predfuse.training.memory import keep_freed_memory
from predfuse.training.pruning import prunable_layers
from predfuse.training.run import Run
from predfuse.training.runs import network_of
from predfuse.zoo.errors import run_errors

STAGES = ("vanilla", "pruned", "layerwise", "predicted-joint", "predicted-frozen")


def train(config: Path, folder: Path, *overrides: str) -> dict[str, Path]:
    return Run(load_config(config, list(overrides)), folder).train()


@pytest.fixture(scope="module")
def finished(config_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One uninterrupted run, shared by the tests that only look at its results."""
    return train(config_path, tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def shifts_pruned(
    config_path: Path, tmp_path_factory: pytest.TempPathFactory, finished: dict[str, Path]
) -> dict[str, Path]:
    """The same vanilla network with three quarters of its shifts pruned."""
    folder = tmp_path_factory.mktemp("shifts")
    shutil.copy(finished["vanilla"], folder)
    return train(config_path, folder, "prune.shift_sparsity=0.75", "predict.tuning=[joint]")


def test_every_stage_learns_and_is_recorded(finished: dict[str, Path]) -> None:
    assert tuple(finished) == STAGES
    accuracies = {stage: read_tensors(path)[1]["test_accuracy"] for stage, path in finished.items()}
    assert accuracies["vanilla"] > 0.8
    assert accuracies["predicted-joint"] > 0.8
    lines = [json.loads(line) for line in (finished["vanilla"].parent / "log.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == set(STAGES)
    assert all(line["images_per_second"] > 0 and 0 <= line["test_accuracy"] <= 1 for line in lines)
    assert {line.get("commit") for line in lines} == {read_tensors(path)[1]["commit"] for path in finished.values()}
    for stage in STAGES:
        seconds = [line["seconds"] for line in lines if line["stage"] == stage]
        assert seconds == sorted(seconds) and seconds[0] >= 0
    assert not (finished["vanilla"].parent / "state.safetensors").exists()


def test_pruned_stages_have_the_asked_sparsity(finished: dict[str, Path]) -> None:
    for stage in STAGES[1:]:
        model, _ = load_checkpoint(finished[stage])
        for name, (conv, kind) in prunable_layers(model).items():
            wanted = round({"pointwise": 0.5, "depthwise": 0.4, "outside": 0, "window": 0}[kind] * conv.weight.numel())
            assert int((conv.weight == 0).sum()) == wanted, (stage, name)


def test_frozen_tuning_changes_only_predictors_and_project_batch_norms(finished: dict[str, Path]) -> None:
    before, after = (read_tensors(finished[stage])[0] for stage in ("layerwise", "predicted-frozen"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(".predictor." in name or ".project_norm." in name for name in changed)
    joint = read_tensors(finished["predicted-joint"])[0]
    assert not torch.equal(before["layers.b1.expand.weight"], joint["layers.b1.expand.weight"])


def test_checkpoints_become_networks_with_predictors(finished: dict[str, Path]) -> None:
    network = network_of(finished["predicted-joint"])
    assert network.labels == ("above", "below")
    assert all(block.predictor is not None for block in network.bottlenecks())
    assert all(block.predictor is None for block in network_of(finished["pruned"]).bottlenecks())


def command(config: Path, folder: Path) -> list[str]:
    return [sys.executable, "-m", "predfuse", "train", str(config), "-o", str(folder)]


def test_a_killed_run_resumes_to_the_same_bits(config_path: Path, tmp_path: Path, finished: dict[str, Path]) -> None:
    folder = tmp_path / "killed"
    state = folder / "state.safetensors"
    for stage in ("vanilla", "predicted-joint"):
        process = subprocess.Popen(command(config_path, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            try:
                facts = read_tensors(state)[1]
            except InputError:
                continue
            if facts["stage"] == stage and facts["step"] >= 3:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (folder / f"{stage}.safetensors").exists(), "killed too late to show anything"
    paths = train(config_path, folder)
    for stage in STAGES:
        ours, whole = read_tensors(paths[stage])[0], read_tensors(finished[stage])[0]
        assert ours.keys() == whole.keys()
        assert all(torch.equal(ours[name], whole[name]) for name in ours), stage


@pytest.mark.parametrize("step", [5, 14], ids=["while sparsity grows", "after that"])
@pytest.mark.parametrize("shifts", [0.0, 0.75])
def test_pruning_resumes_with_its_masks(
    step: int,
    shifts: float,
    config_path: Path,
    tmp_path: Path,
    finished: dict[str, Path],
    shifts_pruned: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(finished["vanilla"], tmp_path)
    overrides = ("predict=null", f"prune.shift_sparsity={shifts}")
    save = Trainer._save

    def stop(self: Trainer, model: Any, stage: Stage, at: int, clock: Any) -> None:
        save(self, model, stage, at, clock)
        if at == step:
            raise RuntimeError("stopped")

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            train(config_path, tmp_path, *overrides)
    seconds = read_tensors(tmp_path / "state.safetensors")[1]["seconds"]
    path = train(config_path, tmp_path, *overrides)["pruned"]
    ours, whole = read_tensors(path)[0], read_tensors((shifts_pruned if shifts else finished)["pruned"])[0]
    assert all(torch.equal(ours[name], whole[name]) for name in whole)
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert last["seconds"] > seconds - 0.05


def test_pruned_shifts_stay_zero_in_the_networks_made_of_them(shifts_pruned: dict[str, Path]) -> None:
    for stage in ("pruned", "predicted-joint"):
        facts = read_tensors(shifts_pruned[stage])[1]
        assert facts["shift_sparsity"] == 0.75 and facts["pointwise_sparsity"] == pytest.approx(0.5, abs=0.01)
        for block in network_of(shifts_pruned[stage]).bottlenecks():
            for bias in (block.expand_bias, block.depthwise_bias):
                assert np.count_nonzero(bias) == len(bias) // 4
            assert np.count_nonzero(block.project_bias) > 0


def test_stages_depend_on_what_decides_them(config_path: Path) -> None:
    config = load_config(config_path)
    stages = ("vanilla", "pruned", "layerwise", "predicted-joint")
    for override, first in (
        ("vanilla.epochs=5", "vanilla"),
        ("prune.seed=1", "pruned"),
        ("predict.layerwise_steps=5", "layerwise"),
        ("predict.epochs=5", "predicted-joint"),
        ("predict.distillation_ensemble=true", "predicted-joint"),
        ("predict.tuning=[frozen]", None),
        ("checkpoint_seconds=9", None),
    ):
        other = load_config(config_path, [override])
        changed = () if first is None else stages[stages.index(first) :]
        assert tuple(stage for stage in stages if config.up_to(stage) != other.up_to(stage)) == changed, override


def test_seeds_hold_until_the_next_one(config_path: Path) -> None:
    config = load_config(config_path, ["seed=3", "prune.seed=5"])
    stages = ("vanilla", "pruned", "layerwise", "predicted-joint")
    assert [config.seed_of(stage) for stage in stages] == [3, 5, 5, 5]
    other = load_config(config_path, ["seed=3", "prune.seed=5", "predict.seed=0"])
    assert [other.seed_of(stage) for stage in stages] == [3, 5, 0, 0]
    plain = load_config(config_path)
    assert [config.recipe(stage) for stage in stages] == [plain.recipe(stage) for stage in stages]


def settings(model: type[BaseModel]) -> list[str]:
    """The settings of a section and all in it, a section itself not counted."""
    found = []
    for name, field in model.model_fields.items():
        inner = next((kind for kind in (field.annotation, *get_args(field.annotation)) if is_section(kind)), None)
        found += [name] if inner is None else [f"{name}.{deeper}" for deeper in settings(inner)]
    return found


def is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def test_there_are_few_settings() -> None:
    found = settings(TrainConfig)
    assert "prune.distillation_weight" in found and "seed" in found and "vanilla" not in found
    assert len(found) < 60, found


def test_the_test_images_wait_for_their_epoch(config_path: Path, tmp_path: Path) -> None:
    settings = ["vanilla.epochs=3", "predict=null", "prune=null"]
    path = train(config_path, tmp_path, *settings, "evaluate_every_epochs=2")["vanilla"]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [("test_accuracy" in line, line["epoch"]) for line in lines] == [(False, 1), (True, 2), (True, 3)]
    assert read_tensors(path)[1]["test_accuracy"] == lines[-1]["test_accuracy"]
    assert train(config_path, tmp_path, *settings) == {"vanilla": path}  # it is the same run


def test_predictors_may_see_other_images(config_path: Path, finished: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(finished["vanilla"].parent, tmp_path / "run")
    run = tmp_path / "run"
    for name in ("layerwise", "predicted-joint", "predicted-frozen"):
        (run / f"{name}.safetensors").unlink()
    paths = train(config_path, run, "predict.seed=7", "predict.tuning=[joint]")
    assert list(paths) == ["vanilla", "pruned", "layerwise", "predicted-joint"]
    for stage in ("layerwise", "predicted-joint"):
        ours, theirs = (read_tensors(path)[0] for path in (paths[stage], finished[stage]))
        assert any(not torch.equal(ours[name], theirs[name]) for name in ours), stage


def test_networks_without_shifts_have_none_to_prune(config_path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no shifts to prune"):
        train(config_path, tmp_path, "network.options.shifts=false", "prune.shift_sparsity=0.5")
    assert not (tmp_path / "log.jsonl").exists()


def test_two_processes_share_the_images(config_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    arguments = ["train", str(config_path), "-o", str(folder), "-s", "vanilla.epochs=10", "-s", "predict=null"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "predfuse"]
    done = subprocess.run([*launcher, *arguments], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    metadata = read_tensors(folder / "pruned.safetensors")[1]
    assert metadata["processes"] == 2
    assert read_tensors(folder / "vanilla.safetensors")[1]["test_accuracy"] > 0.8
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["stage"] == "vanilla"][-1] == 10 * 4  # 64 images, 16 a step


def test_finished_stages_of_another_configuration_are_refused(config_path: Path, finished: dict[str, Path]) -> None:
    folder = finished["vanilla"].parent
    before = (folder / "config.yaml").read_bytes()
    with pytest.raises(InputError, match="another configuration"):
        train(config_path, folder, "vanilla.epochs=5")
    assert (folder / "config.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("vanilla.epoch=3", "vanilla.epoch: is an unknown key"),
        ("vanilla.epochs=-1", "vanilla.epochs"),
        ("batchsize=3", "batchsize: is an unknown key"),
        ("seed", "is not KEY=VALUE"),
        ("vanilla.epochs.x=1", "epochs is no section"),
        ("network.options.groups=3", "not divisible by 3 groups"),
        ("network.options.groups=yes", "groups is True, not a whole number"),
        ("network.options.tail_channels=16.5", "tail_channels is 16.5, not a whole number"),
        ("network.options.stage_middle=32", "stage_middle is 32, not a list of whole numbers"),
        ("network.name=resnet", "is neither a registered network nor a file"),
        ("batch_size=1000", "fewer than batch_size"),
        ("data.name=mnist", "mnist"),
        ("data.name='folder:/nowhere'", "/nowhere"),
    ],
)
def test_bad_configurations_end_in_one_line_and_code_2(
    config_path: Path, tmp_path: Path, override: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from predfuse.cli import main

    arguments = ["predfuse", "train", str(config_path), "-o", str(tmp_path / "bad"), "-s", override]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr(sys, "argv", arguments)
        main()
    error = capsys.readouterr().err.strip()
    assert caught.value.code == 2
    assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "bad" / "config.yaml").exists()


def test_missing_and_malformed_config_files(tmp_path: Path) -> None:
    for path, content in ((tmp_path / "no.yaml", None), (tmp_path / "a.yaml", "a: [1"), (tmp_path / "b.yaml", "- 1")):
        if content is not None:
            path.write_text(content)
        with pytest.raises(InputError, match=path.name):
            load_config(path)


def test_damaged_checkpoints_are_named(finished: dict[str, Path], tmp_path: Path) -> None:
    whole = finished["vanilla"].read_bytes()
    tensors, metadata = read_tensors(finished["vanilla"])
    broken = tmp_path / "broken.safetensors"

    def refused(message: str, architecture: str | None = None) -> None:
        with pytest.raises(InputError, match=message) as caught:
            load_checkpoint(broken, architecture)
        assert "broken.safetensors" in str(caught.value) and "\n" not in str(caught.value)

    refused("does not exist")
    for damaged in (whole[: len(whole) // 2], b"", b"\x00" * 64, whole[:4] + b"\xff" * 4 + whole[8:]):
        broken.write_bytes(damaged)
        refused("is no intact safetensors file")
    broken.write_bytes(whole)
    refused("holds fusionet, not mobilenetv2", "mobilenetv2")
    facts = dict(metadata)
    first = next(iter(tensors))
    for changed, message in (
        ({**tensors, first: tensors[first] * float("nan")}, "NaN"),
        ({**tensors, first: tensors[first][:1]}, "has shape"),
        ({**tensors, "surplus": torch.zeros(1)}, "unknown tensor surplus"),
        ({name: tensor for name, tensor in tensors.items() if name != first}, "lacks the tensor"),
    ):
        write_tensors(broken, changed, facts)
        refused(message)
    save_tensor_file(broken, FORMAT, 99, facts, {name: tensor.numpy() for name, tensor in tensors.items()})
    refused("has version 99")
    write_tensors(broken, tensors, {**facts, "architecture": "resnet"})
    refused("unknown network 'resnet'")


def test_unwritable_checkpoints_leave_nothing(finished: dict[str, Path], tmp_path: Path) -> None:
    model, _ = load_checkpoint(finished["vanilla"])
    with pytest.raises(InputError, match="does not exist"):
        save_checkpoint(tmp_path / "missing" / "x.safetensors", model, {})
    assert list(tmp_path.iterdir()) == []


def test_schedules() -> None:
    assert [cubic_sparsity(0.8, progress) for progress in (-1, 0, 0.5, 1, 2)] == pytest.approx([0, 0, 0.7, 0.8, 0.8])
    rates = [cosine_rate(step, 100, 0.2) for step in range(100)]
    assert max(rates) == rates[20] == 1
    assert rates[:20] == sorted(rates[:20]) and rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] < 0.01


def test_pruning_removes_the_smallest() -> None:
    weight = torch.tensor([[0.1, -3.0], [0.2, 0.1]])
    assert keep_largest(weight, 0.5).tolist() == [[0, 1], [1, 0]]
    assert keep_largest(weight, 0.0).tolist() == [[1, 1], [1, 1]]


def test_evaluate_repeats_the_recorded_accuracy(finished: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    paths = [str(finished[stage]) for stage in ("vanilla", "predicted-joint")]
    assert CliRunner().invoke(app, ["evaluate", *paths, "--json", str(out)]).exit_code == 0
    recorded = [read_tensors(Path(path))[1]["test_accuracy"] for path in paths]
    assert [row["accuracy"] for row in json.loads(out.read_text())] == recorded
    result = CliRunner().invoke(app, ["evaluate", paths[0], "--images", "fashion-mnist-1000"])
    assert isinstance(result.exception, InputError)
    assert "does not fit" in str(result.exception)


def test_distillation_pulls_towards_the_teacher(finished: dict[str, Path]) -> None:
    model, _ = load_checkpoint(finished["vanilla"])
    twin, _ = load_checkpoint(finished["vanilla"])
    other, _ = load_checkpoint(finished["pruned"])
    images, labels = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    model.eval()
    labelled = cross_entropy(0.0)(model, images, labels)
    config = PredictConfig(distillation_weight=0.25, distillation_temperature=3.0)
    torch.testing.assert_close(distillation(config, twin)(model, images, labels), 0.75 * labelled)

    teacher, student = (torch.softmax(m.eval()(images) / 3.0, 1) for m in (other, model))
    divergence = (teacher * (teacher / student).log()).sum(1).mean()
    loss = distillation(config, other)(model, images, labels)
    torch.testing.assert_close(loss, 0.75 * labelled + 0.25 * 9 * divergence)
    loss.backward()
    assert all(p.grad is None for p in other.parameters())
    assert any(p.grad is not None for p in model.parameters())


def test_a_teacher_may_be_two_networks(finished: dict[str, Path]) -> None:
    model, teacher, guide = (load_checkpoint(finished[stage])[0].eval() for stage in ("vanilla", "vanilla", "pruned"))
    images, labels = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    config = PredictConfig(distillation_weight=1, distillation_ensemble=True, distillation_temperature=3.0)
    target = torch.softmax((teacher(images) + guide(images)) / 2 / 3.0, 1)
    divergence = (target * (target / torch.softmax(model(images) / 3.0, 1)).log()).sum(1).mean()
    loss = distillation(config, teacher, guide)(model, images, labels)
    torch.testing.assert_close(loss, 9 * divergence)
    loss.backward()
    assert all(p.grad is None for p in (*teacher.parameters(), *guide.parameters()))


def test_features_are_pulled_towards_those_of_the_guide(finished: dict[str, Path]) -> None:
    model, _ = load_checkpoint(finished["predicted-joint"])
    guide, _ = load_checkpoint(finished["pruned"])
    images, labels = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    model.eval()
    expected = []
    x, y = images, images
    with torch.no_grad():
        for ours, theirs in zip(model.layers, guide.eval().layers, strict=True):
            x, y = ours(x), theirs(y)
            if isinstance(ours, BottleneckUnit):
                expected.append(float(((x - y) ** 2).mean() / (y - y.mean((0, 2, 3), keepdim=True)).square().mean()))
    assert min(expected) > 0
    config = PredictConfig(distillation_weight=0, feature_weight=3.0)
    for kernels in (False, True):
        if kernels:
            use_kernels(guide, torch.device("cpu"))
        loss = distillation(config, guide=guide)(model, images, labels)
        labelled = cross_entropy(0.0)(model, images, labels)
        assert float((loss - labelled).detach()) == pytest.approx(3 * np.mean(expected), rel=1e-4)
    loss.backward()
    assert all(p.grad is None for p in guide.parameters())
    assert distillation(config, guide=guide)(guide, images, labels) == cross_entropy(0.0)(guide, images, labels)


@pytest.mark.parametrize("kernels", [False, True])
def test_predictors_learn_signs_of_what_their_blocks_get(finished: dict[str, Path], kernels: bool) -> None:
    """Weights have the gradients they have under constant masks, predictors those of the signs of their own block."""
    images, labels = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    model, _ = load_checkpoint(finished["predicted-joint"])
    model.train()
    plain = copy.deepcopy(model)
    for _, block in [*model.bottlenecks(), *plain.bottlenecks()]:
        block.surrogate = False
    cross_entropy(0.0)(plain, images, labels).backward()
    if kernels:
        use_kernels(model, torch.device("cpu"))
    loss = with_signs(cross_entropy(0.0), 0.5, model)(model, images, labels)
    loss.backward()
    wanted = dict(plain.named_parameters())
    for name, parameter in model.named_parameters():
        other = wanted[name].grad
        assert (other is None) == (".predictor." in name)
        if other is not None:
            kept = other if parameter.dim() == 1 or not kernels else other * (parameter != 0)
            assert parameter.grad is not None
            ours = parameter.grad if parameter.dim() == 1 or not kernels else parameter.grad * (parameter != 0)
            torch.testing.assert_close(ours, kept, rtol=1e-3, atol=1e-5)
    assert model.training and all(block.training for _, block in model.bottlenecks())

    inputs, x = [], images
    with torch.no_grad():
        for layer in copy.deepcopy(plain).layers:
            inputs.append(x)
            x = layer(x)
    total = 0.0
    for layer, x in zip(plain.layers, inputs, strict=True):
        if isinstance(layer, BottleneckUnit):
            assert layer.predictor is not None
            layer.eval()
            part = block_loss(layer.predictor, x[:4], *(t.detach() for t in layer.pre_activations(x[:4])))
            part.backward()
            total += float(part.detach())
    for name, parameter in plain.named_parameters():
        if ".predictor." in name:
            torch.testing.assert_close(dict(model.named_parameters())[name].grad, parameter.grad, rtol=1e-3, atol=1e-5)
    labelled = float(cross_entropy(0.0)(copy.deepcopy(plain).train(), images, labels).detach())
    assert float(loss.detach()) == pytest.approx(labelled + total, rel=1e-4)


def test_gates_may_learn_signs(config_path: Path, finished: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(finished["vanilla"].parent, tmp_path / "run")
    run = tmp_path / "run"
    for tuning in ("joint", "frozen"):
        (run / f"predicted-{tuning}.safetensors").unlink()
    paths = train(config_path, run, "predict.gates=signs", "predict.sign_share=0.5")
    before = read_tensors(paths["layerwise"])[0]
    for tuning in ("joint", "frozen"):
        after = read_tensors(paths[f"predicted-{tuning}"])[0]
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert any(".predictor." in name for name in changed)
        assert any(name.endswith("expand.weight") for name in changed) == (tuning == "joint")


def test_predictors_may_have_larger_weights(config_path: Path, finished: dict[str, Path], tmp_path: Path) -> None:
    """Their stages differ, those before do not; checkpoints bring the weights back."""
    for stage in ("vanilla", "pruned"):
        shutil.copy(finished[stage], tmp_path)
    paths = train(config_path, tmp_path, "predict.largest_weight=2", "predict.tuning=[joint]")
    model, facts = load_checkpoint(paths["predicted-joint"])
    ternary, _ = load_checkpoint(finished["predicted-joint"])
    assert facts["largest_weight"] == 2
    assert to_network(model).largest_predictor_weight == 2
    assert to_network(ternary).largest_predictor_weight == 1
    plain, other = load_config(config_path), load_config(config_path, ["predict.largest_weight=2"])
    assert plain.up_to("pruned") == other.up_to("pruned")
    assert plain.up_to("layerwise") != other.up_to("layerwise") and plain.recipe("layerwise") != other.recipe(
        "layerwise"
    )


def test_the_errors_of_a_run(finished: dict[str, Path], tmp_path: Path) -> None:
    folder = finished["vanilla"].parent
    shown = CliRunner().invoke(app, ["zoo", "errors", str(folder), "--json", str(tmp_path / "errors.json")])
    assert shown.exit_code == 0 and "predicted-joint" in shown.output
    found = json.loads((tmp_path / "errors.json").read_text())
    assert list(found) == ["pruned", "layerwise", "predicted-joint", "predicted-frozen"]
    for stage, blocks in found.items():
        for block in blocks:
            assert block["weights"] > 0 and (block["own"] is None) == (stage == "pruned")
    made, larger = run_errors(str(folder), 10, largest_weight=2)
    ternary, smaller = run_errors(str(folder), 10)
    assert (made.largest_weight, ternary.largest_weight) == (2, 1)
    of_pruned = [sum(block.weights for block in found["pruned"]) for found in (larger, smaller)]
    assert of_pruned[0] < 0.6 * of_pruned[1]
    with pytest.raises(InputError, match="largest_weight: is 3"):
        run_errors(str(folder), 10, largest_weight=3)
    with pytest.raises(InputError, match="holds no pruned"):
        run_errors(str(tmp_path), 10)


def test_freed_memory_is_kept_where_the_allocator_can() -> None:
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_checkpoints_of_earlier_versions_may_name_settings_that_are_gone_if_they_did_nothing(config_path: Path) -> None:
    config = load_config(config_path)
    raw = config.model_dump(mode="json")
    raw["ternary"] = None
    raw["vanilla"]["image_bits"] = 8
    raw["prune"]["further_cycles"] = []
    assert stored_config(raw, "old.safetensors") == config
    with pytest.raises(InputError, match="is an unknown key"):
        parse_config(raw, "new.yaml")
    raw["prune"]["ternary_decay"] = 0.25
    with pytest.raises(InputError, match="trained with ternary_decay, which is gone"):
        stored_config(raw, "old.safetensors")


def test_held_out_images_are_not_trained_on_and_test_images_wait(config_path: Path, tmp_path: Path) -> None:
    overrides = ["vanilla.epochs=3", "prune=null", "predict=null", "data.held_out=16"]
    run = Run(load_config(config_path, overrides), tmp_path)
    images = {name: {image.tobytes() for image in getattr(run.trainer, name).images} for name in ("train", "held_out")}
    assert len(run.trainer.train) == 48 and len(images["held_out"]) == 16 and not images["train"] & images["held_out"]
    facts = read_tensors(run.train()["vanilla"])[1]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert ["test_accuracy" in line for line in lines] == [False, False, True]
    assert all("held_out_accuracy" in line for line in lines) and facts["held_out_images"] == 16
    assert facts["held_out_accuracy"] == lines[-1]["held_out_accuracy"]
    with pytest.raises(InputError, match="cannot hold out 64 of 64 images"):
        Run(load_config(config_path, ["data.held_out=64"]), tmp_path / "none")


@given(st.integers(0, 2), st.integers(0, 5), st.booleans(), st.integers(0, 2**32))
def test_images_are_varied_as_one_would_by_hand(padding: int, cutout: int, flip: bool, seed: int) -> None:
    images = torch.randint(1, 256, (4, 2, 6, 5), generator=generator(seed), dtype=torch.uint8)
    varied = vary(images, padding, flip, generator(seed), cutout)
    random = generator(seed)
    mirrored = torch.rand(4, generator=random) < 0.5 if flip else torch.zeros(4, dtype=torch.bool)
    shifts = torch.randint(0, 2 * padding + 1, (2, 4, 1), generator=random) if padding else torch.zeros(2, 4, 1)
    tops, lefts = (torch.randint(0, side, (4,), generator=random) - cutout // 2 for side in (6, 5))
    for n, image in enumerate(images):
        padded = torch.nn.functional.pad(image, (padding,) * 4)
        down, right = int(shifts[0, n]), int(shifts[1, n])
        wanted = padded[:, down : down + 6, right : right + 5].clone()
        if mirrored[n]:
            wanted = wanted.flip(2)
        for row in range(6):
            for column in range(5):
                if 0 <= row - tops[n] < cutout and 0 <= column - lefts[n] < cutout:
                    wanted[:, row, column] = 0
        assert torch.equal(varied[n], wanted), n
