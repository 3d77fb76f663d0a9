"""Every fused block of every shipped network on one image, on gateware of middle size: all bits, all cycles."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from rtl.machines import MID, simulator_of, spec_of

from predfuse import data
from predfuse.arrays import Array
from predfuse.errors import InputError
from predfuse.integer.compile import compile_network
from predfuse.rtl.run import prepared_for, run_on_gateware
from predfuse.sources import load_source

ZOO = Path(str(resources.files("predfuse") / "zoo"))
NETWORKS = sorted(path.parent.name for path in ZOO.glob("*/predicted-joint.safetensors"))
BLOCKS = dict(zip(NETWORKS, (7, 6, 6, 6, 7, 6, 6), strict=True))


def _images(name: str, count: int) -> Array:
    """``[count, C, H, W]`` of the data set; of CIFAR-10, which is not shipped, made up where it is not installed."""
    if name.startswith("fashion-mnist"):
        return data.load("fashion-mnist-1000", "test").images[:count]
    try:
        return data.load("cifar10", "test").images[:count]
    except InputError:
        # Smooth, so that the first layers see edges and surfaces as in a photograph.
        coarse = np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8))
        rows = np.arange(32) // 4
        return coarse[:, :, rows][..., rows].astype(np.uint8)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_block_is_exact(name: str) -> None:
    simulator = simulator_of(MID)
    network = load_source(str(ZOO / name / "predicted-joint.safetensors"))
    images = _images(name, 8)
    program = compile_network(network, images)
    prepared = prepared_for(program, spec_of(MID), simulator.machine)
    assert prepared is not None
    merged = {block for block, own in prepared.blocks.items() if own.work.merged_groups > 1}
    assert merged == ({"b1", "b2", "b3"} if name == "cifar10-fusionet-e" else set())
    results = run_on_gateware(program, images[:1], simulator, spec_of(MID))
    assert [one.layer for one in results] == [block.name for block in program.fused_blocks()]
    assert len(results) == BLOCKS[name]
    assert all(one.list_cycles and one.predict_cycles for one in results)
    assert all(one.modelled == one.clock.total for one in results), [(one.modelled, one.clock) for one in results]
    assert all(one.exact for one in results), [(one.differences, one.clock, one.planned) for one in results]
