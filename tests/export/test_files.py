"""``torch.export`` archives, file names and formats, and the command."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from export_cases import predicted

from predfuse import models
from predfuse.errors import InputError
from predfuse.exporters.arrays import FORMS, Form, default_precision
from predfuse.exporters.files import export_network, format_of
from predfuse.exporters.module import to_module
from predfuse.graph.io import save_network
from predfuse.graph.nodes import INPUT, Bottleneck, Linear, Network, Pool


def tiny() -> Network:
    """One predicted block with ReLU6 and a stride, and a classifier."""
    rng = np.random.default_rng(0)
    block = Bottleneck(
        "b1",
        (INPUT,),
        rng.normal(size=(8, 2)),
        rng.normal(size=8),
        rng.normal(size=(8, 3, 3)),
        rng.normal(size=8),
        rng.normal(size=(6, 4)),
        rng.normal(size=6),
        stride=2,
        groups=2,
        shuffle_groups=2,
        expand_activation="relu6",
    )
    nodes = (predicted(block), Pool("pool", ("b1",)), Linear("FC1", ("pool",), rng.normal(size=(3, 6)), np.ones(3)))
    return Network("tiny", (4, 6, 6), nodes)


@pytest.mark.parametrize("form", FORMS)
def test_torch_archives_load_again_and_hold_no_pickle(tmp_path: Path, form: Form) -> None:
    network, path = tiny(), tmp_path / "network.pt2"
    check = export_network(network, path, form)
    assert check.output_error == 0
    images = torch.randn(5, *network.input_shape, generator=torch.Generator().manual_seed(1))
    loaded = torch.export.load(path).module()
    assert loaded(images).dtype == torch.float32
    assert torch.equal(loaded(images), to_module(network, form, default_precision(form))(images))
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            assert not archive.read(name).startswith((b"\x80\x02", b"PK")), f"{name} is pickled"


def test_formats_follow_the_suffix() -> None:
    assert format_of(Path("a.onnx")) == "onnx" and format_of(Path("a.pt2")) == "torch"
    assert format_of(Path("a.bin"), "torch") == "torch"
    with pytest.raises(InputError, match=r"a\.bin: does not say its format; call it \.onnx or \.pt2"):
        format_of(Path("a.bin"))
    with pytest.raises(InputError, match=r"a\.onnx: is called \.onnx but would hold torch"):
        format_of(Path("a.onnx"), "torch")
    with pytest.raises(InputError, match=r"format 'tflite': is unknown; use one of onnx, torch"):
        format_of(Path("a.onnx"), "tflite")


def test_a_bad_path_fails_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        export_network(dataclasses.replace(tiny()), tmp_path / "nowhere" / "a.onnx")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "predfuse", "export", *arguments], capture_output=True, text=True)


def test_the_command_exports_a_saved_network(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    save_network(tiny(), tmp_path / "tiny.safetensors")
    output = tmp_path / "tiny.onnx"
    done = command(str(tmp_path / "tiny.safetensors"), "-o", str(output), "--form", "fused")
    assert done.returncode == 0, done.stderr
    assert output.stat().st_size > 1000 and "tiny, fused" in done.stdout


def test_user_mistakes_end_in_one_line(tmp_path: Path) -> None:
    done = command("fusionet-s", "-o", str(tmp_path / "a.onnx"), "--form", "predicted")
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert done.stderr.splitlines() == [
        "predfuse: error: network fusionet-s: has no block with a predictor, which the predicted form needs; "
        "train or prepare one, or use the plain form"
    ]


def test_registered_networks_export_whatever_their_blocks(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    for name in ("mobilenetv2-s", "shufflenet"):
        network = models.network(name)
        assert export_network(network, tmp_path / f"{name}.onnx").output_error < 1e-5
