"""The search for a mapping over NumPy arrays, every tiling in a table: the oracle of the compiled search."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from hardware.loopnest import Ints, Nests, actions_of, buffer_words, count_accesses, energies_pj

from predfuse.hardware.closed_form.mapping import Mapping, Spatial
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation

COLUMNS = ("m_columns", "m_rows", "c_rows", "m0", "m1", "m2", "c0", "c1", "c2")
M0, C0 = COLUMNS.index("m0"), COLUMNS.index("c0")


def divisors(number: int) -> tuple[int, ...]:
    """Divisors in ascending order."""
    return tuple(d for d in range(1, number + 1) if number % d == 0)


def _sides(operation: Operation) -> tuple[int, int]:
    """Output and input channels that can be spread over PEs: of one group, or all channels of a depthwise layer."""
    if operation.is_depthwise:
        return operation.outputs, 1
    return operation.group_outputs, operation.group_channels


def spatial_mappings(operation: Operation, rows: int, columns: int) -> tuple[Spatial, ...]:
    """The perfect spatial factorisations with the most PEs of a ``rows`` x ``columns`` array, then the most columns."""
    return _spatial(*_sides(operation), operation.columns.out, operation.columns.kernel, rows, columns)


@lru_cache(maxsize=4096)
def _spatial(m: int, c: int, q: int, s: int, rows: int, columns: int) -> tuple[Spatial, ...]:
    # A kernel wider than the array is high is folded; its remaining columns are worked through in the PE.
    s_rows = max(d for d in divisors(s) if d <= rows)
    left = rows // s_rows
    most = (0, 0)
    found: list[Spatial] = []
    for q_columns in _divisors_up_to(q, columns):
        for m_columns in _divisors_up_to(m, columns // q_columns):
            for m_rows in _divisors_up_to(m // m_columns, left):
                for c_rows in _divisors_up_to(c, left // m_rows):
                    pes = (m_columns * q_columns * s_rows * m_rows * c_rows, q_columns)
                    if pes > most:
                        most, found = pes, []
                    if pes == most:
                        found.append(Spatial(m_columns, q_columns, s_rows, m_rows, c_rows))
    return tuple(found)


def _divisors_up_to(number: int, limit: int) -> list[int]:
    return [divisor for divisor in divisors(number) if divisor <= limit]


@lru_cache(maxsize=4096)
def _splits(number: int, inner_most: int) -> Ints:
    """``[n, 3]``: every (PE, buffer, DRAM) factorisation of ``number`` with at most ``inner_most`` in the PE."""
    triples = [
        (inner, middle, number // inner // middle)
        for inner in divisors(number)
        if inner <= inner_most
        for middle in divisors(number // inner)
    ]
    return np.array(triples, dtype=np.int64)


def find_mapping(operation: Operation, spec: EyerissSpec, tile_macs: int | None = None) -> Mapping | None:
    """The mapping of least energy among those that use the most PEs; None where no mapping fits."""
    table = _tilings(operation, spec, tile_macs)
    if table is None:
        return None
    spatial = spatial_mappings(operation, spec.array.rows, spec.array.columns)[0]
    for p1 in reversed(divisors(operation.rows.out)):
        energies = _energies_that_fit_pj(table, operation, spec, spatial, p1)
        least = energies.min()
        if least < math.inf:
            cheapest = table[energies <= least * (1 + 1e-9)]
            chosen = cheapest[np.argmax(cheapest[:, M0] * cheapest[:, C0])]
            return _mapping(operation, spec, _nests(chosen[None], operation, spatial, p1))
    return None


def _energies_that_fit_pj(
    table: Ints, operation: Operation, spec: EyerissSpec, spatial: Spatial, p1: int
) -> npt.NDArray[np.float64]:
    """Energy of every mapping of a table (pJ); infinite where its inputs and sums do not fit the global buffer."""
    nests = _nests(table, operation, spatial, p1)
    energies = energies_pj(count_accesses(operation, nests, spec.pe.ifmap_regfile_words), operation, spec)
    fits = buffer_words(operation, nests, spec.pe.psum_bits, spec.bits) <= spec.buffer_words
    return np.where(fits, energies, np.inf)


def _taps(operation: Operation, spatial: Spatial) -> tuple[int, int]:
    """Kernel columns left to a PE, and the taps a PE works through per input channel."""
    s0 = operation.columns.kernel // spatial.s_rows
    return s0, operation.rows.kernel * s0


def _tilings(operation: Operation, spec: EyerissSpec, tile_macs: int | None = None) -> Ints | None:
    """Every tiling that fits the memories of a PE, ``[n, len(COLUMNS)]``; None if there is none."""
    m, c = _sides(operation)
    spatials = spatial_mappings(operation, spec.array.rows, spec.array.columns)
    _, taps = _taps(operation, spatials[0])
    held = (1, spec.pe.weight_sram_words // taps) if tile_macs is None else (tile_macs / taps, tile_macs / taps)
    found: list[Ints] = []
    for spatial in spatials:
        sides = (m // spatial.m_columns // spatial.m_rows, c // spatial.c_rows)
        pairs = _pairs(*sides, spec.pe.psum_regfile_words, spec.pe.ifmap_regfile_words // taps, *held)
        rows = np.empty((len(pairs), len(COLUMNS)), dtype=np.int64)
        rows[:, :3] = spatial.m_columns, spatial.m_rows, spatial.c_rows
        rows[:, 3:] = pairs
        found.append(rows)
    table = np.concatenate(found)
    return table if table.size else None


@lru_cache(maxsize=256)
def _pairs(m: int, c: int, most_m: int, most_c: int, least_held: float, most_held: float) -> Ints:
    """``[n, 6]``: factorisations of output and input channels with at least and at most so many weights in a PE."""
    outputs, inputs = _splits(m, most_m), _splits(c, most_c)
    if not inputs.size:
        return np.empty((0, 6), dtype=np.int64)
    both = [np.repeat(outputs, len(inputs), axis=0), np.tile(inputs, (len(outputs), 1))]
    pairs: Ints = np.concatenate(both, axis=1)
    held = pairs[:, 0] * pairs[:, 3]
    fitting: Ints = pairs[(held >= least_held) & (held <= most_held)]
    return fitting


def _nests(table: Ints, operation: Operation, spatial: Spatial, p1: int) -> Nests:
    named = dict(zip(COLUMNS, np.ascontiguousarray(table.T), strict=True))
    return Nests(spatial.q_columns, spatial.s_rows, _taps(operation, spatial)[0], p1, **named)


def _mapping(operation: Operation, spec: EyerissSpec, nests: Nests) -> Mapping:
    """The mapping of a single nest."""
    bounds = {name: int(getattr(nests, name)[0]) for name in COLUMNS}
    sides = {name: bounds.pop(name) for name in COLUMNS[:3]}
    groups = 1 if operation.is_depthwise else operation.groups
    accesses = count_accesses(operation, nests, spec.pe.ifmap_regfile_words)
    return Mapping(
        spatial=Spatial(q_columns=nests.q_columns, s_rows=nests.s_rows, **sides),
        **bounds,
        s0=nests.s0,
        p1=nests.p1,
        tile_macs=bounds["m0"] * bounds["c0"] * nests.s0 * operation.rows.kernel,
        pixel_passes=operation.out_pixels // nests.q_columns,
        weight_passes=bounds["m1"] * bounds["m2"] * bounds["c1"] * bounds["c2"] * groups,
        actions=actions_of(accesses, 0, operation, spec),
    )
