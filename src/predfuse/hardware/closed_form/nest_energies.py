"""Energies of many mappings in one compiled loop: :func:`~predfuse.hardware.closed_form.loopnest.energies_pj`, faster.

Bit for bit what the NumPy version, its oracle, gives: the same products of whole numbers and the same sums of floats in
the same order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from predfuse.hardware.closed_form.windows import largest_tile, pixels_touched
from predfuse.hardware.energy import prices_pj
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

COLUMNS = ("m_columns", "m_rows", "c_rows", "m0", "m1", "m2", "c0", "c1", "c2")
"""Of a table of mappings, one a row; see :class:`~predfuse.hardware.closed_form.loopnest.Nests`."""
PRICES = (
    "multiplications",
    "ifmap_regfile_reads",
    "ifmap_regfile_writes",
    "psum_regfile_reads",
    "psum_regfile_writes",
    "weight_sram_reads",
    "weight_sram_writes",
    "global_buffer_reads",
    "global_buffer_writes",
    "dram_read_bits",
    "dram_written_bits",
)
"""Actions in the order in which their energies are summed up."""


def energies_that_fit_pj(
    table: Ints, operation: Operation, spec: EyerissSpec, q_columns: int, s_rows: int, p1: int
) -> Floats:
    """Energy of every mapping of a table (pJ); infinite where its inputs and sums do not fit the global buffer.

    Args:
        table: ``[mappings, len(COLUMNS)]``.
        operation: The layer.
        spec: The machine.
        q_columns: Output columns over PE columns.
        s_rows: Kernel width over PE rows.
        p1: Output rows in the global buffer.
    """
    rows, columns, depthwise = operation.rows, operation.columns, operation.is_depthwise
    outputs = operation.outputs if depthwise else operation.group_outputs
    sizes = (
        q_columns,
        s_rows,
        columns.kernel // s_rows,
        p1,
        rows.out // p1,
        columns.out // q_columns,
        rows.kernel,
        operation.taps,
        min(largest_tile(rows, p1), rows.size),
        min(largest_tile(columns, q_columns), columns.size),
        pixels_touched(rows, p1),
        pixels_touched(rows, 1),
        pixels_touched(columns, q_columns),
        outputs * operation.out_pixels,
        1 if depthwise else operation.groups,
        operation.macs,
        spec.bits,
        spec.pe.psum_bits,
        spec.pe.ifmap_regfile_words,
        spec.buffer_words,
    )
    prices = prices_pj(spec)
    widths = (float(spec.array_words_per_access), spec.global_buffer.width_bits / spec.bits)
    return _energies(table, depthwise, sizes, tuple(float(prices[name]) for name in PRICES), widths)


@njit(cache=True, nogil=True)
def _energies(
    table: Ints, depthwise: bool, sizes: tuple[int, ...], prices: tuple[float, ...], widths: tuple[float, float]
) -> Floats:
    (q_columns, s_rows, s0, p1, p2, q2, kernel, taps, height, width, swept_far, swept_near, columns) = sizes[:13]
    (outputs, groups, macs, bits, psum_bits, ifmap_words, buffer) = sizes[13:]
    near, wide = widths
    found = np.empty(len(table))
    for index in range(len(table)):
        m_columns, m_rows, c_rows, m0, m1, m2, c0, c1, c2 = table[index]
        m_array, c_array = m0 * m_rows * m_columns, c0 * c_rows
        sums = m_array * m1 * p1 * q_columns
        if c2 > 1:
            sums = -(-sums * psum_bits // bits)
        if (m_array * m1 if depthwise else c_array * c1) * height * width + sums > buffer:
            found[index] = np.inf
            continue
        # A loop refills what it moves, and what any loop inside it moves: the loops, innermost first.
        moves = not depthwise and c1 > 1
        refills = c1 if moves else 1
        refills *= p1 if moves else 1
        moves |= m1 > 1
        refills *= m1 if moves else 1
        moves |= not depthwise and c2 > 1
        refills *= c2 if moves else 1
        moves |= m2 > 1
        refills *= m2 * p2 * q2 if moves else 1
        weights = m_array * c_array * taps * refills

        kept = m0 if depthwise else c0
        swept = swept_far if c1 == 1 and kept * kernel * s0 <= ifmap_words else swept_near
        moves = p1 > 1 or c1 > 1
        sweeps = c1
        moves |= depthwise and m1 > 1
        sweeps *= m1 if moves else 1
        moves |= not depthwise and c2 > 1
        sweeps *= c2 if moves else 1
        moves |= depthwise and m2 > 1
        sweeps *= m2 if moves else 1
        channels = m_array if depthwise else c_array
        inputs_read = channels * swept * columns * sweeps
        pes = m_columns * q_columns * s_rows * m_rows * c_rows
        inputs_written = pes * kept * s0 * swept * q2 * sweeps

        moves = not depthwise and c2 > 1
        loads = c2 if moves else 1
        moves |= depthwise and m2 > 1
        loads *= m2 if moves else 1
        inputs_fetched = channels * (m1 if depthwise else c1) * swept_far * columns * loads

        moves = p1 > 1
        refills = p1
        moves |= m1 > 1
        refills *= m1 if moves else 1
        refills *= c2 if moves else 1
        moves |= m2 > 1
        refills *= m2 if moves else 1
        moves |= p2 > 1
        refills *= p2 if moves else 1
        moves |= q2 > 1
        refills *= q2 if moves else 1
        written = m_array * q_columns * refills

        every = float(groups)
        operands = float(macs) if depthwise else macs / m0
        read_back = (written - outputs) * every
        drained = float(outputs * groups)
        wider = (psum_bits - bits) / bits * read_back
        total = macs * prices[0]
        total += operands * prices[1]
        total += inputs_written * every * prices[2]
        total += macs * prices[3]
        total += macs * prices[4]
        total += macs * prices[5]
        total += weights * q_columns * every * prices[6]
        total += ((inputs_read * every + read_back + wider) / near + drained / wide) * prices[7]
        total += ((written * every + wider) / near + inputs_fetched * every / wide) * prices[8]
        total += (weights * every + inputs_fetched * every) * bits * prices[9]
        total += drained * bits * prices[10]
        found[index] = total
    return found
