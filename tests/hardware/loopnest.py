"""Accesses of mappings over NumPy arrays, counted from their loop nests: the oracle of the compiled search.

The nest is drawn in :mod:`predfuse.hardware.closed_form.nest_search`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predfuse.hardware.closed_form.windows import largest_tile, pixels_touched
from predfuse.hardware.energy import Actions, prices_pj
from predfuse.hardware.field_types import WORD_BITS
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Nests:
    """Loop bounds of many mappings of one group, one element each; see the module docstring.

    Attributes:
        q_columns: Output columns over PE columns, the same for all.
        s_rows: Kernel width over PE rows, the same for all.
        s0: Kernel columns left to a PE (1 unless the kernel is wider than the array is high), the same for all.
        p1: Output rows in the global buffer, the same for all.
        m_columns: Output channels over PE columns.
        m_rows: Output channels over PE rows.
        c_rows: Input channels over PE rows.
        m0: Output channels in a PE.
        c0: Input channels in a PE.
        m1: Blocks of output channels in the global buffer.
        c1: Blocks of input channels in the global buffer.
        m2: Blocks of output channels from the DRAM.
        c2: Blocks of input channels from the DRAM.
    """

    q_columns: int
    s_rows: int
    s0: int
    p1: int
    m_columns: Ints
    m_rows: Ints
    c_rows: Ints
    m0: Ints
    c0: Ints
    m1: Ints
    c1: Ints
    m2: Ints
    c2: Ints

    @property
    def m_array(self) -> Ints:
        """Output channels the array works on at once."""
        return self.m0 * self.m_rows * self.m_columns

    @property
    def c_array(self) -> Ints:
        """Input channels the array works on at once."""
        return self.c0 * self.c_rows

    @property
    def pes(self) -> Ints:
        """PEs in use."""
        return self.m_columns * self.q_columns * self.s_rows * self.m_rows * self.c_rows


@dataclass(frozen=True, eq=False)
class Accesses:
    """Words moved between levels for all groups, one element per mapping (words).

    Attributes:
        weights_fetched: DRAM to PEs, shared weights counted once.
        weights_written: Into weight SRAMs, every copy counted.
        inputs_fetched: DRAM to global buffer.
        inputs_read: Global buffer to PEs, shared inputs counted once.
        inputs_written: Into input register files, every copy counted.
        operands_read: Input operands read from register files.
        outputs_written: PEs to global buffer, unfinished sums included.
        outputs_read_back: Global buffer to PEs, to go on summing.
        outputs_drained: Global buffer to DRAM.
    """

    weights_fetched: Floats
    weights_written: Floats
    inputs_fetched: Floats
    inputs_read: Floats
    inputs_written: Floats
    operands_read: Floats
    outputs_written: Floats
    outputs_read_back: Floats
    outputs_drained: Floats


def _refills(loops: list[tuple[bool, Ints]], moving: Ints | npt.NDArray[np.bool_]) -> Ints:
    """Product of the loops that cause refills, innermost first; ``moving`` says whether an inner loop moves data."""
    moves: npt.NDArray[np.bool_] = np.array(moving, dtype=bool)
    product = np.ones(moves.shape, dtype=np.int64)
    for relevant, bound in loops:
        if relevant:
            moves |= bound > 1
        np.multiply(product, bound, out=product, where=moves)
    return product


def buffer_words(operation: Operation, nests: Nests, psum_bits: int = WORD_BITS, bits: int = WORD_BITS) -> Ints:
    """Global buffer a mapping needs: its inputs and partial sums (words of ``bits``)."""
    rows, columns = operation.rows, operation.columns
    channels = nests.m_array * nests.m1 if operation.is_depthwise else nests.c_array * nests.c1
    height = min(largest_tile(rows, nests.p1), rows.size)
    width = min(largest_tile(columns, nests.q_columns), columns.size)
    sums = nests.m_array * nests.m1 * nests.p1 * nests.q_columns
    # Sums that are not finished are wider than outputs.
    return channels * height * width + np.where(nests.c2 > 1, -(-sums * psum_bits // bits), sums)


def count_accesses(operation: Operation, nests: Nests, ifmap_words: int) -> Accesses:
    """Accesses of every mapping of ``operation``; ``ifmap_words`` is a PE's input register file."""
    depthwise = operation.is_depthwise
    groups = 1 if depthwise else operation.groups
    rows, columns = operation.rows, operation.columns
    one = np.ones_like(nests.m0)
    p1, p2 = one * nests.p1, one * (rows.out // nests.p1)
    q2 = one * (columns.out // nests.q_columns)
    kept = nests.m0 if depthwise else nests.c0
    inner = [(not depthwise, nests.c1), (False, p1), (True, nests.m1), (not depthwise, nests.c2), (True, nests.m2)]
    blocks = [(False, p2), (False, q2)]
    still = np.zeros_like(one)

    weights = nests.m_array * nests.c_array * operation.taps * _refills([*inner, *blocks], still)

    # Rows slide through the PE unless another channel's rows have to come in between.
    slides = (nests.c1 == 1) & (kept * rows.kernel * nests.s0 <= ifmap_words)
    swept = np.where(slides, pixels_touched(rows, nests.p1), pixels_touched(rows, 1))
    width = pixels_touched(columns, nests.q_columns)
    follows_m, follows_c = depthwise, not depthwise
    moved = (p1 > 1) | (nests.c1 > 1)
    sweeps = nests.c1 * _refills([(follows_m, nests.m1), (follows_c, nests.c2), (follows_m, nests.m2)], moved)
    channels = nests.m_array if depthwise else nests.c_array
    inputs_read = channels * swept * width * sweeps
    # Each PE takes in one column of its own; output channels on rows or columns take the same inputs.
    lanes = nests.pes * kept * nests.s0
    inputs_written = lanes * swept * q2 * sweeps

    loads = _refills([(follows_c, nests.c2), (follows_m, nests.m2)], still)
    held = channels * (nests.m1 if depthwise else nests.c1)
    inputs_fetched = held * pixels_touched(rows, nests.p1) * width * loads

    outputs = (
        operation.group_outputs * operation.out_pixels if not depthwise else operation.outputs * operation.out_pixels
    )
    along = [
        (False, nests.c1),
        (True, p1),
        (True, nests.m1),
        (False, nests.c2),
        (True, nests.m2),
        (True, p2),
        (True, q2),
    ]
    written = nests.m_array * nests.q_columns * _refills(along, still)
    macs = operation.macs
    operands = one * float(macs) if depthwise else macs / nests.m0
    return Accesses(
        weights_fetched=weights * float(groups),
        weights_written=weights * nests.q_columns * float(groups),
        inputs_fetched=inputs_fetched * float(groups),
        inputs_read=inputs_read * float(groups),
        inputs_written=inputs_written * float(groups),
        operands_read=operands,
        outputs_written=written * float(groups),
        outputs_read_back=(written - outputs) * float(groups),
        outputs_drained=one * float(outputs * groups),
    )


def actions_of(accesses: Accesses, index: int, operation: Operation, spec: EyerissSpec) -> Actions:
    """Action counts of mapping ``index``."""
    return Actions(**{name: float(counts[index]) for name, counts in _counts(accesses, operation, spec).items()})


def energies_pj(accesses: Accesses, operation: Operation, spec: EyerissSpec) -> Floats:
    """Energy of every mapping (pJ)."""
    prices = prices_pj(spec)
    total: Any = sum(counts * prices[name] for name, counts in _counts(accesses, operation, spec).items())
    return np.asarray(total, dtype=np.float64)


def _counts(accesses: Accesses, operation: Operation, spec: EyerissSpec) -> dict[str, Floats]:
    """Action counts by name: PE-side accesses move few words, DRAM-side ones the full width."""
    near = float(spec.array_words_per_access)
    wide = spec.global_buffer.width_bits / spec.bits
    macs = np.full_like(accesses.outputs_drained, float(operation.macs))
    wider = (spec.pe.psum_bits - spec.bits) / spec.bits * accesses.outputs_read_back  # sums not finished
    return {
        "multiplications": macs,
        "ifmap_regfile_reads": accesses.operands_read,
        "ifmap_regfile_writes": accesses.inputs_written,
        "psum_regfile_reads": macs,
        "psum_regfile_writes": macs,
        "weight_sram_reads": macs,
        "weight_sram_writes": accesses.weights_written,
        "global_buffer_reads": (accesses.inputs_read + accesses.outputs_read_back + wider) / near
        + accesses.outputs_drained / wide,
        "global_buffer_writes": (accesses.outputs_written + wider) / near + accesses.inputs_fetched / wide,
        "dram_read_bits": (accesses.weights_fetched + accesses.inputs_fetched) * spec.bits,
        "dram_written_bits": accesses.outputs_drained * spec.bits,
    }
