"""Sizes rounded up for the dense and sparse machines, against every way of spreading a layer over the PEs."""

from __future__ import annotations

import itertools

import numpy as np
from hardware.cycle.machines import eyeriss
from hardware.cycle.slow_padding import padded, without_edges
from hardware.slow_mapping import spatial_mappings
from hypothesis import given, strategies as st

from predfuse.hardware.closed_form.mapping import best_mapping
from predfuse.hardware.closed_form.windows import Window
from predfuse.hardware.cycle.eyeriss.convolution import Convolutions
from predfuse.hardware.cycle.memory.buffer import Place
from predfuse.hardware.workload import Operation


def operation(m: int, c: int, q: int, s: int, groups: int) -> Operation:
    weight = np.arange(1, m * groups * c * s * s + 1, dtype=float).reshape(m * groups, c, s, s)
    window = Window(q, q, s, 1, s // 2)
    return Operation("b1", "expand_or_layer", c * groups, m * groups, groups, window, window, weight)


def turns(layer: Operation, rows: int, columns: int) -> int:
    """Multiplications of a PE in use, over kernel height and output rows."""
    spatial = spatial_mappings(layer, rows, columns)[0]
    return layer.macs // layer.groups // spatial.pes // layer.rows.out // layer.rows.kernel


@given(
    st.integers(1, 13), st.integers(1, 13), st.integers(1, 9), st.sampled_from((1, 3)), st.integers(1, 2),
    st.integers(3, 9), st.integers(1, 8),
)  # fmt: skip
def test_the_fewest_cycles_are_among_them(m: int, c: int, q: int, s: int, groups: int, rows: int, columns: int) -> None:
    layer = operation(m, c, q, s, groups)
    if layer.is_depthwise:
        return
    found = padded(layer, rows, columns)
    fewest = min(
        -(-q // q_columns) * -(-m // (m_columns * m_rows)) * -(-c // c_rows)
        for q_columns, m_columns, m_rows, c_rows in itertools.product(
            range(1, columns + 1), range(1, columns + 1), range(1, rows + 1), range(1, rows + 1)
        )
        if q_columns * m_columns <= columns and s * m_rows * c_rows <= rows
    )
    assert min(turns(candidate, rows, columns) for candidate in found) == fewest
    assert found[0] is layer
    for candidate in found:
        assert candidate.weight is not None and layer.weight is not None
        assert candidate.weight.shape == (candidate.outputs, candidate.group_channels, s, s)
        assert np.sort(candidate.weight[candidate.weight != 0]).tolist() == layer.weight.ravel().tolist()


def test_depthwise_channels_are_rounded_as_outputs() -> None:
    window = Window(8, 8, 3, 1, 1)
    layer = Operation("b1", "depthwise", 10, 10, 10, window, window, np.ones((10, 1, 3, 3)))
    wider = [candidate for candidate in padded(layer, 9, 8) if candidate.outputs == 12]
    assert wider and all(one.is_depthwise and one.weight is not None and not one.weight[10:].any() for one in wider)


@given(
    st.integers(1, 13), st.integers(1, 13), st.integers(1, 9), st.sampled_from((1, 3)),
    st.sampled_from(("eyeriss-dense", "eyeriss-sparse")),
)  # fmt: skip
def test_every_output_is_stored_once_however_sizes_are_rounded(m: int, c: int, q: int, s: int, machine: str) -> None:
    """Not fewer, either, where input channels are rounded up: of sums over more channels there are no more."""
    layer, spec = operation(m, c, q, s, 1), eyeriss(machine)
    off_chip = Place(input_on_chip=False, output_on_chip=False, residual_on_chip=False, free_words=1 << 16)
    for candidate in padded(layer, spec.array.rows, spec.array.columns):
        actions = without_edges(best_mapping(candidate, spec).actions, candidate, layer, spec)
        assert actions.dram_written_bits == m * q * q * 16
        assert min(actions.as_dict().values()) >= 0
    plan = Convolutions(spec).best(layer, off_chip).plan(spec)
    assert plan.stages[0].actions.dram_written_bits == m * q * q * 16
    assert plan.steps.amounts[:, 2].sum() == m * q * q * 16
