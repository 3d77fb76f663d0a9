"""The shipped networks in integers, on the shipped images."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from predfuse import data
from predfuse.fusion.execute import run_network
from predfuse.integer import run_program
from predfuse.integer.calibrate import normalise
from predfuse.integer.compile import compile_network
from predfuse.sources import load_source

ZOO = Path(str(resources.files("predfuse") / "zoo"))


@pytest.mark.parametrize(
    ("checkpoint", "count"),
    [
        ("fashion-mnist-fusionet-s/predicted-joint", 1000),
        ("fashion-mnist-fusionet-s/pruned", 100),
        ("fashion-mnist-mobilenetv2-s/vanilla", 100),
        ("fashion-mnist-mobilenetv2-s/pruned", 100),
    ],
)
def test_integers_classify_like_floats(checkpoint: str, count: int) -> None:
    """At least 99.5 % of the images get the same class, accuracies differ by at most 0.3 points, saturation or not."""
    network = load_source(str(ZOO / f"{checkpoint}.safetensors"))
    images = data.load("fashion-mnist-1000", "test")
    program = compile_network(network, images.images[:256])
    shown = images.first(count)
    result = run_program(program, shown.images)
    floats = run_network(network, normalise(network, shown.images), "predicted", statistics=False, dtype=np.float32)
    assert np.mean(result.predictions == floats.logits.argmax(axis=1)) >= 0.995
    assert abs(result.accuracy(shown.labels) - floats.accuracy(shown.labels)) <= 0.003 + 1e-9
    predicted = [block.name for block in network.bottlenecks() if block.predictor is not None]
    assert [block.name for block in program.fused_blocks()] == predicted


def test_a_real_image_is_bit_identical_on_both_machines() -> None:
    network = load_source(str(ZOO / "fashion-mnist-fusionet-s" / "predicted-joint.safetensors"))
    images = data.load("fashion-mnist-1000", "test").images[:16]
    program = compile_network(network, images)
    names = [node.name for node in program.nodes]
    slow, fast = (
        run_program(program, images[:1], machine=machine, keep=names, keep_masks=True)
        for machine in ("reference", "fast")
    )
    assert slow.saturations == fast.saturations
    for name in names:
        np.testing.assert_array_equal(fast.values[name], slow.values[name])
    for name, (mask1, mask2) in slow.masks.items():
        np.testing.assert_array_equal(fast.masks[name][0], mask1)
        np.testing.assert_array_equal(fast.masks[name][1], mask2)
        assert 0 < mask1.mean() < 1 and 0 < mask2.mean() < 1
