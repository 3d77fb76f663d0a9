"""The three forms as PyTorch modules against the slow reference, on random networks of every node type."""

from __future__ import annotations

from pathlib import Path

import float_reference as reference
import numpy as np
import pytest
import torch
from export_cases import has_predictor, predicted, run_block
from hypothesis import given, settings, strategies as st
from strategies import BlockCase, bottlenecks, network_images, networks

from predfuse import models
from predfuse.errors import InputError
from predfuse.exporters.arrays import FORMS, Form, fused_arrays, fused_weight_count, unfused
from predfuse.exporters.files import export_network
from predfuse.exporters.module import to_module
from predfuse.graph.nodes import INPUT, Network, Unsupported


@given(st.data(), st.sampled_from(FORMS))
@settings(max_examples=25)
def test_modules_give_what_the_reference_gives(data: st.DataObject, form: Form) -> None:
    network = data.draw(networks())
    if form != "plain" and not has_predictor(network):
        with pytest.raises(InputError, match="no block with a predictor"):
            to_module(network, form)
        return
    images = data.draw(network_images(network))
    module = to_module(network, form).double()
    with torch.no_grad():
        got = module(torch.from_numpy(images)).numpy()
    for image, scores in zip(images, got, strict=True):
        wanted = reference.run_network(network, image, lambda block, x: run_block(form, block, x))[network.output]
        # Weights went through float32.
        np.testing.assert_allclose(scores, wanted[:, 0, 0], rtol=1e-4, atol=1e-5 * (1 + np.abs(wanted).max()))


@given(st.data(), st.sampled_from(("predicted", "fused")))
@settings(max_examples=25)
def test_blocks_give_what_the_reference_gives(data: st.DataObject, form: Form) -> None:
    case: BlockCase = data.draw(bottlenecks(with_predictor=True))
    network = Network("block", case.x.shape, (case.block,))
    with torch.no_grad():
        got = to_module(network, form).double()(torch.from_numpy(case.x)[None])[0].numpy()
    wanted = run_block(form, case.block, case.x)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5 * (1 + np.abs(wanted).max()))


def test_fused_weights_are_counted_and_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    network = models.network("fusionet-s")
    block = predicted(next(network.bottlenecks()))
    count = 9 * block.out_channels * (block.group_channels + 1) * block.middle_channels // 4
    assert fused_weight_count(block) == fused_arrays(block).taps.size == count
    network = network.replace_nodes(**{block.name: block})
    monkeypatch.setattr("predfuse.exporters.arrays.MAX_FUSED_WEIGHTS", count - 1)
    assert to_module(network, "predicted").form == "predicted"
    with pytest.raises(InputError, match=rf"has {count:,} dense fused weights, more than {count - 1:,}; use"):
        to_module(network, "fused")


def test_blocks_too_large_for_the_fused_form_stay_predicted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = models.network("fusionet-s")
    blocks = [predicted(block) for block in network.bottlenecks()]
    network = network.replace_nodes(**{block.name: block for block in blocks})
    counts = sorted(map(fused_weight_count, blocks))
    monkeypatch.setattr("predfuse.exporters.arrays.MAX_FUSED_WEIGHTS", sum(counts[:-1]))
    reasons = unfused(network)
    (left,) = reasons
    assert reasons[left].endswith(f"more than {sum(counts[:-1]):,} with the {sum(counts[:-1]):,} of smaller blocks")
    module = to_module(network, "fused")
    made = dict(zip((node.name for node in network.nodes), module.layers, strict=True))
    forms = {block.name: type(made[block.name]).__name__ for block in blocks}
    assert {name for name, form in forms.items() if form == "PredictedBlock"} == {left}
    assert set(forms.values()) == {"PredictedBlock", "FusedBlock"}
    assert export_network(network, tmp_path / "mixed.onnx", "fused").output_error < 1e-5


def test_scores_too_large_for_float32_are_refused() -> None:
    network = models.network("fusionet-s")
    block = predicted(next(network.bottlenecks()), offset=2**23)
    with pytest.raises(InputError, match=r"layer b1: predictor scores reach 83886.., float32 is exact below 8388608"):
        to_module(network.replace_nodes(b1=block), "predicted")


def test_networks_without_predictors_have_the_plain_form_only() -> None:
    with pytest.raises(InputError, match=r"no block with a predictor.*plain form"):
        to_module(models.network("fusionet-s"), "fused")


def test_unknown_forms_are_refused() -> None:
    with pytest.raises(InputError, match=r"form 'onnx': is unknown; use one of plain, predicted, fused"):
        to_module(models.network("fusionet-s"), "onnx")  # type: ignore[arg-type]


def test_unsupported_operations_are_refused() -> None:
    gate = Unsupported("sigmoid", (INPUT,), "aten.sigmoid", "a sigmoid is no ReLU", (3, 4, 4))
    with pytest.raises(InputError, match=r"layer sigmoid: cannot be exported: a sigmoid is no ReLU; replace this"):
        to_module(Network("gated", (3, 4, 4), (gate,)))


def test_unknown_precisions_are_refused() -> None:
    with pytest.raises(InputError, match=r"precision 'float16': is unknown; use one of float32, float64"):
        to_module(models.network("fusionet-s"), "plain", "float16")  # type: ignore[arg-type]
