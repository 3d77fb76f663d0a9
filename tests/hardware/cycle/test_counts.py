"""No machine ever does anything a negative number of times, and its global buffer limits accesses, not words."""

from __future__ import annotations

import numpy as np
import pytest
from hardware.cycle.machines import archon, eyeriss, random_masks, with_predictors
from hypothesis import Phase, given, settings, strategies as st

from predfuse.graph.nodes import INPUT, Bottleneck, Conv, Network
from predfuse.hardware.closed_form.simulate import simulate
from predfuse.hardware.cycle.archon.machine import prepare, run_archon
from predfuse.hardware.cycle.eyeriss.machine import run_eyeriss
from predfuse.hardware.cycle.memory.buffer import buffer_cycles
from predfuse.hardware.energy import Actions
from predfuse.hardware.result import SimulationResult
from predfuse.hardware.spec import AcceleratorSpec, ArchonSpec
from predfuse.hardware.vary import with_fields

NAMES = ("archon", "archon-ics21", "eyeriss-dense", "eyeriss-sparse", "depth-first")


def machine(name: str) -> AcceleratorSpec:
    if name == "depth-first":
        return with_fields(eyeriss("eyeriss-sparse"), {"schedule": name})
    return archon(name) if name.startswith("archon") else eyeriss(name)


def run(network: Network, spec: AcceleratorSpec) -> SimulationResult:
    if isinstance(spec, ArchonSpec):
        return run_archon(prepare(network, spec), random_masks(network, 0)).result
    return run_eyeriss(network, spec).result


@st.composite
def strided(draw: st.DrawFn) -> Network:
    """A convolution and a block with strides up to 4, often above the kernel, on images of several tiles."""
    size, kernels, strides = st.integers(5, 33), st.sampled_from((1, 1, 3, 5)), st.integers(1, 4)
    shape = (draw(st.sampled_from((2, 4, 12))), draw(size), draw(size))
    rng, outputs = np.random.default_rng(draw(st.integers(0, 9))), draw(st.sampled_from((2, 6)))
    kernel = draw(st.sampled_from((1, 2, 3, 5)))
    half = (kernel // 2,) * 4
    weight = rng.normal(size=(outputs, shape[0], kernel, kernel))
    conv = Conv("conv", (INPUT,), weight, rng.normal(size=outputs), draw(st.integers(1, 3)), half)
    middle, kernel = draw(st.sampled_from((4, 40))), draw(kernels)
    block = Bottleneck(
        name="b1",
        inputs=("conv",),
        expand_weight=rng.normal(size=(middle, outputs)),
        expand_bias=rng.normal(size=middle),
        depthwise_weight=rng.normal(size=(middle, kernel, kernel)),
        depthwise_bias=rng.normal(size=middle),
        project_weight=rng.normal(size=(3, middle)),
        project_bias=rng.normal(size=3),
        stride=draw(strides),
        padding=(kernel // 2,) * 4,
    )
    return with_predictors(Network("strided", shape, (conv, block)))


@settings(max_examples=30, deadline=None, phases=(Phase.generate,))
@given(strided(), st.sampled_from(NAMES))
def test_no_count_is_ever_negative(network: Network, name: str) -> None:
    rows = run(network, machine(name)).rows
    if name != "depth-first":  # has no closed forms
        rows = (*rows, *simulate(network, machine(name)).rows)
    for row in rows:
        for action, count in row.actions.as_dict().items():
            assert np.isfinite(count) and count >= 0, (row.layer, row.stage, action, count)


def test_strides_beyond_the_kernel() -> None:
    """A 1x1 depthwise of stride 2 whose maps stay on chip reads a quarter of its activations, not less than none."""
    rng = np.random.default_rng(0)
    block = Bottleneck(
        name="b1",
        inputs=(INPUT,),
        expand_weight=rng.normal(size=(40, 4)),
        expand_bias=rng.normal(size=40),
        depthwise_weight=rng.normal(size=(40, 1, 1)),
        depthwise_bias=rng.normal(size=40),
        project_weight=rng.normal(size=(4, 40)),
        project_bias=rng.normal(size=4),
        stride=2,
        padding=(0, 0, 0, 0),
    )
    result = run(with_predictors(Network("strided", (4, 32, 32), (block,))), archon("archon-ics21"))
    assert min(count for row in result.rows for count in row.actions.as_dict().values()) >= 0


@pytest.mark.parametrize(("words", "cycles"), [(1, 30), (4, 30)])
def test_every_bank_makes_one_access_a_cycle(words: int, cycles: int) -> None:
    spec = with_fields(eyeriss("eyeriss-dense"), {"global_buffer.banks": 8, "array_words_per_access": words})
    assert buffer_cycles(Actions(global_buffer_reads=200, global_buffer_writes=33.5), spec) == cycles


def test_wider_accesses_are_never_slower() -> None:
    rng = np.random.default_rng(0)
    conv = Conv("conv", (INPUT,), rng.normal(size=(32, 16, 1, 1)), np.zeros(32), 1, (0, 0, 0, 0))
    network, machines = Network("wide", (16, 32, 32), (conv,)), {"array.rows": 8, "array.columns": 30}
    sizes = {**machines, "global_buffer.banks": 2, "dram_bits_per_cycle": None}
    cycles = [
        run(network, with_fields(eyeriss("eyeriss-dense"), {**sizes, "array_words_per_access": words})).total_cycles
        for words in (1, 2, 4)
    ]
    assert cycles == sorted(cycles, reverse=True) and cycles[0] > cycles[-1]
