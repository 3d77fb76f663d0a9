"""Grouped layers on dense and sparse machines: several groups at once, each on its share of the columns."""

from __future__ import annotations

import numpy as np
import pytest
from hardware.cycle.machines import eyeriss

from predfuse.arrays import Array
from predfuse.graph.nodes import INPUT, Conv, Network
from predfuse.hardware.cycle.eyeriss.machine import run_eyeriss
from predfuse.hardware.vary import with_fields

GROUPS, CHANNELS, OUTPUTS, SIZE = 8, 4, 5, 8


def layer(groups: int = GROUPS) -> tuple[Network, Array]:
    rng = np.random.default_rng(0)
    shape = (groups * OUTPUTS, CHANNELS, 1, 1)
    weight = rng.normal(size=shape) * (rng.random(shape) < 0.3)
    conv = Conv("conv", (INPUT,), weight, np.zeros(groups * OUTPUTS), groups=groups)
    return Network("grouped", (groups * CHANNELS, SIZE, SIZE), (conv,)), weight


@pytest.mark.parametrize("name", ["eyeriss-dense", "eyeriss-sparse"])
def test_groups_fill_an_array_that_one_group_does_not(name: str) -> None:
    sizes = {"array.rows": 8, "array.columns": 64, "array_words_per_access": 4, "dram_bits_per_cycle": None}
    sizes["global_buffer.banks"] = 64
    spec = with_fields(eyeriss(name), sizes)
    network, weight = layer()
    (row,) = run_eyeriss(network, spec).result.rows
    assert "groups at once" in row.mapping
    one = run_eyeriss(layer(groups=1)[0], spec).result
    assert row.compute_cycles < GROUPS * one.compute_cycles
    done = np.count_nonzero(weight) if name == "eyeriss-sparse" else weight.size
    assert row.actions.multiplications == pytest.approx(done * SIZE * SIZE)
    assert row.actions.dram_written_bits == pytest.approx(GROUPS * OUTPUTS * SIZE * SIZE * 16)
    # No PE multiplies more than once a cycle, and the array as a whole no more than it has PEs.
    assert row.compute_cycles * spec.array.pes >= done * SIZE * SIZE
