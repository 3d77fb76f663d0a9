"""Mapping of a convolution onto the PE array of the dense and sparse machines.

Spatial: the largest perfect factorisation. PE columns are shared by output columns and output channels, PE rows by the
whole kernel width, output channels and input channels; every factor divides its dimension, so that no PE idles for
part of a layer. Among equals, the one with the most output columns side by side is taken. A grouped layer is one group
times the number of groups; a depthwise layer counts its channels as outputs.

Temporal: of all perfect tilings that fit the memories, the one of least energy, then of the largest PE tile. Both are
the published model of ICS 2021, whose artifact searched at random where the search of
:mod:`~predfuse.hardware.closed_form.nest_search` is exhaustive.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from predfuse.arrays import Int64Array
from predfuse.errors import InputError
from predfuse.hardware.closed_form.nest_search import ACTIONS, NEST, least_energy, machine_sizes, window_sizes
from predfuse.hardware.closed_form.windows import Window
from predfuse.hardware.energy import Actions
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation


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
        actions: Action counts of the whole layer, as far as is known of it: zeros count like other weights.
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


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of ``number`` that is no more than ``most``."""
    return max(divisor for divisor in divisors(number) if divisor <= most)


def sides(operation: Operation) -> tuple[int, int]:
    """Output and input channels that can be spread over PEs: of one group, or all channels of a depthwise layer."""
    if operation.is_depthwise:
        return operation.outputs, 1
    return operation.group_outputs, operation.group_channels


def best_mapping(operation: Operation, spec: EyerissSpec, tile_macs: int | None = None) -> Mapping:
    """The mapping of least energy among those that use the most PEs.

    Args:
        operation: The layer.
        spec: The machine.
        tile_macs: Weights a PE must hold, to follow a given mapping; None leaves it open.

    Raises:
        InputError: A memory of the machine is too small for any mapping, or no mapping has ``tile_macs``.
    """
    shape = (*sides(operation), operation.groups, operation.is_depthwise, operation.rows, operation.columns)
    found = _search(*shape, spec, tile_macs)
    if isinstance(found, Mapping):
        return found
    raise _no_mapping(operation, spec, tile_macs, found)


@lru_cache(maxsize=4096)
def _search(
    m: int,
    c: int,
    groups: int,
    depthwise: bool,
    rows: Window,
    columns: Window,
    spec: EyerissSpec,
    tile_macs: int | None,
) -> Mapping | int:
    """The mapping of a shape, which layers share; or the least words of the global buffer any would need, or -1."""
    windows = window_sizes(rows), window_sizes(columns)
    limits = np.array([[spec.buffer_words, tile_macs or spec.pe.weight_sram_words]])
    nests, counts, needed = least_energy(
        m, c, groups, depthwise, *windows, machine_sizes(spec), limits, 0 if tile_macs is None else tile_macs
    )
    if not nests[0, 0]:
        return needed
    actions = Actions(**dict(zip(ACTIONS, counts[0].tolist(), strict=True)))
    return mapping_of(nests[0], actions, rows, columns, 1 if depthwise else groups)


def mapping_of(nest: Int64Array, actions: Actions, rows: Window, columns: Window, groups: int) -> Mapping:
    """The mapping of a loop nest.

    Args:
        nest: ``[len(NEST)]``.
        actions: Of the whole layer.
        rows: Window along the height.
        columns: Window along the width.
        groups: Worked through one after the other.
    """
    bounds = dict(zip(NEST, nest.tolist(), strict=True))
    spatial = Spatial(**{name: bounds.pop(name) for name in ("m_columns", "q_columns", "s_rows", "m_rows", "c_rows")})
    s0 = columns.kernel // spatial.s_rows
    return Mapping(
        spatial=spatial,
        **bounds,
        s0=s0,
        tile_macs=bounds["m0"] * bounds["c0"] * s0 * rows.kernel,
        pixel_passes=rows.out * columns.out // spatial.q_columns,
        weight_passes=bounds["m1"] * bounds["m2"] * bounds["c1"] * bounds["c2"] * groups,
        actions=actions,
    )


def _no_mapping(operation: Operation, spec: EyerissSpec, tile_macs: int | None, needed: int) -> InputError:
    """Names the memory that is too small, what it holds and what it would need: ``needed`` words at least."""
    layer = f"layer {operation.layer} ({operation.stage})"
    if tile_macs is not None:
        best_mapping(operation, spec)  # says what any mapping lacks
        return InputError(layer, f"has no mapping with {tile_macs} weights a PE", "ask for another tile or for none")
    if needed < 0:
        kernel = operation.columns.kernel
        taps = operation.rows.kernel * kernel // largest_divisor(kernel, spec.array.rows)
        field, words = "ifmap_regfile_words", spec.pe.ifmap_regfile_words
        if taps <= words:
            field, words = "weight_sram_words", spec.pe.weight_sram_words
        what = f"is {words}: no mapping of {layer} fits, whose kernel gives a PE {taps} taps"
        return InputError(f"{spec.file}: pe.{field}", what, f"use {taps} or more")
    what = f"is {spec.global_buffer.depth}: no mapping of {layer} fits"
    depth = -(-needed * spec.global_buffer.depth // spec.buffer_words)
    return InputError(f"{spec.file}: global_buffer.depth", what, f"use {depth} or more")
