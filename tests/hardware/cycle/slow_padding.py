"""Layers rounded up to sizes that suit the array, from every spread over its PEs: the oracle of the fast sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from hardware.loopnest import Ints

from predfuse.arrays import Item
from predfuse.hardware.energy import Actions
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation

SLACK = 1.05
"""Sizes that take up to this factor of the fewest cycles are considered."""
MOST_SIZES = 10
"""Sizes considered, those of fewest cycles first."""
MULTIPLES = (1, 2, 4, 8)
"""Loops left in time are rounded up to a multiple of one of these."""


def padded(operation: Operation, rows: int, columns: int) -> list[Operation]:
    """The operation as it is, and with channels, outputs and output columns rounded up in every promising way.

    Args:
        operation: The layer.
        rows: Of PEs: share kernel width, outputs and input channels.
        columns: Of PEs: share output columns and outputs.
    """
    depthwise = operation.is_depthwise
    outputs = operation.outputs if depthwise else operation.group_outputs
    channels = 1 if depthwise else operation.group_channels
    sizes = _promising(outputs, channels, operation.columns.out, operation.columns.kernel, rows, columns)
    as_is = (outputs, channels, operation.columns.out)
    return [operation, *(_resized(operation, *size) for size in sizes if size != as_is)]


def without_edges(actions: Actions, candidate: Operation, operation: Operation, spec: EyerissSpec) -> Actions:
    """What a layer does of what it would do rounded up: PEs beyond the edge idle, only real outputs stored.

    Args:
        actions: Of the candidate.
        candidate: The layer, rounded up.
        operation: The layer as it is.
        spec: The machine.
    """
    scaled = actions.scaled(operation.macs / candidate.macs)
    stored_bits = operation.outputs * operation.out_pixels * spec.bits
    more = stored_bits - scaled.dram_written_bits  # sums over fewer channels are as many outputs
    return scaled + Actions(dram_written_bits=more, global_buffer_reads=more / spec.global_buffer.width_bits)


def _resized(operation: Operation, m: int, c: int, q: int) -> Operation:
    wider = replace(operation.columns, out=q)
    weight = pad_weight(operation.weight, operation, m, c)
    if operation.is_depthwise:
        return replace(operation, outputs=m, channels=m, groups=m, columns=wider, weight=weight)
    groups = operation.groups
    return replace(operation, outputs=m * groups, channels=c * groups, columns=wider, weight=weight)


@lru_cache(maxsize=4096)
def _promising(m: int, c: int, q: int, s: int, rows: int, columns: int) -> tuple[tuple[int, int, int], ...]:
    """Sizes ``(outputs, input channels, output columns)`` of few cycles, fewest first."""
    table = np.array(list(_spreads(m, c, q, s, rows, columns)), np.int64)
    multiples = np.array(MULTIPLES)
    at_once, c_rows, q_columns = (table[:, i, None, None] for i in range(3))
    m_turns = _ceil(_ceil(m, at_once), multiples[:, None]) * multiples[:, None]
    c_turns = _ceil(_ceil(c, c_rows), multiples) * multiples
    q_turns = -(-q // q_columns)
    sizes = np.broadcast_arrays(m_turns * c_turns * q_turns, m_turns * at_once, c_turns * c_rows, q_turns * q_columns)
    ranked = np.stack([part.ravel() for part in sizes], axis=1)
    ranked = ranked[ranked[:, 0] <= SLACK * ranked[:, 0].min()]
    found: dict[tuple[int, int, int], None] = {}
    for row in ranked[np.lexsort(ranked.T[::-1])].tolist():
        found.setdefault((row[1], row[2], row[3]))
    return tuple(list(found)[:MOST_SIZES])


def _ceil(number: int | Ints, parts: Ints) -> Ints:
    return -(-number // parts)


def _spreads(m: int, c: int, q: int, s: int, rows: int, columns: int) -> Iterator[tuple[int, int, int]]:
    """Outputs, input channels and output columns the array may take at once."""
    s_rows = max(d for d in range(1, min(s, rows) + 1) if s % d == 0)
    for q_columns in range(1, min(q, columns) + 1):
        for m_columns in range(1, min(m, columns // q_columns) + 1):
            for m_rows in range(1, min(m, rows // s_rows) + 1):
                at_once = m_columns * m_rows
                for c_rows in range(1, min(c, rows // s_rows // m_rows) + 1):
                    yield at_once, c_rows, q_columns


def pad_weight(weight: npt.NDArray[Item] | None, operation: Operation, m: int, c: int) -> npt.NDArray[Item] | None:
    """The weights of a layer rounded up to ``m`` outputs and ``c`` input channels a group, zeros where there are none.

    Args:
        weight: ``[outputs, channels/groups, kh, kw]``, or what else there is for each; None stays None.
        operation: The layer as it is.
        m: Outputs of a group; all, where it is depthwise.
        c: Input channels of a group.
    """
    if weight is None:
        return None
    kernel = weight.shape[2:]
    if operation.is_depthwise:
        result = np.zeros((m, 1, *kernel), weight.dtype)
        result[: operation.outputs] = weight
        return result
    result = np.zeros((operation.groups, m, c, *kernel), weight.dtype)
    grouped = weight.reshape(operation.groups, operation.group_outputs, operation.group_channels, *kernel)
    result[:, : operation.group_outputs, : operation.group_channels] = grouped
    return result.reshape(operation.groups * m, c, *kernel)
