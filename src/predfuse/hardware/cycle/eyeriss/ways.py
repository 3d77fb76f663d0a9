"""What ways to run a convolution on the dense or sparse machine do and cost, all sizes and memories of a layer at once.

Compiled, for searches ask for millions of ways; the tests hold it to the sums of
:class:`~predfuse.hardware.energy.Actions` it stands for, bit for bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from predfuse.arrays import Array, Float64Array, Int32Array, Int64Array, Mask
from predfuse.hardware.closed_form.nest_search import MachineSizes, WindowSizes


class Layer(NamedTuple):
    """A layer as numbers.

    Attributes:
        m: Outputs of a group; all, where it is depthwise.
        c: Input channels of a group; 1 where it is depthwise.
        groups: Of the layer; 1 where it is depthwise.
        depthwise: Whether it is.
        rows: Window along the height.
        columns: Window along the width.
        nonzeros: Weights that are not zero (count), or -1 where zeros are not skipped.
    """

    m: int
    c: int
    groups: int
    depthwise: bool
    rows: WindowSizes
    columns: WindowSizes
    nonzeros: int


class Moves(NamedTuple):
    """What moves of a layer's maps, and how wide weights and accesses are.

    Attributes:
        input_on_chip: The input does not move.
        output_on_chip: Nor does the output.
        residual: Whether a map of the size of the output is added.
        residual_on_chip: That one does not move.
        index_bits: Of a weight that is not zero.
        buffer_bits: Of an access of the global buffer.
    """

    input_on_chip: bool
    output_on_chip: bool
    residual: bool
    residual_on_chip: bool
    index_bits: int
    buffer_bits: int


@njit(cache=True, nogil=True, error_model="numpy")
def cost_ways(
    layer: Layer,
    moves: Moves,
    machine: MachineSizes,
    at_once: int,
    sizes: Int64Array,
    nests: Int64Array,
    actions: Float64Array,
) -> tuple[Mask, Float64Array, Int64Array]:
    """What every size of a layer costs in its best nests for several memories.

    Args:
        layer: As it is.
        moves: Of its maps.
        machine: It.
        at_once: Groups worked on at once.
        sizes: ``[sizes, 3]`` outputs, input channels and output columns it is rounded up to.
        nests: ``[sizes, memories, len(NEST)]``, all 0 where none fits.
        actions: ``[sizes, memories, len(ACTIONS)]`` of one group after the other; changed in place to those of the
            layer as it is.

    Returns:
        Whether there is a nest that no earlier memory has ``[sizes, memories]``; energies (pJ) and bits of weights
        fetched ``[sizes, memories, 2]``; cycles of the array ``[sizes, memories]``, no more than those where zeros are
        skipped.
    """
    new = np.zeros(nests.shape[:2], np.bool_)
    costs = np.zeros((*nests.shape[:2], 2))
    cycles = np.zeros(nests.shape[:2], np.int64)
    per_output = layer.rows[2] * layer.columns[2] * layer.rows[1]
    macs = layer.m * layer.c * layer.groups * per_output * layer.columns[1]
    for number in range(len(sizes)):
        m, c, q = sizes[number]
        scale = macs / (m * c * layer.groups * per_output * q)
        for memory in range(nests.shape[1]):
            m_columns, m_rows, c_rows, m0, m1, m2, c0, c1, c2, q_columns, s_rows, _ = nests[number, memory]
            if q_columns == 0 or _is_known(nests[number], memory):
                continue
            new[number, memory] = True
            pixel_passes = layer.rows[1] * q // q_columns
            if layer.nonzeros < 0:
                tile_macs = m0 * c0 * layer.rows[2] * (layer.columns[2] // s_rows)
                weight_passes = m1 * m2 * c1 * c2 * (layer.groups // at_once)
                cycles[number, memory] = pixel_passes * weight_passes * tile_macs
            else:  # if all tiles had equally many weights that are not zero
                tiles = m_columns * m_rows * c_rows * s_rows * at_once
                cycles[number, memory] = -(-layer.nonzeros // tiles) * pixel_passes
            done = actions[number, memory]
            for action in range(11):
                done[action] *= at_once
                done[action] *= scale
            costs[number, memory, 1] = _real_actions(done, layer, moves, machine, q_columns)
            costs[number, memory, 0] = _energy_pj(done, machine[2])
    return new, costs, cycles


@njit(cache=True, nogil=True, error_model="numpy")
def _is_known(nests: Int64Array, index: int) -> bool:
    """Whether a nest is that of an earlier memory."""
    for earlier in range(index):
        differs = False
        for part in range(nests.shape[1]):
            differs |= nests[earlier, part] != nests[index, part]
        if not differs:
            return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def _real_actions(done: Float64Array, layer: Layer, moves: Moves, machine: MachineSizes, q_columns: int) -> float:
    """Change the actions of a layer rounded up to those of the real one; bits of weights fetched.

    PEs beyond the edge idle and only real outputs are stored, zero weights are skipped, maps on the chip do not move.
    """
    bits, near, width = machine[0][4], machine[1][0], moves.buffer_bits
    outputs = layer.m * layer.groups * layer.rows[1] * layer.columns[1]
    output_bits = outputs * bits
    more = output_bits - done[10]  # sums over fewer channels are as many outputs
    done[10] += more
    done[7] += more / width
    if layer.nonzeros >= 0:
        density = layer.nonzeros / (layer.m * layer.c * layer.groups * layer.rows[2] * layer.columns[2])
        stored = min(1.0, density * (bits + moves.index_bits) / bits)
        # Every weight fetched is written into the PEs of all columns of outputs.
        done[9] -= done[6] / q_columns * bits * (1.0 - stored)
        done[0] *= density
        done[1] *= density if layer.depthwise else 1.0
        done[3] *= density
        done[4] *= density
        done[5] *= density
        done[6] *= stored
    # Weights among what is read are what the PEs take in, copies left out; the rest are inputs.
    weight_bits = done[6] / q_columns * bits
    input_bits = (done[9] - weight_bits) if moves.input_on_chip else 0.0
    kept_bits = output_bits if moves.output_on_chip else 0
    done[9] -= input_bits
    done[10] -= kept_bits
    done[8] -= input_bits / width
    done[7] -= kept_bits / width
    if moves.residual:
        fetched = 0 if moves.residual_on_chip else output_bits
        done[7] += output_bits / bits / near
        done[8] += fetched / width
        done[4] += output_bits / bits
        done[9] += fetched
    return float(weight_bits)


@njit(cache=True, nogil=True, error_model="numpy")
def _energy_pj(done: Float64Array, prices: tuple[float, ...]) -> float:
    """Energy of actions, added up by component as :func:`predfuse.hardware.energy.at_prices` does."""
    registers = done[1] * prices[1]
    for action in range(2, 7):
        registers += done[action] * prices[action]
    dram = done[9] * prices[9] + done[10] * prices[10]
    buffer = done[7] * prices[7] + done[8] * prices[8]
    return float(dram + buffer + registers + done[0] * prices[0])


def nonzeros_before(weight: Array, s_rows: int) -> Int32Array:
    """``[s_rows, outputs + 1, channels/groups + 1]`` weights that are not zero of all outputs and channels before.

    Args:
        weight: ``[outputs, channels/groups, kh, kw]``.
        s_rows: PE rows that share the kernel's columns.
    """
    outputs, channels = weight.shape[:2]
    nonzero = (weight != 0).reshape(outputs, channels, -1, s_rows)
    counts = nonzero[:, :, 0] if nonzero.shape[2] == 1 else nonzero.sum(axis=2, dtype=np.int32)
    before = np.zeros((s_rows, outputs + 1, channels + 1), np.int32)
    before[:, 1:, 1:] = counts.transpose(2, 0, 1)
    np.cumsum(before, axis=1, out=before)
    return np.cumsum(before, axis=2, out=before)


@njit(cache=True, nogil=True, error_model="numpy")
def sparse_cycles(
    before: Int32Array, groups: int, size: tuple[int, int], nest: Int64Array, at_once: int, least: int
) -> tuple[int, int]:
    """Cycles of the array for one pixel pass of the sparse machine, and the most weights a PE has to hold at once.

    A pass lasts as long as its fullest PE.

    Args:
        before: Of the layer as it is, see :func:`nonzeros_before`.
        groups: Of the layer; 1 where it is depthwise.
        size: Outputs and input channels of a group, rounded up.
        nest: ``[len(NEST)]``.
        at_once: Groups worked on at once, each by its share of the array, which takes its groups one after the other.
        least: Cycles of a pass without any weight.
    """
    m_columns, m_rows, c_rows, m0, _, _, c0, _, _, _, s_rows, _ = nest
    m_pes = m_columns * m_rows
    outputs, channels = (before.shape[1] - 1) // groups, before.shape[2] - 1
    most = held_most = 0
    for share in range(at_once):
        cycles = 0
        for group in range(share * (groups // at_once), (share + 1) * (groups // at_once)):
            base = group * outputs
            for m_block in range(0, size[0], m0 * m_pes):
                for c_block in range(0, size[1], c0 * c_rows):
                    fullest = least
                    for m_start in range(m_block, min(m_block + m0 * m_pes, outputs), m0):
                        first, end = base + m_start, base + min(m_start + m0, outputs)
                        for c_start in range(c_block, min(c_block + c0 * c_rows, channels), c0):
                            c_end = min(c_start + c0, channels)
                            for s in range(s_rows):
                                held = before[s, end, c_end] - before[s, first, c_end]
                                held -= before[s, end, c_start] - before[s, first, c_start]
                                fullest = max(fullest, held)
                    cycles += fullest
                    held_most = max(held_most, fullest)
        most = max(most, cycles)
    return most, held_most
