"""The full-size comparison: FusioNet on the shipped Archon against MobileNetV2 dense, and pruned on the sparse machine.

Cycles of the shipped Archon do not depend on the masks, and those of the other machines not on the image, so that
random masks with the survivors of the calibrated network serve here. Every channel has shifts: the hardest case.
"""

from __future__ import annotations

import pytest
from hardware.cycle.machines import eyeriss, random_masks, shipped_archon, with_predictors

from predfuse import models
from predfuse.graph.nodes import Network
from predfuse.hardware.cycle.archon.machine import prepare, run_archon
from predfuse.hardware.cycle.eyeriss.machine import run_eyeriss
from predfuse.hardware.pruning import prune_blocks
from predfuse.hardware.result import SimulationResult
from predfuse.training.calibrated import with_all_shifts

SURVIVORS = 0.6
"""So that 36 % of the pixels pass both random masks, about as many as pass the calibrated ones."""


@pytest.fixture(scope="module")
def rivals() -> dict[str, Network]:
    network = models.network("mobilenetv2")
    return {"eyeriss-dense": network, "eyeriss-sparse": prune_blocks(network)}


@pytest.fixture(scope="module")
def fused() -> SimulationResult:
    network = with_all_shifts(with_predictors(prune_blocks(models.network("fusionet"))))
    return run_archon(prepare(network, shipped_archon()), random_masks(network, 0, density=SURVIVORS)).result


def test_faster_and_leaner_than_dense_and_sparse(fused: SimulationResult, rivals: dict[str, Network]) -> None:
    dense = run_eyeriss(rivals["eyeriss-dense"], eyeriss("eyeriss-dense")).result
    sparse = run_eyeriss(rivals["eyeriss-sparse"], eyeriss("eyeriss-sparse")).result
    assert dense.total_cycles / fused.total_cycles >= 5.8
    assert sparse.total_cycles / fused.total_cycles >= 2.0
    assert fused.total_energy_uj <= dense.total_energy_uj / 3
    # The rivals are no worse at cycle fidelity than their published closed forms make them.
    assert dense.compute_cycles < 4_441_408
    assert sparse.total_cycles < 1.06 * 1_478_640  # charged for a word an access
