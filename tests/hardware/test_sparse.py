"""The sparse machine, against counting the weights of every PE one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hardware.operations import operation, operations
from hypothesis import assume, given

from predfuse.errors import InputError
from predfuse.hardware.closed_form.eyeriss import array_stage, nonzeros_per_tile
from predfuse.hardware.closed_form.mapping import Mapping, best_mapping
from predfuse.hardware.spec import EyerissSpec, load_spec
from predfuse.hardware.workload import Operation


def spec() -> EyerissSpec:
    loaded = load_spec("eyeriss-sparse")
    assert isinstance(loaded, EyerissSpec)
    return loaded


def counted_one_by_one(op: Operation, mapping: Mapping) -> dict[tuple[int, ...], int]:
    """Non-zero weights by (group, output block, input block, PE): every weight is given to its PE by its indices."""
    assert op.weight is not None
    side = mapping.spatial
    counts: dict[tuple[int, ...], int] = {}
    groups = 1 if op.is_depthwise else op.groups
    outputs = op.outputs // groups
    m_pes = side.m_columns * side.m_rows
    for o, c, r, s in np.ndindex(op.weight.shape):
        group, m = divmod(o, outputs)
        m_block, m_pe = divmod(m // mapping.m0, m_pes)
        c_block, c_pe = divmod(c // mapping.c0, side.c_rows)
        key = (group, m_block, c_block, m_pe, c_pe, s % side.s_rows)
        counts[key] = counts.get(key, 0) + int(op.weight[o, c, r, s] != 0)
    return counts


@given(operations(with_weights=True))
def test_every_weight_is_counted_in_the_pe_that_holds_it(op: Operation) -> None:
    try:
        mapping = best_mapping(op, spec())
    except InputError:
        assume(False)
    expected = counted_one_by_one(op, mapping)
    counts = nonzeros_per_tile(op, mapping)
    assert sorted(counts.ravel().tolist()) == sorted(expected.values())
    slowest: dict[tuple[int, ...], int] = {}
    for key, count in expected.items():
        slowest[key[:3]] = max(slowest.get(key[:3], 0), count)
    assert counts.max(axis=1).sum() == sum(slowest.values())


@given(operations(with_weights=True))
def test_skipping_zeros_never_costs_more_and_nothing_is_skipped_without_zeros(op: Operation) -> None:
    assume(op.taps <= 15)
    sparse, dense = array_stage(op, spec()), array_stage(op, spec().model_copy(update={"kind": "dense"}))
    assert sparse.total_cycles <= dense.total_cycles
    assert sparse.total_energy_uj <= dense.total_energy_uj * (1 + 1e-12)
    assert op.weight is not None
    assert sparse.actions.multiplications == np.count_nonzero(op.weight) * op.out_pixels
    full = array_stage(replace(op, weight=np.ones(np.shape(op.weight))), spec())
    assert full.total_cycles == dense.total_cycles
    assert full.total_energy_uj == pytest.approx(dense.total_energy_uj)


def test_a_pass_lasts_as_long_as_its_slowest_pe() -> None:
    op = operation(8, 8, size=8, density=1.0)
    mapping = best_mapping(op, spec())
    assert mapping.spatial.c_rows == 8 and mapping.weight_passes == 1  # an input channel per PE row, all outputs in it
    uneven, even = np.zeros((8, 8, 1, 1)), np.zeros((8, 8, 1, 1))
    uneven[:, 3] = 1.0  # eight weights, all in one PE row
    even[3, :] = 1.0  # eight weights, one in every PE row
    assert array_stage(replace(op, weight=uneven), spec()).total_cycles == 8 * mapping.pixel_passes
    assert array_stage(replace(op, weight=even), spec()).total_cycles == mapping.pixel_passes


def test_a_layer_without_weights_takes_no_time() -> None:
    result = array_stage(operation(8, 8, size=8, density=0.0), spec())
    assert result.total_cycles == 0 and result.utilisation == 0.0 and result.actions.multiplications == 0


def test_compressed_weights_travel_with_their_index_unless_that_takes_more_bits() -> None:
    dense, half = operation(64, 64, size=8, density=1.0), operation(64, 64, size=8, density=0.5)
    full, fewer = array_stage(dense, spec()), array_stage(half, spec())
    saved = full.actions.dram_read_bits - fewer.actions.dram_read_bits
    assert half.weight is not None
    assert saved == pytest.approx(half.weights * 16 - np.count_nonzero(half.weight) * 26)


def test_weights_must_be_known() -> None:
    with pytest.raises(InputError, match="has no weights"):
        array_stage(operation(8, 8), spec())
