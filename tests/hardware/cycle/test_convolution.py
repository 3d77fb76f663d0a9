"""The fast choice of a way to run a convolution against the slow one, which tries them all: the same, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hardware.cycle.machines import eyeriss
from hardware.cycle.slow_convolutions import slow_best
from hardware.cycle.slow_padding import padded
from hardware.operations import operations
from hypothesis import Phase, given, settings, strategies as st

from predfuse.errors import InputError
from predfuse.hardware.closed_form.mapping import sides
from predfuse.hardware.cycle.eyeriss.convolution import Convolutions
from predfuse.hardware.cycle.eyeriss.padding import rounded_up
from predfuse.hardware.cycle.eyeriss.ways import nonzeros_before
from predfuse.hardware.cycle.memory.buffer import Place
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.vary import with_fields
from predfuse.hardware.workload import Operation


@st.composite
def machines(draw: st.DrawFn) -> EyerissSpec:
    """A dense or sparse machine of any small sizes."""
    spec = eyeriss(draw(st.sampled_from(("eyeriss-dense", "eyeriss-sparse", "sparse-1.7", "dense-1.7"))))
    fields = {
        "array.rows": draw(st.integers(1, 9)),
        "array.columns": draw(st.integers(1, 9)),
        "pe.weight_sram_words": draw(st.sampled_from((9, 32, 224))),
        "pe.ifmap_regfile_words": draw(st.sampled_from((5, 16, 40))),
        "global_buffer.depth": draw(st.sampled_from((64, 512, 4096))),
        "dram_bits_per_cycle": draw(st.sampled_from((None, 1, 32, 256))),
    }
    if spec.prices == "synthesised":
        fields["finishing_units"] = draw(st.sampled_from((None, 1, 3, 16)))
    return with_fields(spec, fields)


places = st.builds(Place, st.booleans(), st.booleans(), st.booleans(), st.sampled_from((20, 300, 5000)))


@settings(max_examples=120, deadline=None, phases=(Phase.generate, Phase.shrink))
@given(operations(with_weights=True), machines(), st.lists(places, min_size=1, max_size=3), st.booleans())
def test_the_best_way_is_the_best_of_all(op: Operation, spec: EyerissSpec, places: list[Place], residual: bool) -> None:
    """Also where another place, or another machine, was asked for before."""
    convolutions = Convolutions(spec)
    for place in places:
        slow = slow_best(op, place, residual, spec)
        if slow is None:
            with pytest.raises(InputError):
                convolutions.best(op, place, residual)
            continue
        for fast in (convolutions.best(op, place, residual), convolutions.best(op, place, residual)):
            assert replace(fast.mapping, actions=slow.mapping.actions) == slow.mapping
            assert fast.actions == slow.actions and fast.weight_bits == slow.weight_bits
            assert (fast.cycles, fast.at_once) == (slow.cycles, slow.at_once)
            assert (1 + fast.doubled.buffer, 1 + fast.doubled.weights) == slow.sets


@given(operations(), st.integers(1, 9), st.integers(1, 9))
def test_sizes_are_those_of_every_spread(op: Operation, rows: int, columns: int) -> None:
    found = rounded_up(*sides(op), op.columns.out, op.columns.kernel, rows, columns)
    slow = [(*sides(candidate), candidate.columns.out) for candidate in padded(op, rows, columns)]
    assert [tuple(size) for size in found.tolist()] == slow


@given(operations(with_weights=True), st.integers(0, 99))
def test_weights_before_are_sums_of_weights(op: Operation, seed: int) -> None:
    assert op.weight is not None
    rng = np.random.default_rng(seed)
    s_rows = int(rng.choice([d for d in range(1, op.columns.kernel + 1) if op.columns.kernel % d == 0]))
    before = nonzeros_before(op.weight, s_rows)
    m, c = (int(rng.integers(size + 1)) for size in op.weight.shape[:2])
    s = int(rng.integers(s_rows))
    assert before[s, m, c] == np.count_nonzero(op.weight[:m, :c, :, s::s_rows])
