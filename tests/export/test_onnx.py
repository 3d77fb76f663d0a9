"""ONNX files: valid, standard operators only, and in onnxruntime what the slow reference gives."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import float_reference as reference
import numpy as np
import pytest
from export_cases import has_predictor, predicted, run_block
from hypothesis import given, settings, strategies as st
from strategies import network_images, networks

from predfuse import data, models, zoo
from predfuse.arrays import Array
from predfuse.errors import InputError, PredfuseError
from predfuse.exporters.arrays import FORMS, PRECISIONS, Form, Precision
from predfuse.exporters.check import TOLERANCE, check_images, check_onnx
from predfuse.exporters.files import export_network
from predfuse.fusion.execute import run_network
from predfuse.graph.nodes import INPUT, Conv, Linear, Network, Shuffle
from predfuse.integer.calibrate import normalise
from predfuse.training.runs import network_of

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from predfuse.exporters.graph import OPSET, to_onnx  # noqa: E402 - after the skip


def run(path: Path, images: Array) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {INPUT: images.astype(np.float32)}), strict=True))


@given(st.data(), st.sampled_from(FORMS), st.sampled_from(sorted(PRECISIONS)))
@settings(max_examples=30)
def test_onnxruntime_gives_what_the_reference_gives(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, form: Form, precision: Precision
) -> None:
    network = data.draw(networks())
    if form != "plain" and not has_predictor(network):
        return
    # Multiples of a power of two stay off the edges of the predictors' quantisers wherever a block reads the images.
    images = np.round(data.draw(network_images(network)) * 64) / 64 + 1 / 256
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    check = export_network(network, path, form, images=images, precision=precision)
    assert check.worst_error <= TOLERANCE and check.images == len(images)
    assert check.output_error_same_masks <= TOLERANCE
    assert form != "plain" or check.agreeing == len(images)
    if check.agreeing < len(images):
        return  # rounding moved a value over a quantiser's edge; every layer was compared above
    scores = run(path, images)[network.output]
    for image, got in zip(images, scores, strict=True):
        wanted = reference.run_network(network, image, lambda block, x: run_block(form, block, x))[network.output]
        np.testing.assert_allclose(got, wanted[:, 0, 0], rtol=1e-4, atol=1e-4 * (1e-3 + np.abs(wanted).max()))


SMALL = {"stage_blocks": (1, 1), "stage_middle": (32, 48), "stage_channels": (8, 8), "input_shape": (1, 14, 14)}


def small(form: Form) -> Network:
    """A network of two blocks of which the first has a predictor."""
    network = models.network("fusionet-s", options=SMALL)
    return network if form == "plain" else network.replace_nodes(b1=predicted(next(network.bottlenecks())))


@pytest.mark.parametrize("form", FORMS)
def test_files_hold_standard_operators_and_their_facts(tmp_path: Path, form: Form) -> None:
    network = dataclasses.replace(small(form), labels=tuple("abcdefghij"), mean=(0.5,), std=(0.2,))
    path = tmp_path / "network.onnx"
    export_network(network, path, form)
    model = onnx.load(path)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert not model.functions and not any(node.domain for node in model.graph.node)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["form"] == form and json.loads(facts["labels"]) == list("abcdefghij")
    assert json.loads(facts["std"]) == [0.2]
    assert [output.name for output in model.graph.output] == ["FC1"]
    for count in (1, 3):
        assert run(path, check_images(network, count))["FC1"].shape == (count, 10)


def test_a_network_gives_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("first", "second"):
        export_network(small("predicted"), tmp_path / f"{name}.onnx", "predicted")
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


def test_layers_may_have_any_name(tmp_path: Path) -> None:
    """Names that inner values would have, and those of other layers' parts."""
    rng = np.random.default_rng(1)

    def conv(name: str, source: str) -> Conv:
        return Conv(name, (source,), rng.normal(size=(4, 4, 1, 1)), rng.normal(size=4), activation="relu6")

    nodes = (
        conv("a/linear", INPUT),
        conv("a", "a/linear"),
        conv("a.weight", "a"),
        Shuffle("a/low", ("a.weight",), 2),
        Linear("a/product", ("a/low",), rng.normal(size=(3, 36)), rng.normal(size=3)),
        Linear("A/shape", ("a/product",), rng.normal(size=(2, 3)), rng.normal(size=2), "relu"),
    )
    check = export_network(Network("names", (4, 3, 3), nodes), tmp_path / "names.onnx")
    assert check.output_error <= TOLERANCE


def test_a_wrong_file_is_found_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = small("predicted")
    path = tmp_path / "network.onnx"
    path.write_bytes(b"before")
    wrong = network.replace_nodes(b1=dataclasses.replace(predicted(next(network.bottlenecks())), predictor=None))
    model = to_onnx(wrong)
    monkeypatch.setattr("predfuse.exporters.files.to_onnx", lambda network, form, precision: model)
    with pytest.raises(PredfuseError, match=r"layer b1: onnxruntime gives values off by .* more than 1e-04"):
        export_network(network, path, "predicted")
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def on_an_edge() -> tuple[Network, Array]:
    """The block's input lies just below a step of its quantiser; in float32 it rounds to the step itself."""
    block = dataclasses.replace(next(small("predicted").bottlenecks()), inputs=("stem",))
    step = np.full((block.in_channels, 1, 1, 1), 0.25)
    stem = Conv("stem", (INPUT,), step, np.full(block.in_channels, -1e-10))
    return Network("edge", (1, 4, 4), (stem, block)), np.ones((2, 1, 4, 4))


def test_a_change_of_masks_by_rounding_is_reported_and_all_else_required(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network, images = on_an_edge()
    check = export_network(network, tmp_path / "edge.onnx", "predicted", images=images, precision="float32")
    assert check.worst_error <= TOLERANCE < check.output_error and check.agreeing == 0
    assert check.changed_images == 2 and check.changed_gates > 0 and check.output_error_same_masks <= TOLERANCE
    assert f"edge: rounding changes {check.changed_gates} gates on 2 of 2 images, the outputs of 2" in caplog.text


@pytest.mark.parametrize("form", ["predicted", "fused"])
def test_float64_decides_every_mask_alike(tmp_path: Path, form: Form) -> None:
    network, images = on_an_edge()
    check = export_network(network, tmp_path / "edge.onnx", form, images=images)
    assert (check.agreeing, check.changed_gates) == (2, 0)
    assert check.output_error < 1e-6
    masks = run_network(network, images, "predicted", keep=("b1",)).outputs["b1"]
    scores = run(tmp_path / "edge.onnx", images)["b1"]
    np.testing.assert_allclose(scores, masks, rtol=1e-6, atol=1e-6 * np.abs(masks).max())


def test_the_shipped_predicted_network_exports_within_tolerance(tmp_path: Path) -> None:
    """On all 1,000 images the largest error is 6e-8; in float32 a mask changes on about one in 200."""
    network = network_of(zoo.folder("fashion-mnist-fusionet-s") / "predicted-joint.safetensors")
    images = normalise(network, data.load("fashion-mnist-1000", "test").images[120:130])
    check = export_network(network, tmp_path / "shipped.onnx", "predicted", images=images)
    assert (check.agreeing, check.changed_gates) == (len(images), 0)
    assert check.output_error < 1e-6
    narrow = export_network(network, tmp_path / "narrow.onnx", "predicted", images=images, precision="float32")
    assert narrow.output_error_same_masks < 1e-5
    assert (narrow.changed_gates == 0) == (narrow.changed_images == 0)
    assert narrow.agreeing + narrow.changed_images >= len(images)


def test_custom_operators_are_found(tmp_path: Path) -> None:
    network = small("plain")
    model = to_onnx(network)
    model.graph.node[0].domain = "example"
    path = tmp_path / "network.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(PredfuseError, match="custom operators Conv"):
        check_onnx(network, "plain", path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'needs onnx, which is not installed; install "predfuse\[onnx\]"'):
        export_network(small("plain"), tmp_path / "network.onnx")


def test_files_beyond_two_gigabytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predfuse.exporters.graph.MAX_BYTES", 1000)
    with pytest.raises(InputError, match=r"needs .* bytes, an ONNX file holds 2 GiB"):
        to_onnx(small("plain"))
