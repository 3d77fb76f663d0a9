"""Closed-form access counts, against a walk through the loops that counts every word."""

from __future__ import annotations

import numpy as np
import pytest
from hardware.loopnest import Nests, actions_of, buffer_words, count_accesses, energies_pj
from hardware.operations import mapped_operations, operation, walk
from hypothesis import given, settings

from predfuse.hardware.closed_form.mapping import best_mapping
from predfuse.hardware.energy import energy_by_component_pj
from predfuse.hardware.spec import EyerissSpec, load_spec
from predfuse.hardware.workload import Operation


@settings(max_examples=250)
@given(mapped_operations())
def test_closed_forms_count_what_a_walk_through_the_loops_counts(case: tuple[Operation, Nests, int]) -> None:
    op, nests, ifmap_words = case
    accesses = count_accesses(op, nests, ifmap_words)
    walked = walk(op, nests, ifmap_words)
    for name in ("weights_fetched", "inputs_fetched", "inputs_read", "outputs_written", "outputs_read_back"):
        assert getattr(accesses, name)[0] == getattr(walked, name), name
    assert accesses.outputs_drained[0] == op.outputs * op.out_pixels


@given(mapped_operations())
def test_nothing_is_fetched_less_than_once(case: tuple[Operation, Nests, int]) -> None:
    op, nests, ifmap_words = case
    accesses = count_accesses(op, nests, ifmap_words)
    assert accesses.weights_fetched[0] >= op.weights
    assert accesses.outputs_written[0] == accesses.outputs_read_back[0] + op.outputs * op.out_pixels
    assert accesses.inputs_written[0] >= 0 and accesses.operands_read[0] <= op.macs
    assert buffer_words(op, nests)[0] > 0


def test_energy_of_a_batch_is_the_price_of_its_actions() -> None:
    spec = load_spec("eyeriss-dense")
    assert isinstance(spec, EyerissSpec)
    op = operation(channels=6, outputs=12, size=8, kernel=3)
    one = np.ones(2, dtype=np.int64)
    nests = Nests(
        q_columns=8,
        s_rows=3,
        s0=1,
        p1=8,
        m_columns=one,
        m_rows=one * 3,
        c_rows=one,
        m0=np.array([4, 2]),
        c0=np.array([3, 1]),
        m1=np.array([1, 2]),
        c1=one,
        m2=one,
        c2=np.array([2, 6]),
    )
    accesses = count_accesses(op, nests, spec.pe.ifmap_regfile_words)
    energies = energies_pj(accesses, op, spec)
    for index in range(2):
        by_component = energy_by_component_pj(actions_of(accesses, index, op, spec), spec)
        assert sum(by_component.values()) == pytest.approx(energies[index])


def test_a_pointwise_layer_worked_out_by_hand() -> None:
    """PW1 of the published networks: 32 -> 32 channels at 32x32, everything in the buffer but four column blocks."""
    spec = load_spec("eyeriss-dense")
    assert isinstance(spec, EyerissSpec)
    mapping = best_mapping(operation(32, 32, size=32), spec)
    actions, pixels = mapping.actions, 1024
    assert mapping.spatial.pes == 64 and mapping.cycles == 16_384
    # Inputs, outputs once; weights once: with all channels in the array no loop moves them.
    assert actions.dram_read_bits == (32 * pixels + 32 * 32) * 16
    assert actions.dram_written_bits == 32 * pixels * 16
    # Every input read by the PEs once, one word per access; outputs drained to the DRAM four words per access.
    assert actions.global_buffer_reads == 32 * pixels + 32 * pixels / 4
    assert actions.global_buffer_writes == 32 * pixels + 32 * pixels / 4
    assert actions.psum_regfile_reads == actions.weight_sram_reads == actions.multiplications == 32 * 32 * pixels
