"""With ideal options cycle fidelity is paper fidelity, exactly, on every published network."""

from __future__ import annotations

import pytest
from hardware.cycle.machines import ideal_archon, ideal_eyeriss, random_masks, with_predictors

from predfuse import models
from predfuse.graph.nodes import Network
from predfuse.hardware.closed_form.simulate import simulate
from predfuse.hardware.cycle.archon.machine import prepare, run_archon
from predfuse.hardware.cycle.eyeriss.machine import run_eyeriss
from predfuse.hardware.pruning import prune_blocks

PUBLISHED = [name for name in models.names() if not name.endswith("-s")]


def pruned(name: str) -> Network:
    # The ideal cycles of Archon and the dense machine do not depend on the densities; few weights are quick.
    return prune_blocks(models.network(name), pointwise_density=0.02, depthwise_density=0.1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_archon(name: str) -> None:
    network, spec = with_predictors(pruned(name)), ideal_archon()
    paper = simulate(network, spec)
    result = run_archon(prepare(network, spec), random_masks(network, 0, density=0.0)).result
    assert result.total_cycles == paper.total_cycles
    assert result.stall_cycles == 0
    assert result.layer_cycles() == paper.layer_cycles()
    by_stage = {(row.layer, row.stage): row.total_cycles for row in paper.rows if row.stage != "fusion_overhead"}
    assert {(row.layer, row.stage): row.total_cycles for row in result.rows} == by_stage


@pytest.mark.parametrize("machine", ["eyeriss-dense", "eyeriss-sparse"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_dense_and_sparse(name: str, machine: str) -> None:
    network, spec = pruned(name), ideal_eyeriss(machine)
    paper = simulate(network, spec)
    result = run_eyeriss(network, spec).result
    assert [(row.layer, row.stage, row.total_cycles) for row in result.rows] == [
        (row.layer, row.stage, row.total_cycles) for row in paper.rows
    ]
    assert result.stall_cycles == 0
