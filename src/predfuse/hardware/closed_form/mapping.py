"""Mapping of a convolution onto the PE array of the dense and sparse machines.

Spatial: the largest perfect factorisation. PE columns are shared by output columns and output channels, PE rows by the
whole kernel width, output channels and input channels; every factor divides its dimension, so that no PE idles for
part of a layer. Among equals, the one with the most output columns side by side is taken. A grouped layer is one group
times the number of groups; a depthwise layer counts its channels as outputs.

Temporal: of all perfect tilings that fit the memories, the one of least energy, then of the largest PE tile,
counted by :mod:`predfuse.hardware.closed_form.loopnest`. Both are the published model of ICS 2021, whose artifact
searched at random where this search is exhaustive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from predfuse.errors import InputError
from predfuse.hardware.closed_form.loopnest import Ints, Nests, actions_of, buffer_words, count_accesses
from predfuse.hardware.closed_form.nest_energies import COLUMNS, energies_that_fit_pj
from predfuse.hardware.closed_form.windows import Window
from predfuse.hardware.energy import Actions
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation

M0, C0 = COLUMNS.index("m0"), COLUMNS.index("c0")


@dataclass(frozen=True)
class Spatial:
    """Which dimension lies on which side of the PE array; ``pes`` are in use."""

    m_columns: int
    q_columns: int
    s_rows: int
    m_rows: int
    c_rows: int

    @property
    def pes(self) -> int:
        """PEs in use."""
        return self.m_columns * self.q_columns * self.s_rows * self.m_rows * self.c_rows

    def describe(self) -> str:
        """E.g. ``rows S3 M3, columns Q8``: kernel width, output channels, input channels, output columns."""
        sides = (
            ("rows", (("S", self.s_rows), ("M", self.m_rows), ("C", self.c_rows))),
            ("columns", (("Q", self.q_columns), ("M", self.m_columns))),
        )
        parts = []
        for side, factors in sides:
            used = " ".join(f"{name}{factor}" for name, factor in factors if factor > 1)
            parts.append(f"{side} {used or '1'}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Mapping:
    """A mapping of one layer.

    Attributes:
        spatial: Side of the array of each dimension.
        m0: Output channels whose weights a PE holds.
        c0: Input channels whose weights a PE holds.
        s0: Kernel columns a PE works through itself.
        m1: Output-channel blocks per load of the global buffer.
        c1: Input-channel blocks per load of the global buffer.
        m2: Loads of output channels.
        c2: Loads of input channels.
        p1: Output rows per load of the global buffer.
        tile_macs: Multiplications of a PE in one pass: the weights it holds.
        pixel_passes: Passes that use the same weights (output pixels over PE columns).
        weight_passes: Passes with different weights, all groups.
        actions: Dense action counts of the whole layer.
    """

    spatial: Spatial
    m0: int
    c0: int
    s0: int
    m1: int
    c1: int
    m2: int
    c2: int
    p1: int
    tile_macs: int
    pixel_passes: int
    weight_passes: int
    actions: Actions

    @property
    def passes(self) -> int:
        """Passes of the whole layer over the array."""
        return self.pixel_passes * self.weight_passes

    @property
    def cycles(self) -> int:
        """Cycles without skipping anything: multiplications per PE in use."""
        return self.passes * self.tile_macs

    def describe(self) -> str:
        """E.g. ``rows S3 M3, columns Q8; 12 weights a PE``."""
        return f"{self.spatial.describe()}; {self.tile_macs} weights a PE"


@lru_cache(maxsize=4096)
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


def best_mapping(operation: Operation, spec: EyerissSpec, tile_macs: int | None = None) -> Mapping:
    """The mapping of least energy among those that use the most PEs.

    Args:
        operation: The layer.
        spec: The machine.
        tile_macs: Weights a PE must hold, to follow a given mapping; None leaves it open.

    Raises:
        InputError: A memory of the machine is too small for any mapping, or no mapping has ``tile_macs``.
    """
    mapping = _search(
        operation.channels, operation.outputs, operation.groups, operation.rows, operation.columns, spec, tile_macs
    )
    if mapping is None:
        raise _no_mapping(operation, spec, tile_macs)
    return mapping


@lru_cache(maxsize=4096)
def _search(
    channels: int,
    outputs: int,
    groups: int,
    rows: Window,
    columns: Window,
    spec: EyerissSpec,
    tile_macs: int | None,
) -> Mapping | None:
    """:func:`best_mapping` of a shape; layers of the same shape share the answer."""
    return find_mapping(Operation("", "", channels, outputs, groups, rows, columns), spec, tile_macs)


def find_mapping(operation: Operation, spec: EyerissSpec, tile_macs: int | None = None) -> Mapping | None:
    """:func:`best_mapping`, searched anew; None where no mapping fits."""
    table = _tilings(operation, spec, tile_macs)
    if table is None:
        return None
    spatial = spatial_mappings(operation, spec.array.rows, spec.array.columns)[0]
    for p1 in reversed(divisors(operation.rows.out)):
        energies = energies_that_fit_pj(table, operation, spec, spatial.q_columns, spatial.s_rows, p1)
        least = energies.min()
        if least < math.inf:
            cheapest = table[energies <= least * (1 + 1e-9)]
            chosen = cheapest[np.argmax(cheapest[:, M0] * cheapest[:, C0])]
            return _mapping(operation, spec, _nests(chosen[None], operation, spatial, p1))
    return None


def needed_words(operation: Operation, mapping: Mapping, spec: EyerissSpec) -> tuple[int, int]:
    """Words a mapping needs of the global buffer and of the weight memory of a PE (words)."""
    spatial = mapping.spatial
    row = [getattr(spatial if name in COLUMNS[:3] else mapping, name) for name in COLUMNS]
    nests = _nests(np.array([row], dtype=np.int64), operation, spatial, mapping.p1)
    return int(buffer_words(operation, nests, spec.pe.psum_bits, spec.bits)[0]), mapping.tile_macs


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


def _no_mapping(operation: Operation, spec: EyerissSpec, tile_macs: int | None) -> InputError:
    """Names the memory that is too small, what it holds and what it would need."""
    layer = f"layer {operation.layer} ({operation.stage})"
    table, spatial = _tilings(operation, spec), spatial_mappings(operation, spec.array.rows, spec.array.columns)[0]
    if table is None:
        _, taps = _taps(operation, spatial)
        field, words = "ifmap_regfile_words", spec.pe.ifmap_regfile_words
        if taps <= words:
            field, words = "weight_sram_words", spec.pe.weight_sram_words
        what = f"is {words}: no mapping of {layer} fits, whose kernel gives a PE {taps} taps"
        return InputError(f"{spec.file}: pe.{field}", what, f"use {taps} or more")
    smallest = int(buffer_words(operation, _nests(table, operation, spatial, 1), spec.pe.psum_bits, spec.bits).min())
    depth = -(-smallest * spec.global_buffer.depth // spec.buffer_words)
    if depth > spec.global_buffer.depth:
        what = f"is {spec.global_buffer.depth}: no mapping of {layer} fits"
        return InputError(f"{spec.file}: global_buffer.depth", what, f"use {depth} or more")
    return InputError(layer, f"has no mapping with {tile_macs} weights a PE", "ask for another tile or for none")
