"""The spatial factorisation and the search for the best tiling."""

from __future__ import annotations

from importlib import resources
from itertools import product

import numpy as np
import pytest
from hardware.loopnest import Nests, buffer_words, count_accesses, energies_pj
from hardware.operations import operation, operations
from hardware.slow_mapping import find_mapping, spatial_mappings
from hypothesis import assume, given, settings, strategies as st

from predfuse.errors import InputError
from predfuse.hardware.closed_form.mapping import best_mapping, divisors
from predfuse.hardware.energy import energy_by_component_pj
from predfuse.hardware.spec import EyerissSpec, parse_spec
from predfuse.hardware.workload import Operation


def dense_spec(**changes: str) -> EyerissSpec:
    text = (resources.files("predfuse.hardware") / "specs" / "eyeriss-dense.yaml").read_text(encoding="utf-8")
    for field, value in changes.items():
        start = text.index(f"{field}: ") + len(field) + 2
        end = min(text.index(stop, start) for stop in (",", "\n") if stop in text[start:])
        text = text[:start] + value + text[end:]
    spec = parse_spec(text, "test.yaml")
    assert isinstance(spec, EyerissSpec)
    return spec


SHAPES = [
    ("stem 3x3 on 3 channels", operation(3, 32, 32, kernel=3), 72),
    ("1x1 without factors of 3", operation(32, 32, 32), 64),
    ("1x1 with two factors of 3", operation(24, 144, 32), 72),
    ("depthwise 3x3, channels divisible by 3", operation(96, 96, 32, kernel=3, groups=96), 72),
    ("depthwise 3x3, channels not divisible by 3", operation(32, 32, 32, kernel=3, groups=32), 48),
    ("depthwise 5x5: five of nine rows", operation(72, 72, 16, kernel=5, groups=72), 40),
    ("classifier 1280 -> 10", operation(1280, 10, 1), 40),
    ("classifier 1280 -> 100", operation(1280, 100, 1), 40),
    ("grouped 1x1: one group's channels", operation(24, 240, 32, groups=3), 64),
    ("kernel wider than the array is high, channels on the rows", operation(3, 8, 16, kernel=11), 64),
    ("prime channels and pixels", operation(7, 7, 7), 49),
]


@pytest.mark.parametrize(("op", "pes"), [shape[1:] for shape in SHAPES], ids=[shape[0] for shape in SHAPES])
def test_pes_in_use(op: Operation, pes: int) -> None:
    assert {spatial.pes for spatial in spatial_mappings(op, 9, 8)} == {pes}


@given(operations(), st.integers(1, 12), st.integers(1, 12))
def test_no_perfect_factorisation_uses_more_pes(op: Operation, rows: int, columns: int) -> None:
    found = spatial_mappings(op, rows, columns)
    m, c = (op.outputs, 1) if op.is_depthwise else (op.group_outputs, op.group_channels)
    kernel, width = op.columns.kernel, op.columns.out
    s = max(factor for factor in range(1, kernel + 1) if kernel % factor == 0 and factor <= rows)
    best = 0
    for q, mc, mr, cr in product(range(1, columns + 1), range(1, columns + 1), range(1, rows + 1), range(1, rows + 1)):
        perfect = width % q == 0 and m % (mc * mr) == 0 and c % cr == 0
        if perfect and q * mc <= columns and s * mr * cr <= rows:
            best = max(best, q * mc * s * mr * cr)
    assert {spatial.pes for spatial in found} == {best}
    for spatial in found:
        assert width % spatial.q_columns == 0 and m % (spatial.m_columns * spatial.m_rows) == 0


@settings(max_examples=40)
@given(operations())
def test_no_tiling_that_fits_costs_less(op: Operation) -> None:
    spec = dense_spec(depth="60")
    try:
        best = best_mapping(op, spec)
    except InputError:
        assume(False)
    energy = sum(energy_by_component_pj(best.actions, spec).values())
    m, c = (op.outputs, 1) if op.is_depthwise else (op.group_outputs, op.group_channels)
    for spatial in spatial_mappings(op, 9, 8):
        m_left, c_left = m // spatial.m_columns // spatial.m_rows, c // spatial.c_rows
        s0 = op.columns.kernel // spatial.s_rows
        for m0, c0 in product(divisors(m_left), divisors(c_left)):
            taps = op.rows.kernel * s0
            if m0 > 24 or c0 * taps > 16 or m0 * c0 * taps > 224:
                continue
            for m1, c1 in product(divisors(m_left // m0), divisors(c_left // c0)):
                bounds = {"m_columns": spatial.m_columns, "m_rows": spatial.m_rows, "c_rows": spatial.c_rows}
                bounds |= {"m0": m0, "c0": c0, "m1": m1, "c1": c1, "m2": m_left // m0 // m1, "c2": c_left // c0 // c1}
                nests = Nests(
                    q_columns=spatial.q_columns,
                    s_rows=spatial.s_rows,
                    s0=s0,
                    p1=best.p1,
                    **{name: np.array([bound]) for name, bound in bounds.items()},
                )
                if buffer_words(op, nests)[0] <= spec.buffer_words:
                    other = energies_pj(count_accesses(op, nests, 16), op, spec)[0]
                    assert energy <= other * (1 + 1e-6)


@settings(max_examples=200)
@given(operations(), st.sampled_from((4, 60, 1000)), st.sampled_from((4, 16)), st.sampled_from((9, 224)), st.data())
def test_the_mapping_is_that_of_the_slow_search(
    op: Operation, depth: int, inputs: int, weights: int, data: st.DataObject
) -> None:
    spec = dense_spec(depth=str(depth), ifmap_regfile_words=str(inputs), weight_sram_words=str(weights))
    tile = data.draw(st.none() | st.integers(1, 224))
    slow = find_mapping(op, spec, tile)
    if slow is None:
        with pytest.raises(InputError):
            best_mapping(op, spec, tile)
    else:
        assert best_mapping(op, spec, tile) == slow


@given(operations())
def test_a_mapping_does_all_the_work_and_nothing_twice(op: Operation) -> None:
    try:
        mapping = best_mapping(op, dense_spec())
    except InputError:
        assume(False)
    assert mapping.cycles * mapping.spatial.pes == op.macs
    assert mapping.actions.multiplications == op.macs
    assert f"{mapping.tile_macs} weights a PE" in mapping.describe()


def test_a_given_tile_is_followed() -> None:
    op = operation(16, 96, 32)
    mapping = best_mapping(op, dense_spec(), tile_macs=96)
    assert mapping.tile_macs == 96 and mapping.passes == 256
    with pytest.raises(InputError, match="97 weights a PE"):
        best_mapping(op, dense_spec(), tile_macs=97)


@pytest.mark.parametrize(
    ("changes", "op", "field"),
    [
        ({"depth": "20"}, operation(3, 32, 32, kernel=3), "global_buffer.depth: is 20"),
        ({"ifmap_regfile_words": "2"}, operation(3, 32, 32, kernel=3), "pe.ifmap_regfile_words: is 2"),
        ({"weight_sram_words": "2"}, operation(3, 32, 32, kernel=3), "pe.weight_sram_words: is 2"),
    ],
)
def test_a_memory_too_small_for_any_mapping_is_named(changes: dict[str, str], op: Operation, field: str) -> None:
    with pytest.raises(InputError) as caught:
        best_mapping(op, dense_spec(**changes))
    message = str(caught.value)
    assert message.startswith(f"test.yaml: {field}") and "or more" in message and "\n" not in message


def test_the_buffer_size_an_error_asks_for_is_enough() -> None:
    op = operation(3, 32, 32, kernel=3)
    with pytest.raises(InputError) as caught:
        best_mapping(op, dense_spec(depth="20"))
    needed = str(caught.value).rpartition("use ")[2].split()[0]
    assert best_mapping(op, dense_spec(depth=needed)).cycles > 0
    with pytest.raises(InputError):
        best_mapping(op, dense_spec(depth=str(int(needed) - 1)))


def test_a_small_buffer_costs_energy_but_no_cycles() -> None:
    op = operation(32, 192, 32)
    large, small = best_mapping(op, dense_spec()), best_mapping(op, dense_spec(depth="1000"))
    assert small.cycles == large.cycles
    assert small.actions.dram_read_bits > large.actions.dram_read_bits
