"""Every fused block of a shipped network on a real image, on gateware of middle size: all bits, all cycles."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from rtl.machines import MID, simulator_of

from predfuse import data
from predfuse.integer.compile import compile_network
from predfuse.rtl.run import run_on_gateware
from predfuse.sources import load_source

ZOO = Path(str(resources.files("predfuse") / "zoo"))


def test_every_block_is_exact() -> None:
    simulator = simulator_of(MID)
    network = load_source(str(ZOO / "fashion-mnist-fusionet-s" / "predicted-joint.safetensors"))
    images = data.load("fashion-mnist-1000", "test").images
    program = compile_network(network, images[:64])
    results = run_on_gateware(program, images[:1], simulator)
    assert [one.layer for one in results] == [block.name for block in program.fused_blocks()]
    assert all(one.list_cycles and one.predict_cycles for one in results)
    assert not [step for one in results for step in one.differences]
