"""What a checkpoint may not hold (fault A6), and that it has a checksum; old ones are converted bit for bit."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import save_file

from predfuse import models
from predfuse.errors import InputError
from predfuse.training.checkpoint import FORMAT, load_checkpoint, read_tensors, save_checkpoint, write_tensors
from predfuse.training.runs import network_of

FACTS = {"stage": "vanilla", "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "labels": [*"abcdefghij"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "vanilla.safetensors"
    small = models.build("mobilenetv2", channels=(4, 4), strided=(), stem_channels=4, tail_channels=8)
    save_checkpoint(path, small, FACTS)
    return path


def refused(path: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        network_of(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_weights_and_statistics_must_be_possible(whole: Path, tmp_path: Path) -> None:
    tensors, facts = read_tensors(whole)
    weight = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    variance = next(name for name in tensors if name.endswith("running_var"))
    path = tmp_path / "c.safetensors"
    for name, value, message in (
        (variance, -tensors[variance], "running_var is negative"),
        (weight, torch.full_like(tensors[weight], 1e30), "holds values above"),
        (weight, tensors[weight].double() * 1e300, "holds float64, not float32"),
        (weight, tensors[weight].half(), "holds float16, not float32"),
        (weight, (tensors[weight] * 100).to(torch.int8), "holds int8, not float32"),
        (weight, tensors[weight] > 0, "holds bool, not float32"),
    ):
        write_tensors(path, {**tensors, name: value}, facts)
        refused(path, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"std": [0.0, 0.2, 0.2]}, "std is .* 3.9e-06 or more"),
        ({"std": [1e300, 0.2, 0.2]}, "std is "),
        ({"std": [-1.0, 0.2, 0.2]}, "std is "),
        ({"std": [0.2]}, "std has 1 values for 3 channels"),
        ({"mean": []}, "has std without mean"),
        ({"std": []}, "has mean without std"),
        ({"std": "wide"}, "std: is 'wide'"),
        ({"std": 0.5}, "std: "),
        ({"mean": {"red": 1}}, "mean: "),
        ({"mean": [0.5, None, 0.5]}, "mean.1: "),
        ({"mean": [128, 128, 128]}, "mean is .*divide by 255"),
        ({"labels": 3}, "labels: "),
        ({"labels": [1, 2]}, "labels.0: "),
        ({"labels": ["a"]}, "1 labels for 10 classes"),
        ({"labels": [*"abcdefghih"]}, "has the label 'h' twice"),
        ({"stage": ["vanilla"]}, "stage: "),
        ({"data": 5}, "data: "),
        ({"test_accuracy": "good"}, "test_accuracy: "),
        ({"config": [1]}, "config: "),
        ({"options": 7}, "options: "),
        ({"options": {"width": "wide"}}, "cannot use these options"),
        ({"options": {"surplus": 1}}, "has no option 'surplus'"),
        ({"options": {"name": "fusionet-s"}}, "has no option 'name'"),
        ({"options": {"seed": 1}}, "has no option 'seed'"),
        ({"options": {"architecture": "x"}}, "has no option 'architecture'"),
        ({"options": {"tail_channels": 4_000_000_000}}, "option tail_channels is 4000000000"),
        ({"options": {"channels": [65536] * 9}}, "would have .* parameters, more than"),
        ({"options": {"input_shape": 5}}, "cannot use these options"),
        ({"architecture": 5}, "architecture: "),
        ({"architecture": None}, "architecture: "),
        ({"architecture": "resnet"}, "unknown network 'resnet'"),
        ({"bits": "four"}, "bits: "),
        ({"bits": 40}, "bits: is 40"),
        ({"bits": 4, "scales": "odd"}, "scales: is 'odd'"),
        ({"bits": 4, "largest_weight": 3}, "largest_weight: is 3"),
        ({"shifts": 1}, "shifts: "),
    ],
)
def test_facts_must_fit(whole: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    tensors, facts = read_tensors(whole)
    write_tensors(tmp_path / "c.safetensors", tensors, {**facts, **changes})
    refused(tmp_path / "c.safetensors", message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=20)
@given(st.sampled_from(["architecture", "options", "bits", "mean", "std", "labels", "stage", "shifts"]), JSON)
def test_any_fact_is_accepted_or_refused_in_one_line(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, key: str, value: Any
) -> None:
    tensors, facts = read_tensors(whole)
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    write_tensors(path, tensors, {**facts, key: value})
    try:
        network_of(path)
    except InputError as error:
        assert "\n" not in str(error) and str(path) in str(error)


@given(st.data())
def test_an_altered_byte_is_noticed(whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(whole.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "altered.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError):
        load_checkpoint(path)


def test_checkpoints_of_version_1_are_converted_in_place(whole: Path, tmp_path: Path) -> None:
    tensors, facts = read_tensors(whole)
    old = tmp_path / "old.safetensors"
    save_file(tensors, old, {"predfuse": json.dumps({"format": FORMAT, "version": 1, **facts})})
    refused(old, "has version 1 .* tools/convert_checkpoints.py")
    tool = Path(__file__).parents[2] / "tools" / "convert_checkpoints.py"
    spec = importlib.util.spec_from_file_location("convert_checkpoints", tool)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.convert(old) is True
    assert old.read_bytes() == whole.read_bytes()
    assert module.convert(old) is False
