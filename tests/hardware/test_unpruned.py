"""Unpruned blocks are named with their price wherever they are compiled or simulated, pruned ones are not."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch
from torch import nn

import predfuse
from predfuse.graph.nodes import Network
from predfuse.hardware import load_spec, prune_blocks
from predfuse.hardware.block_work import block_work, list_entries
from predfuse.hardware.closed_form.simulate import simulate
from predfuse.hardware.cycle.simulate import simulate_cycles
from predfuse.hardware.cycle.warn_unpruned import warn_unpruned
from predfuse.hardware.unpruned import list_notes, unpruned_blocks

IMAGES = torch.randn(8, 4, 9, 9, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(4, 20, 1), nn.ReLU(), nn.Conv2d(20, 20, 3, 1, 1, groups=20), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Conv2d(20, 6, 1)).eval()
    predfuse.prepare(model, predfuse.PrepareConfig(steps=0), IMAGES)
    return predfuse.to_network(model, IMAGES, name="one-block")


def test_a_simulation_names_the_block_with_its_cycles_and_those_of_a_dense_machine(network: Network) -> None:
    (block,) = network.bottlenecks()
    result = simulate_cycles(network, load_spec("archon"), IMAGES.numpy()[:1])[0].result
    dense = simulate_cycles(network, load_spec("eyeriss-dense"))[0].result
    (note,) = (note for note in result.notes if "not pruned" in note)
    assert f"block {block.name} is not pruned (100% of its 1x1 weights)" in note
    assert f"archon takes {result.layer_cycles()[block.name]:,} cycles" in note
    assert f"eyeriss-dense takes {dense.layer_cycles()[block.name]:,};" in note and "predfuse prune" in note
    closed = simulate(network, load_spec("archon-ics21"))
    assert any(note.startswith(f"not pruned: {block.name};") for note in closed.notes)
    assert not any("not pruned" in note for note in dense.notes)


def test_pruned_blocks_are_not_named(network: Network) -> None:
    pruned = prune_blocks(network)
    assert not unpruned_blocks(pruned)
    result = simulate_cycles(pruned, load_spec("archon"), IMAGES.numpy()[:1])[0].result
    assert not any("not pruned" in note for note in result.notes)


def test_compiling_warns(network: Network, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with caplog.at_level(logging.WARNING):
        program = predfuse.compile(network, IMAGES)
    assert [record.message for record in caplog.records if "archon takes" in record.message]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        predfuse.compile(prune_blocks(network), IMAGES)
    assert not [record for record in caplog.records if "not pruned" in record.message]
    monkeypatch.setattr("predfuse.hardware.cycle.warn_unpruned.MOST_ENTRIES", 0)  # too large to simulate by the way
    assert warn_unpruned(program, IMAGES.numpy()) == list_notes(program)
    (block,) = program.fused_blocks()
    entries = int(list_entries(block_work(block.as_bottleneck(), program.input_shape)).sum())
    whole = 4 * 20 * 9 * 6
    assert (
        f"goes through {entries:,} fused weights, of about {round(whole * 0.2 * 0.3 * 0.2)} if"
        in list_notes(program)[0]
    )


def test_half_the_weights_are_the_limit(network: Network) -> None:
    (block,) = network.bottlenecks()
    half = np.where(np.arange(20) % 2, 1.0, 0.0)
    for rest, unpruned in ((0.0, False), (1.0, True)):
        weight = block.expand_weight * half[:, None]
        weight[0, 0] = rest
        node = dataclasses.replace(block, expand_weight=weight, project_weight=block.project_weight * half)
        assert bool(unpruned_blocks(dataclasses.replace(network, nodes=(node,)))) == unpruned
