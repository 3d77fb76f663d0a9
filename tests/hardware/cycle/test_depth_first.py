"""Blocks depth-first: bands counted row by row, what stays on chip, and the better schedule taken block by block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hardware.cycle.machines import eyeriss
from hypothesis import Phase, given, settings, strategies as st

from predfuse import models
from predfuse.graph.nodes import INPUT, Bottleneck, Network
from predfuse.hardware.cycle.eyeriss.depth_first import Bands, ways
from predfuse.hardware.cycle.eyeriss.machine import run_eyeriss
from predfuse.hardware.cycle.memory.buffer import Place
from predfuse.hardware.pruning import prune_blocks
from predfuse.hardware.result import SimulationResult
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.vary import with_fields
from predfuse.hardware.workload import Operation, workload

NAMES = ("eyeriss-dense", "eyeriss-sparse")


def machine(name: str, **changes: object) -> EyerissSpec:
    sizes = {"schedule": "depth-first", "array_words_per_access": 4}
    return with_fields(eyeriss(name), {**sizes, **{key.replace("__", "."): value for key, value in changes.items()}})


@st.composite
def blocks(draw: st.DrawFn) -> Network:
    """One block of any stride, kernel, groups and padding, with or without a residual."""
    groups, kernel, stride = draw(st.sampled_from((1, 2))), draw(st.sampled_from((1, 3, 5))), draw(st.integers(1, 3))
    shape = (groups * draw(st.integers(1, 6)), draw(st.integers(5, 30)), draw(st.integers(5, 20)))
    residual = stride == 1 and draw(st.booleans())
    middle, outputs = groups * draw(st.integers(1, 30)), shape[0] if residual else groups * draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 99)))

    def sparse(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) * (rng.random(shape) < 0.5)

    block = Bottleneck(
        name="b1",
        inputs=(INPUT,),
        expand_weight=sparse(middle, shape[0] // groups),
        expand_bias=sparse(middle),
        depthwise_weight=sparse(middle, kernel, kernel),
        depthwise_bias=sparse(middle),
        project_weight=sparse(outputs, middle // groups),
        project_bias=sparse(outputs),
        stride=stride,
        padding=(kernel // 2,) * 4,
        groups=groups,
        residual=residual,
    )
    return Network("block", shape, (block,))


def slow_rows(operation: Operation, bands: Bands) -> int:
    """Rows expanded, band by band and tap by tap."""
    window, expanded = operation.rows, 0
    held: set[int] = set()
    for first in range(0, window.out, bands.rows):
        needed = {
            row * window.stride + tap - window.padding
            for row in range(first, min(first + bands.rows, window.out))
            for tap in range(window.kernel)
        }
        needed &= set(range(window.size))
        expanded += len(needed - held) if bands.lines else len(needed)
        held |= needed
    return expanded


@settings(max_examples=25, deadline=None, phases=(Phase.generate,))
@given(blocks(), st.integers(200, 20000))
def test_bands_fit_and_expand_what_a_walk_over_them_expands(network: Network, free_words: int) -> None:
    (item,) = workload(network).items
    depthwise = item.operations[1]
    for bands in ways(item.operations, Place(False, False, False, free_words), machine("eyeriss-dense")):
        assert bands.held_words <= free_words and 1 <= bands.rows <= depthwise.rows.out
        assert bands.expanded_rows == slow_rows(depthwise, bands)
        assert bands.lines or bands.expanded_rows >= slow_rows(depthwise, replace(bands, lines=True))


def counted(result: SimulationResult, action: str) -> float:
    return result.actions_total(action)


@settings(max_examples=12, deadline=None, phases=(Phase.generate,))
@given(blocks(), st.sampled_from(NAMES), st.sampled_from((2, 8)))
def test_counts_of_whole_runs(network: Network, name: str, banks: int) -> None:
    """Nothing is negative or free, times add up, and the better of the two schedules is taken."""
    spec = machine(name, global_buffer__banks=banks)
    layers = run_eyeriss(network, with_fields(spec, {"schedule": "layers"})).result
    run = run_eyeriss(network, spec)
    result = run.result
    assert result.total_cycles == run.timeline.end == sum(row.total_cycles for row in result.rows)
    assert result.total_cycles * result.total_energy_uj <= layers.total_cycles * layers.total_energy_uj
    for row in result.rows:
        assert row.compute_cycles >= 0 and row.stall_cycles >= 0 and 0 <= row.utilisation <= 1
        assert min(row.actions.as_dict().values()) >= 0, row
    work = workload(network).operations
    kept = [op.weights if op.weight is None else int(np.count_nonzero(op.weight)) for op in work]
    weights = sum(kept) if name == "eyeriss-sparse" else sum(op.weights for op in work)
    if any("bands" in row.mapping for row in result.rows):
        expand, depthwise, project = result.rows
        assert depthwise.macs == work[1].macs and project.macs == work[2].macs
        assert expand.macs % (work[0].weights * work[0].columns.size) == 0  # whole rows, halos again
        assert counted(result, "dram_written_bits") == pytest.approx(work[2].outputs * work[2].out_pixels * 16)
        assert counted(result, "dram_read_bits") >= 16 * weights
        assert result.total_cycles * spec.array.pes >= counted(result, "multiplications")


def test_maps_inside_blocks_stay_on_chip() -> None:
    network = prune_blocks(models.network("mobilenetv2-s"))
    spec = machine("eyeriss-sparse", global_buffer__banks=12)
    layers = run_eyeriss(network, with_fields(spec, {"schedule": "layers"})).result
    first = run_eyeriss(network, spec).result
    assert first.total_cycles < layers.total_cycles
    assert first.total_energy_uj < 0.8 * layers.total_energy_uj
    assert counted(first, "dram_written_bits") < 0.5 * counted(layers, "dram_written_bits")
