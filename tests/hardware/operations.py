"""Operations for tests: random small ones, and a slow walk through a loop nest that counts every word moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np
from hardware.loopnest import Nests
from hypothesis import strategies as st

from predfuse.graph.nodes import window_size
from predfuse.hardware.closed_form.mapping import divisors
from predfuse.hardware.closed_form.windows import Window
from predfuse.hardware.workload import Operation


def operation(
    channels: int = 8,
    outputs: int = 8,
    size: int = 8,
    kernel: int = 1,
    groups: int = 1,
    stride: int = 1,
    density: float | None = None,
    seed: int = 0,
) -> Operation:
    """A square convolution that keeps the image size at stride 1; with ``density`` it has random weights."""
    padding = kernel // 2
    window = Window(size, window_size(size, kernel, stride, padding, padding), kernel, stride, padding)
    weight = None
    if density is not None:
        random = np.random.default_rng(seed)
        shape = (outputs, channels // groups, kernel, kernel)
        weight = random.normal(size=shape) * (random.random(shape) < density)
    return Operation("layer", "expand_or_layer", channels, outputs, groups, window, window, weight)


@st.composite
def operations(draw: st.DrawFn, with_weights: bool = False) -> Operation:
    """Grouped, depthwise, fully connected and ordinary convolutions of a few channels and pixels."""
    kind = draw(st.sampled_from(["ordinary", "grouped", "depthwise", "linear"]))
    groups = draw(st.integers(2, 3)) if kind == "grouped" else 1
    channels, outputs = draw(st.integers(1, 8)) * groups, draw(st.integers(1, 12)) * groups
    size, kernel, stride = draw(st.integers(2, 8)), draw(st.sampled_from([1, 3, 5])), draw(st.integers(1, 2))
    if kind == "depthwise":
        groups, outputs = channels, channels
    if kind == "linear":
        size = kernel = stride = 1
    density = draw(st.sampled_from([0.0, 0.2, 0.5, 1.0])) if with_weights else None
    return operation(channels, outputs, size, kernel, groups, stride, density, draw(st.integers(0, 99)))


@dataclass
class Walk:
    """Words counted by :func:`walk`; the names are those of ``Accesses``."""

    weights_fetched: int = 0
    inputs_fetched: int = 0
    inputs_read: int = 0
    outputs_written: int = 0
    outputs_read_back: int = 0
    started: set[tuple[int, ...]] = field(default_factory=set)


def _pixels(window: Window, first: int, count: int) -> set[int]:
    return {
        position
        for output in range(first, first + count)
        for tap in range(window.kernel)
        if 0 <= (position := output * window.stride + tap * window.dilation - window.padding) < window.size
    }


def walk(op: Operation, nests: Nests, ifmap_words: int) -> Walk:
    """Run through the loop nest of the only mapping in ``nests``, holding what each level holds, counting what moves.

    One group is walked and counted as many times as there are groups.
    """
    n = {name: int(getattr(nests, name)[0]) for name in ("m0", "c0", "m1", "c1", "m2", "c2")}
    m_array, c_array = int(nests.m_array[0]), int(nests.c_array[0])
    depthwise, p1, q0 = op.is_depthwise, nests.p1, nests.q_columns
    groups = 1 if depthwise else op.groups
    slides = n["c1"] == 1 and (n["m0"] if depthwise else n["c0"]) * op.rows.kernel * nests.s0 <= ifmap_words
    counted = Walk()
    weights = inputs = buffer = sums = None
    rows_held: set[int] = set()
    loops = [op.columns.out // q0, op.rows.out // p1, n["m2"], n["c2"], n["m1"], p1, n["c1"]]
    for q2, p2, m2, c2, m1, p, c1 in product(*map(range, loops)):
        m, c, row = (m2, m1), (c2, c1), p2 * p1 + p
        columns = len(_pixels(op.columns, q2 * q0, q0))
        channels = m_array if depthwise else c_array
        if weights != (m, c):
            weights = (m, c)
            counted.weights_fetched += m_array * c_array * op.taps
        block = (q2, p2, m2 if depthwise else c2)
        if buffer != block:
            buffer = block
            held = channels * (n["m1"] if depthwise else n["c1"])
            counted.inputs_fetched += held * len(_pixels(op.rows, p2 * p1, p1)) * columns
        sweep = (q2, p2, m if depthwise else c)
        needed = _pixels(op.rows, row, 1)
        if inputs != (sweep, row):
            forward = slides and inputs is not None and inputs[0] == sweep and inputs[1] == row - 1
            counted.inputs_read += channels * len(needed - rows_held if forward else needed) * columns
            inputs, rows_held = (sweep, row), (rows_held | needed if forward else needed)
        if sums != (m, row, q2):
            sums = (m, row, q2)
            tile = m_array * q0
            counted.outputs_written += tile
            if (*m, row, q2) in counted.started:
                counted.outputs_read_back += tile
            counted.started.add((*m, row, q2))
    for name in ("weights_fetched", "inputs_fetched", "inputs_read", "outputs_written", "outputs_read_back"):
        setattr(counted, name, getattr(counted, name) * groups)
    return counted


@st.composite
def mapped_operations(draw: st.DrawFn) -> tuple[Operation, Nests, int]:
    """An operation with an arbitrary legal nest (memories unlimited) and the size of a PE's input register file."""
    op = draw(operations())
    m, c = (op.outputs, 1) if op.is_depthwise else (op.group_outputs, op.group_channels)

    def split(number: int, parts: int) -> list[int]:
        factors = []
        for _ in range(parts - 1):
            factors.append(draw(st.sampled_from(divisors(number))))
            number //= factors[-1]
        return [*factors, number]

    m_columns, m_rows, m0, m1, m2 = split(m, 5)
    c_rows, c0, c1, c2 = split(c, 4)
    s_rows = draw(st.sampled_from(divisors(op.columns.kernel)))
    values = {"m_columns": m_columns, "m_rows": m_rows, "c_rows": c_rows, "m0": m0, "c0": c0}
    values |= {"m1": m1, "c1": c1, "m2": m2, "c2": c2}
    nests = Nests(
        q_columns=draw(st.sampled_from(divisors(op.columns.out))),
        s_rows=s_rows,
        s0=op.columns.kernel // s_rows,
        p1=draw(st.sampled_from(divisors(op.rows.out))),
        **{name: np.array([value], dtype=np.int64) for name, value in values.items()},
    )
    return op, nests, draw(st.sampled_from([1, 4, 16, 64]))
