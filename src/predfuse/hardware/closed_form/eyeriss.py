"""The dense and the sparse machine at ``paper`` fidelity: one mapping for both, zero weights skipped on the sparse one.

On the dense machine every multiplication takes a cycle of a PE, and the mapping leaves no PE in use idle: cycles are
multiplications over PEs in use (ICS 2021 artifact).

On the sparse machine, in a pass every PE works through the weights it holds, one multiplication per non-zero weight and
cycle, and all PEs wait for the one that holds the most (ICS 2021). PEs of a column of outputs share weights, so that
the wait is decided by the tiles of weights laid over the PE rows (and over the columns, where those hold output
channels). The same weights serve ``pixel_passes`` passes.

Energy: zero weights cause no multiplication and no access of the PE's memories, and are neither stored nor fetched:
a compressed weight travels with an index. A layer whose compressed form is larger than the plain one stays plain.
Activations move as on the dense machine. Output-channel blocks, PE rows and PEs take consecutive channels.
"""

from __future__ import annotations

import numpy as np

from predfuse.arrays import Int64Array
from predfuse.errors import InputError
from predfuse.hardware.closed_form.mapping import Mapping, best_mapping
from predfuse.hardware.energy import Actions, energy_by_component_pj
from predfuse.hardware.result import StageResult
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation


def nonzeros_per_tile(operation: Operation, mapping: Mapping) -> Int64Array:
    """Non-zero weights of every PE in every weight pass: ``[passes, PEs with weights of their own]``, group by group.

    The operation may have more groups than the mapping is for: the array then works on several at once.
    """
    if operation.weight is None:
        raise InputError(f"layer {operation.layer}", "has no weights", "give the sparse machine a network with weights")
    nonzero = np.asarray(operation.weight != 0)
    spatial = mapping.spatial
    groups = 1 if operation.is_depthwise else operation.groups
    m_blocks, c_blocks = mapping.m1 * mapping.m2, mapping.c1 * mapping.c2
    tiles = nonzero.reshape(
        groups,
        m_blocks,
        spatial.m_columns * spatial.m_rows,
        mapping.m0,
        c_blocks,
        spatial.c_rows,
        mapping.c0,
        operation.rows.kernel,
        mapping.s0,
        spatial.s_rows,
    )
    # To [group, m block, c block | m PEs, c rows, s rows | m0, c0, r, s0].
    ordered = tiles.transpose(0, 1, 4, 2, 5, 9, 3, 6, 7, 8)
    counts: Int64Array = ordered.reshape(groups * m_blocks * c_blocks, -1, mapping.tile_macs).sum(axis=2)
    return counts


def array_stage(operation: Operation, spec: EyerissSpec, tile_macs: int | None = None) -> StageResult:
    """One layer or stage on the machine's array.

    Args:
        operation: The layer or stage; for a sparse machine with its real weights.
        spec: The machine.
        tile_macs: Weights a PE must hold per pass, to follow a given mapping.

    Raises:
        InputError: Weights are missing, or a memory of the machine is too small for the layer.
    """
    mapping = best_mapping(operation, spec, tile_macs)
    cycles, multiplications, actions = mapping.cycles, operation.macs, mapping.actions
    if spec.kind == "sparse":
        counts = nonzeros_per_tile(operation, mapping)
        nonzeros = int(counts.sum())
        cycles = int(counts.max(axis=1).sum()) * mapping.pixel_passes
        multiplications = nonzeros * operation.out_pixels
        actions = skip_zeros(actions, operation, mapping, nonzeros, spec)
    return StageResult(
        layer=operation.layer,
        stage=operation.stage,
        compute_cycles=cycles,
        stall_cycles=0,
        macs=operation.macs,
        utilisation=multiplications / (cycles * spec.array.pes) if cycles else 0.0,
        energy_pj=energy_by_component_pj(actions, spec),
        actions=actions,
        mapping=mapping.describe(),
        pes=mapping.spatial.pes,
    )


def skip_zeros(dense: Actions, operation: Operation, mapping: Mapping, nonzeros: int, spec: EyerissSpec) -> Actions:
    """What is left of the dense actions of a layer with so many weights that are not zero."""
    density = nonzeros / operation.weights
    stored = min(1.0, density * (spec.bits + spec.weight_index_bits) / spec.bits)
    # Every weight fetched is written into the PEs of all columns of outputs.
    weight_bits = dense.weight_sram_writes / mapping.spatial.q_columns * spec.bits
    return dense.with_counts(
        multiplications=dense.multiplications * density,
        ifmap_regfile_reads=dense.ifmap_regfile_reads * (density if operation.is_depthwise else 1.0),
        psum_regfile_reads=dense.psum_regfile_reads * density,
        psum_regfile_writes=dense.psum_regfile_writes * density,
        weight_sram_reads=dense.weight_sram_reads * density,
        weight_sram_writes=dense.weight_sram_writes * stored,
        dram_read_bits=dense.dram_read_bits - weight_bits * (1.0 - stored),
    )
