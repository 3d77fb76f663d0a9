"""The loop nest of a layer that takes the least energy, and how often each level of memory is accessed in it.

The nest of one group of a layer, outermost loop first (``r`` and ``s`` are kernel height and width):

    DRAM           q2, p2    blocks of output columns, of output rows
                   m2, c2    blocks of output channels, of input channels
    global buffer  m1        holds inputs  [c of the block, rows of p1, columns of the PEs]
                   p1        and partial sums [m of the block, p1, columns of the PEs]
                   c1
    PE array       columns: output columns x output channels; rows: s x output channels x input channels
    PE             c0, r     holds c0*r weights for each of m0 outputs, c0*r inputs, m0 partial sums
                   m0

Weights bypass the global buffer: they go from the DRAM to all PEs that share them. A level is filled again when a loop
outside it moves to other data: loops that leave the data alone are free as long as no loop inside them moves it. Input
rows that consecutive outputs share stay in the PE if its register file holds them. Outputs are summed up over the PE
rows, kept in the PE over ``c1`` and read back from the global buffer for every further ``c2``.

Depthwise layers have one input channel per output: their inputs follow the loops over ``m``.

Compiled, for searches ask for millions of nests; the tests hold it to a slow search over arrays, bit for bit.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from predfuse.arrays import Float64Array, Int64Array
from predfuse.hardware.closed_form.windows import Window
from predfuse.hardware.energy import prices_pj
from predfuse.hardware.spec import EyerissSpec

NEST = ("m_columns", "m_rows", "c_rows", "m0", "m1", "m2", "c0", "c1", "c2", "q_columns", "s_rows", "p1")
"""A nest as a row of numbers: output channels over PE columns and rows, input channels over PE rows; channels in a PE,
blocks of them in the global buffer and from the DRAM; output columns over PE columns, kernel width over PE rows, output
rows in the buffer."""
ACTIONS = (
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
"""Actions of a layer as a row of numbers, in the order in which their energies are summed up."""

WindowSizes = tuple[int, int, int, int, int, int]
"""Of a window: size, out, kernel, stride, padding, dilation."""
MachineSizes = tuple[tuple[int, int, int, int, int, int], tuple[float, float], tuple[float, ...]]
"""Rows and columns of PEs, words of a PE's sums and inputs, bits of a word and of a sum; words of an access of the
global buffer towards the PEs and the DRAM; prices of :data:`ACTIONS` (pJ)."""


def window_sizes(window: Window) -> WindowSizes:
    """A window as numbers."""
    return window.size, window.out, window.kernel, window.stride, window.padding, window.dilation


def machine_sizes(spec: EyerissSpec) -> MachineSizes:
    """What the search has to know of a machine, but for the sizes of its memories of words."""
    array, pe, prices = spec.array, spec.pe, prices_pj(spec)
    sizes = (array.rows, array.columns, pe.psum_regfile_words, pe.ifmap_regfile_words, spec.bits, pe.psum_bits)
    widths = (float(spec.array_words_per_access), spec.global_buffer.width_bits / spec.bits)
    return sizes, widths, tuple(float(prices[name]) for name in ACTIONS)


@njit(cache=True, nogil=True, error_model="numpy")
def least_energy(
    m: int,
    c: int,
    groups: int,
    depthwise: bool,
    rows: WindowSizes,
    columns: WindowSizes,
    machine: MachineSizes,
    limits: Int64Array,
    tile_macs: int,
) -> tuple[Int64Array, Float64Array, int]:
    """The nest of least energy, then of the largest tile of weights in a PE, for memories of several sizes.

    PEs: of all factorisations that divide their dimensions those that use the most, then with the most output columns.
    Output rows in the buffer: the most for which any nest fits.

    Args:
        m: Output channels to be spread: of one group, or all of a depthwise layer.
        c: Input channels to be spread: of one group, or 1 of a depthwise layer.
        groups: Of the layer.
        depthwise: Whether it is depthwise.
        rows: Window along the height.
        columns: Window along the width.
        machine: See :func:`machine_sizes`.
        limits: ``[memories, 2]`` words of the global buffer and of the weight memory of a PE.
        tile_macs: Weights a PE must hold; 0 leaves it open.

    Returns:
        ``[memories, len(NEST)]``, all 0 where nothing fits; ``[memories, len(ACTIONS)]`` actions of the whole layer;
        where nothing fits the least words of the global buffer any nest needs, -1 if none fits a PE.
    """
    (array_rows, array_columns, psum_words, ifmap_words, bits, psum_bits), widths, prices = machine
    found, counts = np.zeros((len(limits), 12), np.int64), np.zeros((len(limits), 11))
    q_columns, s_rows, sides = spread(m, c, columns[1], columns[2], array_rows, array_columns)
    s0 = columns[2] // s_rows
    taps, most_held = rows[2] * s0, limits[:, 1].max()
    outputs_of = [_splits(m // side[0] // side[1], psum_words) for side in sides]
    inputs_of = [_splits(c // side[2], ifmap_words // taps) for side in sides]
    height_out, width_out = rows[1], columns[1]
    swept_near, touched_columns = pixels_of_tiles(rows, 1), pixels_of_tiles(columns, q_columns)
    width = min(_largest_tile(columns, q_columns), columns[0])
    every = 1 if depthwise else groups
    macs = m * c * every * rows[2] * columns[2] * height_out * width_out
    whole = (m * height_out * width_out, every, macs, bits, psum_bits, ifmap_words)
    most = 0
    for number in range(len(sides)):
        most += len(outputs_of[number]) * len(inputs_of[number])
    energies, needs, fewest = np.empty(most), np.empty(most, np.int64), -1
    nest, done, searched = np.empty(9, np.int64), np.empty(11), np.empty(len(limits), np.bool_)
    for p1 in _divisors(height_out)[::-1]:
        room = 0
        for index in range(len(limits)):
            searched[index] = found[index, 0] == 0
            if searched[index]:
                room = max(room, limits[index, 0])
        if room == 0:
            break
        area, sums_area = min(_largest_tile(rows, p1), rows[0]) * width, p1 * q_columns
        sizes = (q_columns, s_rows, s0, p1, height_out // p1, width_out // q_columns, rows[2], rows[2] * columns[2])
        pixels = (pixels_of_tiles(rows, p1), swept_near, touched_columns)
        least, largest = np.full(len(limits), np.inf), np.zeros(len(limits), np.int64)
        worst = np.inf
        for choosing in (False, True):  # first the least energies, then the first nest of the largest tile
            row = -1
            for number in range(len(sides)):
                for m0, m1, m2 in outputs_of[number]:
                    for c0, c1, c2 in inputs_of[number]:
                        held = m0 * c0 * taps
                        if held > most_held:
                            break  # as the rest would be
                        if tile_macs and held != tile_macs:
                            continue
                        row += 1
                        if choosing and energies[row] > worst:
                            continue
                        nest[0], nest[1], nest[2] = sides[number, 0], sides[number, 1], sides[number, 2]
                        nest[3], nest[4], nest[5], nest[6], nest[7], nest[8] = m0, m1, m2, c0, c1, c2
                        if not choosing:
                            need = needs[row] = _buffer_words(nest, depthwise, area, sums_area, bits, psum_bits)
                            fewest = need if row == 0 else min(fewest, need)
                            energies[row] = np.inf
                        if needs[row] > room:
                            continue
                        _count(nest, depthwise, sizes, pixels, whole, widths, done)
                        energy = done[0] * prices[0]
                        for action in range(1, 11):
                            energy += done[action] * prices[action]
                        energies[row] = energy
                        for index in range(len(limits)):
                            if not searched[index] or needs[row] > limits[index, 0] or held > limits[index, 1]:
                                continue
                            if not choosing:
                                least[index] = min(least[index], energy)
                            elif energy <= least[index] * (1 + 1e-9) and held > largest[index]:
                                largest[index] = held
                                for part in range(9):
                                    found[index, part] = nest[part]
                                found[index, 9], found[index, 10], found[index, 11] = q_columns, s_rows, p1
                                for action in range(11):
                                    counts[index, action] = done[action]
            worst = -1.0
            for index in range(len(limits)):
                if least[index] < np.inf:
                    worst = max(worst, least[index] * (1 + 1e-9))
    return found, counts, fewest


def buffer_words(nest: Int64Array, depthwise: bool, windows: tuple[WindowSizes, WindowSizes], spec: EyerissSpec) -> int:
    """Global buffer that one group of a layer needs for a nest (words): a load of inputs and its partial sums.

    Args:
        nest: ``[len(NEST)]``.
        depthwise: Whether the layer is.
        windows: Along its height and width.
        spec: The machine.
    """
    rows, columns = windows
    width, height = nest[9], nest[11]
    area = min(_largest_tile(rows, height), rows[0]) * min(_largest_tile(columns, width), columns[0])
    return int(_buffer_words(nest[:9], depthwise, area, width * height, spec.bits, spec.pe.psum_bits))


@njit(cache=True, nogil=True, error_model="numpy")
def spread(m: int, c: int, q: int, s: int, rows: int, columns: int) -> tuple[int, int, Int64Array]:
    """The perfect factorisations with the most PEs of the array, then the most output columns.

    Args:
        m: Output channels.
        c: Input channels.
        q: Output columns.
        s: Kernel width; a kernel wider than the array is high is folded, its remaining columns are the PE's.
        rows: Of PEs.
        columns: Of PEs.

    Returns:
        Output columns over PE columns, kernel width over PE rows, and ``[n, 3]`` as the first three of :data:`NEST`.
    """
    s_rows = 1
    for part in range(1, min(s, rows) + 1):
        if s % part == 0:
            s_rows = part
    left = rows // s_rows
    most, most_q = 0, 0
    found = [(0, 0, 0)]
    for q_columns in range(1, min(q, columns) + 1):
        if q % q_columns:
            continue
        for m_columns in range(1, min(m, columns // q_columns) + 1):
            if m % m_columns:
                continue
            for m_rows in range(1, min(m // m_columns, left) + 1):
                if m // m_columns % m_rows:
                    continue
                for c_rows in range(1, min(c, left // m_rows) + 1):
                    if c % c_rows:
                        continue
                    pes = m_columns * q_columns * s_rows * m_rows * c_rows
                    if pes > most or (pes == most and q_columns > most_q):
                        most, most_q = pes, q_columns
                        found.clear()
                    if pes == most and q_columns == most_q:
                        found.append((m_columns, m_rows, c_rows))
    sides = np.empty((len(found), 3), np.int64)
    for index in range(len(found)):
        sides[index, 0], sides[index, 1], sides[index, 2] = found[index]
    return most_q, s_rows, sides


@njit(cache=True, nogil=True, error_model="numpy")
def pixels_of_tiles(window: WindowSizes, tile: int) -> int:
    """:func:`predfuse.hardware.closed_form.windows.pixels_touched` of a window as numbers."""
    size, out, kernel, stride, padding, dilation = window
    touched_by = np.full(size, -1)
    total = 0
    for output in range(out):
        for tap in range(kernel):
            pixel = output * stride + tap * dilation - padding
            if 0 <= pixel < size and touched_by[pixel] != output // tile:
                touched_by[pixel] = output // tile
                total += 1
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _largest_tile(window: WindowSizes, tile: int) -> int:
    _, out, kernel, stride, _, dilation = window
    span = (kernel - 1) * dilation + 1
    return (min(tile, out) - 1) * min(stride, span) + span


@njit(cache=True, nogil=True, error_model="numpy")
def _divisors(number: int) -> Int64Array:
    """Divisors in ascending order."""
    found = [1]
    found.clear()
    part = 1
    while part * part <= number:
        if number % part == 0:
            found.append(part)
        part += 1
    for index in range(len(found) - 1, -1, -1):
        if found[index] * found[index] != number:
            found.append(number // found[index])
    return np.array(found)


@njit(cache=True, nogil=True, error_model="numpy")
def _splits(number: int, inner_most: int) -> Int64Array:
    """``[n, 3]``: every (PE, buffer, DRAM) factorisation of ``number`` with at most ``inner_most`` in the PE."""
    parts = _divisors(number)
    found = np.empty((len(parts) ** 2, 3), np.int64)
    count = 0
    for inner in parts:
        if inner <= inner_most:
            rest = number // inner
            for middle in parts:
                if rest % middle == 0:
                    found[count, 0], found[count, 1], found[count, 2] = inner, middle, rest // middle
                    count += 1
    return found[:count]


@njit(cache=True, nogil=True, error_model="numpy")
def _buffer_words(nest: Int64Array, depthwise: bool, area: int, sums_area: int, bits: int, psum_bits: int) -> int:
    """Global buffer a nest needs: its inputs and partial sums; sums that are not finished are wider than outputs."""
    m_columns, m_rows, c_rows, m0, m1, _, c0, c1, c2 = nest
    outputs = m0 * m_rows * m_columns * m1
    sums = outputs * sums_area
    if c2 > 1:
        sums = -(-sums * psum_bits // bits)
    return (outputs if depthwise else c0 * c_rows * c1) * area + sums  # type: ignore[no-any-return]


@njit(cache=True, nogil=True, error_model="numpy")
def _count(
    nest: Int64Array,
    depthwise: bool,
    sizes: tuple[int, ...],
    pixels: tuple[int, int, int],
    whole: tuple[int, ...],
    widths: tuple[float, float],
    done: Float64Array,
) -> None:
    """Enter the :data:`ACTIONS` of a layer in this nest, all groups, in ``done``."""
    m_columns, m_rows, c_rows, m0, m1, m2, c0, c1, c2 = nest
    q_columns, s_rows, s0, p1, p2, q2, kernel, taps = sizes
    swept_far, swept_near, columns = pixels
    outputs, groups, macs, bits, psum_bits, ifmap_words = whole
    near, wide = widths
    m_array, c_array = m0 * m_rows * m_columns, c0 * c_rows
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

    # Rows slide through the PE unless another channel's rows have to come in between.
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
    # Each PE takes in one column of its own; output channels on rows or columns take the same inputs.
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
    read_back = (written - outputs) * every
    drained = float(outputs * groups)
    wider = (psum_bits - bits) / bits * read_back  # sums not finished
    done[0] = done[3] = done[4] = done[5] = macs
    done[1] = macs if depthwise else macs / m0
    done[2] = inputs_written * every
    done[6] = weights * q_columns * every
    done[7] = (inputs_read * every + read_back + wider) / near + drained / wide
    done[8] = (written * every + wider) / near + inputs_fetched * every / wide
    done[9] = (weights * every + inputs_fetched * every) * bits
    done[10] = drained * bits
