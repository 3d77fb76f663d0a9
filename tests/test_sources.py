"""SOURCE arguments: names, checkpoints and saved networks give the same network; the rest is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from predfuse import models
from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.graph.from_torch.references import load_module
from predfuse.graph.io import save_network
from predfuse.graph.nodes import Network
from predfuse.graph.reference_name import is_reference
from predfuse.sources import ModuleOptions, load_source, open_source, parse_shape
from predfuse.tensor_file import stored_format
from predfuse.training.checkpoint import save_checkpoint


def _same(left: Network, right: Network) -> bool:
    return all(
        np.array_equal(a.expand_weight, b.expand_weight)
        for a, b in zip(left.bottlenecks(), right.bottlenecks(), strict=True)
    )


def test_all_three_kinds_of_source_give_the_network(tmp_path: Path) -> None:
    model = models.build("fusionet-s").eval()
    save_checkpoint(tmp_path / "checkpoint.safetensors", model, {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2)})
    save_network(models.network("fusionet-s"), tmp_path / "network.safetensors")

    registered = load_source("fusionet-s")
    checkpoint = load_source(str(tmp_path / "checkpoint.safetensors"))
    saved = load_source(str(tmp_path / "network.safetensors"))
    assert _same(registered, checkpoint) and _same(registered, saved)
    assert checkpoint.mean == (0.5, 0.4, 0.3)


def test_a_file_is_told_by_its_content_not_its_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    save_checkpoint(path, models.build("fusionet-s"), {})
    assert stored_format(path) == "predfuse-checkpoint"
    assert load_source(str(path)).name == "fusionet-s"


def test_unknown_text_names_what_is_possible() -> None:
    with pytest.raises(InputError, match=r"source 'fusionnet': is neither .* use a file or one of fusionet, "):
        load_source("fusionnet")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    assert stored_format(path) is None
    with pytest.raises(InputError, match=r"broken\.safetensors"):
        load_source(str(path))


SHAPE = ("--input", "1,1,28,28", "--mean", "0.5", "--std", "0.5")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model of its own and weights for it."""
    (tmp_path / "zoo_of_my_own.py").write_text(
        "from torch import nn\n"
        "def small():\n"
        "    block = [nn.Conv2d(4, 12, 1), nn.ReLU(), nn.Conv2d(12, 12, 3, 2, 1, groups=12), nn.ReLU6()]\n"
        "    head = [nn.Conv2d(12, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)]\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3, 4, 1), nn.ReLU(), *block, *head)\n"
        "def swish(): return nn.Sequential(nn.Conv2d(1, 4, 1), nn.SiLU())\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = load_module("zoo_of_my_own:small")
    save_file({name: tensor + 0.01 for name, tensor in model.state_dict().items()}, tmp_path / "weights.safetensors")
    return tmp_path


def test_a_function_is_a_source_like_any_other(folder: Path) -> None:
    options = ModuleOptions(folder / "weights.safetensors", (2, 1, 28, 28), (0.5,), (0.25,))
    network, ledger = open_source("zoo_of_my_own:small", options)
    assert (network.input_shape, network.mean, network.std) == ((1, 28, 28), (0.5,), (0.25,))
    assert ledger is not None and len(ledger.fused) == 1
    assert load_source("zoo_of_my_own:small", options).name == "zoo_of_my_own:small"
    plain = load_source("zoo_of_my_own:small", ModuleOptions(shape=(1, 1, 28, 28)))
    assert not _same(network, plain)
    assert open_source("fusionet-s")[1] is None


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("zoo_of_my_own:small", ModuleOptions(), "needs an input shape; give --input"),
        ("fusionet-s", ModuleOptions(shape=(1, 3, 32, 32)), "--input: applies to package.module:function only"),
        ("fusionet-s", ModuleOptions(std=(1.0,)), "--std: applies to package.module:function only"),
        ("no-such-thing", ModuleOptions(), "neither a registered network nor a file nor package.module:function"),
        ("x" * 5000, ModuleOptions(), "neither a registered network nor a file nor package.module:function"),
        ("zoo_of_my_own:swish", ModuleOptions(shape=(1, 1, 4, 4)), "1 unsupported operation: SiLU .* has no 0/1 mask"),
        (
            "zoo_of_my_own:small",
            ModuleOptions(shape=(1, 1, 28, 28), mean=(0.5, 0.5)),
            "mean has 2 values for 1 channels; give one",
        ),
    ],
)
def test_sources_that_do_not_work_are_refused(folder: Path, text: str, options: ModuleOptions, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_source(text, options)


def test_a_folder_is_told_by_the_files_in_it(folder: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder; name a file in it: weights\.safetensors$"):
        load_source(str(folder))


@pytest.mark.parametrize(
    "text", ["1,3,224", "1,3,0,224", "a,b,c,d", "1,3,224,224,1", "1,3,-4,4", "", "1,3,99999999,99999999"]
)
def test_input_shapes_are_four_positive_numbers(text: str) -> None:
    assert parse_shape("2,3,8x9") == (2, 3, 8, 9)
    with pytest.raises(InputError, match="--input"):
        parse_shape(text)


def test_references_are_told_from_paths() -> None:
    assert is_reference("a.b:c.d")
    assert not any(map(is_reference, ("fusionet-s", "./a:b", "a/b.safetensors", ":c", "a:", "C:\\model")))


@pytest.mark.parametrize(
    ("command", "written"),
    [
        (("analyze", "--json", "analysis.json"), "analysis.json"),
        (("trace", "-o", "traced.safetensors"), "traced.safetensors"),
        (("simulate", "-a", "archon-ics21", "--json", "cycles.json"), "cycles.json"),
        (
            ("prepare", "--images", "fashion-mnist-1000", "-n", "8", "--steps", "1", "-o", "p.safetensors"),
            "p.safetensors",
        ),
        (("compile", "--images", "fashion-mnist-1000", "-n", "8", "-o", "own.program"), "own.program"),
        (("export", "--images", "fashion-mnist-1000", "-n", "4", "-o", "own.onnx"), "own.onnx"),
        (("evaluate", "--images", "fashion-mnist-1000", "-n", "50", "--json", "accuracy.json"), "accuracy.json"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_every_command_takes_a_function(folder: Path, command: tuple[str, ...], written: str) -> None:
    if written.endswith(".onnx"):
        pytest.importorskip("onnxruntime")
    name, *rest = command
    facts = SHAPE[:2] if name == "analyze" else SHAPE
    arguments = [name, "zoo_of_my_own:small", "--weights", "weights.safetensors", *facts, *rest]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert (folder / written).stat().st_size > 100


def test_a_prepared_network_is_evaluated_with_its_masks(folder: Path) -> None:
    images = ["--images", "fashion-mnist-1000", "-n", "8"]
    for arguments in (
        ["prepare", "zoo_of_my_own:small", *SHAPE, *images, "--steps", "0", "-o", "prepared.safetensors"],
        ["evaluate", "prepared.safetensors", "--images", "fashion-mnist-1000", "-n", "20", "--json", "accuracy.json"],
    ):
        assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    (row,) = json.loads((folder / "accuracy.json").read_text())
    assert (row["stage"], row["images"]) == ("predicted", 20)
    with pytest.raises(InputError, match="does not say what data it was trained on; name a data set"):
        CliRunner().invoke(app, ["evaluate", "prepared.safetensors"], catch_exceptions=False)
