"""Networks survive a round trip bit for bit; damaged files are refused with one line."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file
from strategies import networks

from predfuse.errors import InputError
from predfuse.graph.io import FORMAT, VERSION, load_network, save_network
from predfuse.graph.nodes import Bottleneck, Linear, Network, Predictor, Unsupported
from predfuse.readers import arrays
from predfuse.tensor_file import METADATA_KEY, load_tensor_file, save_tensor_file


def _assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    for field in dataclasses.fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right, err_msg=field.name)
        elif isinstance(left, Predictor):
            _assert_same(left, right)
        elif field.name == "nodes":
            assert len(left) == len(right)
            for node, twin in zip(left, right, strict=True):
                _assert_same(node, twin)
        else:
            assert left == right and type(left) is type(right), field.name


def _network(**changes: Any) -> Network:
    rng = np.random.default_rng(0)
    predictor = Predictor(
        -2,
        rng.integers(-1, 2, (8, 2)).astype(np.int8),
        np.arange(8, dtype=np.int32),
        np.ones(8, np.int8),
        rng.integers(-1, 2, (8, 3, 3)).astype(np.int8),
        np.arange(8, dtype=np.int32),
    )
    block = Bottleneck(
        name="b1",
        inputs=("input",),
        expand_weight=rng.normal(size=(8, 2)).astype(np.float32),
        expand_bias=rng.normal(size=8).astype(np.float16),
        depthwise_weight=rng.normal(size=(8, 3, 3)),
        depthwise_bias=rng.normal(size=8),
        project_weight=rng.normal(size=(4, 4)),
        project_bias=rng.normal(size=4),
        groups=2,
        shuffle_groups=2,
        residual=True,
        predictor=predictor,
    )
    linear = Linear("FC1", ("b1",), rng.normal(size=(3, 64)).astype(np.float32), np.ones(3, np.float32))
    facts = {"metadata": {"data": "x", "epochs": 3, "rate": 0.1, "notes": [None, True]}, "labels": ("a", "b", "c")}
    scale = {"mean": (0.5, 0.25, 0.1, 0.0), "std": (1.0, 2.0, 3.0, 4.0)}
    return Network(**{"name": "tiny", "input_shape": (4, 4, 4), "nodes": (block, linear), **facts, **scale, **changes})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(data=st.data())
def test_round_trip(data: st.DataObject, tmp_path: Path) -> None:
    network = data.draw(networks())
    save_network(network, tmp_path / "n.safetensors")
    _assert_same(load_network(tmp_path / "n.safetensors"), network)


def test_types_facts_and_predictors_survive(tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    save_network(_network(), path)
    _assert_same(load_network(path, "tiny"), _network())


def test_arrays_in_any_memory_order_survive(tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    weight = np.arange(192.0).reshape(64, 3).T
    network = _network()
    swapped = network.replace_nodes(FC1=Linear("FC1", ("b1",), weight.astype(">f4")[::-1], np.ones(3)))
    save_network(swapped, path)
    np.testing.assert_array_equal(load_network(path).nodes[1].weight, weight[::-1])  # type: ignore[attr-defined]


def test_bytes_depend_on_the_content_only(tmp_path: Path) -> None:
    """Also in another process, where hashes have another seed."""
    save_network(_network(), tmp_path / "a")
    script = (
        "import sys, pathlib; from predfuse.graph.io import load_network, save_network;"
        "save_network(load_network(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a"), str(tmp_path / "b")], check=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_saving_leaves_nothing_behind_on_failure(tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    save_network(_network(), path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="facts cannot be stored as JSON"):
        save_network(_network(metadata={"bad": float("nan")}), path)
    with pytest.raises(InputError, match="facts cannot be stored as JSON"):
        save_network(_network(metadata={"bad": {1: 2}}), path)
    with pytest.raises(InputError, match="facts cannot be stored as JSON"):
        save_network(_network(metadata={"bad": object()}), path)
    with pytest.raises(InputError, match="does not exist"):
        save_network(_network(), tmp_path / "missing" / "n.safetensors")
    with pytest.raises(InputError, match=r"type longdouble|type float128"):
        save_tensor_file(path, "x", 1, {}, {"a": np.ones(2, np.longdouble)})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["n.safetensors"]


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    save_network(_network(), path)
    content = path.read_bytes()
    for size in {0, 1, 7, 8, 9, len(content) // 2, len(content) - 1, *range(8, len(content), 211)}:
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match="no intact safetensors file"):
            load_network(path)


def test_every_altered_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    save_network(_network(), path)
    content = path.read_bytes()
    for position in [*range(64), *range(64, len(content), 37)]:
        altered = bytearray(content)
        altered[position] ^= 0x10
        path.write_bytes(altered)
        with pytest.raises(InputError) as caught:
            load_network(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_places_that_are_no_network_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_network(tmp_path / "none")
    with pytest.raises(InputError, match="is a folder"):
        load_network(tmp_path)
    (tmp_path / "text").write_text("hello, this is not a network at all")
    with pytest.raises(InputError, match="no intact safetensors file"):
        load_network(tmp_path / "text")
    save_file({"a": np.ones(3)}, tmp_path / "plain")
    with pytest.raises(InputError, match="is no predfuse-network file"):
        load_network(tmp_path / "plain")
    save_tensor_file(tmp_path / "other", "predfuse-program", VERSION, {}, {})
    with pytest.raises(InputError, match="holds format 'predfuse-program'"):
        load_network(tmp_path / "other")
    save_network(_network(), tmp_path / "n")
    with pytest.raises(InputError, match="holds network 'tiny', not 'fusionet-s'"):
        load_network(tmp_path / "n", "fusionet-s")


def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's refusal is stood in for, since nothing is unreadable for root."""
    save_network(_network(), tmp_path / "n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(arrays, "safe_open", refuse)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)"):
        load_network(tmp_path / "n")


def test_unsupported_nodes_survive(tmp_path: Path) -> None:
    odd = Unsupported("gate", ("input",), "sigmoid", "no node computes it", (4, 4, 4))
    network = Network("odd", (4, 4, 4), (odd,))
    save_network(network, tmp_path / "n")
    _assert_same(load_network(tmp_path / "n"), network)


def _rewrite(change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Save the network changed, with a valid checksum: the content itself is wrong."""

    def write(path: Path) -> None:
        save_network(_network(), path)
        file = load_tensor_file(path, FORMAT, VERSION)
        change(file.document, file.tensors)
        save_tensor_file(path, FORMAT, VERSION, file.document, file.tensors)

    return write


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, t: t.pop("b1.project_bias"), "layer b1: tensor b1.project_bias is missing"),
        (lambda d, t: t.pop("b1.predictor.shift"), "tensor b1.predictor.shift is missing"),
        (lambda d, t: t.update(extra=np.ones(2)), "unknown tensor extra"),
        (lambda d, t: t.update({"FC1.bias": np.array([1, np.nan, 2])}), "layer FC1: bias holds NaN"),
        (lambda d, t: t.update({"FC1.bias": np.ones(4)}), "layer FC1: bias has shape 4"),
        (lambda d, t: d.update(surprise=1), "network: unknown field surprise"),
        (lambda d, t: d.pop("mean"), "network: field mean is missing"),
        (lambda d, t: d["nodes"][0].update(surprise=1), "layer b1: unknown field surprise"),
        (lambda d, t: d["nodes"][0].pop("stride"), "layer b1: field stride is missing"),
        (lambda d, t: d["nodes"][0].update(stride="2"), "layer b1 field stride: holds '2'"),
        (lambda d, t: d["nodes"][0].update(stride=True), "layer b1 field stride: holds True"),
        (lambda d, t: d["nodes"][0].update(stride=0), "layer b1: stride 0"),
        (lambda d, t: d["nodes"][0].update(padding=[1, 1, 1]), "layer b1 field padding"),
        (lambda d, t: d["nodes"][0].update(residual=1), "layer b1 field residual: holds 1"),
        (lambda d, t: d["nodes"][0].update(predictor=3), "layer b1 field predictor: holds 3"),
        (lambda d, t: d["nodes"][0]["predictor"].update(extra=3), "layer b1 predictor: unknown field extra"),
        (lambda d, t: d["nodes"][0].update(predictor=None), "unknown tensor b1.predictor"),
        (lambda d, t: d["nodes"][0].update(expand_activation="gelu"), "field expand_activation: holds 'gelu'"),
        (lambda d, t: d["nodes"][0].update(type="Transformer"), "layer b1: unknown layer type 'Transformer'"),
        (lambda d, t: d["nodes"][0].pop("name"), "holds a layer without a name"),
        (lambda d, t: d["nodes"].append(7), "holds a layer without a name"),
        (lambda d, t: d["nodes"].reverse(), "reads 'b1', which does not come before it"),
        (lambda d, t: d.update(nodes={}), "network field nodes"),
        (lambda d, t: d.update(input_shape=[4, 4]), "network field input_shape"),
        (lambda d, t: d.update(labels=[1]), "network field labels"),
    ],
)
def test_wrong_content_is_named(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "n.safetensors"
    _rewrite(change)(path)
    with pytest.raises(InputError, match=message) as caught:
        load_network(path)
    assert str(path) in str(caught.value)


def _with_header(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the header of a valid file in place, keeping the recorded checksum."""
    save_network(_network(), path)
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()[METADATA_KEY])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header)
    save_file(tensors, path, {METADATA_KEY: json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(version=VERSION + 1), f"has version {VERSION + 1} of predfuse-network"),
        (lambda h: h.update(version="1"), "has version '1'"),
        (lambda h: h.pop("version"), "metadata is corrupt"),
        (lambda h: h.pop("sha256"), "metadata is corrupt"),
        (lambda h: h.update(more=1), "metadata is corrupt"),
        (lambda h: h.update(document=[]), "metadata is corrupt"),
        (lambda h: h["document"].update(name="other"), "does not match its checksum"),
        (lambda h: h["document"].update(mean=[float("nan")] * 4), "metadata is corrupt"),
    ],
)
def test_wrong_headers_are_named(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "n.safetensors"
    _with_header(path, change)
    with pytest.raises(InputError, match=message):
        load_network(path)
