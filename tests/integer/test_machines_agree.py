"""The fast machine gives what the slow, obvious one gives, bit for bit; the slow one checks every declared width."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings, strategies as st
from integer.cases import CompiledCase, compiled_cases

from predfuse.arrays import Array
from predfuse.integer import run_program
from predfuse.integer.fast_machine import FastMachine
from predfuse.integer.program import Program
from predfuse.integer.reference import run_image
from predfuse.integer.run import to_integers


def assert_identical(program: Program, image: Array) -> None:
    """Both machines agree on every value, mask and saturation count of an image in integers; all values are words."""
    slow, fast = run_image(program, image), FastMachine(program).run_image(image)
    assert slow.saturations == fast.saturations
    for name, expected in slow.values.items():
        assert fast.values[name].dtype == expected.dtype == np.int16
        assert -(1 << program.bits - 1) <= expected.min() and expected.max() < 1 << program.bits - 1
        np.testing.assert_array_equal(fast.values[name], expected, err_msg=name)
    assert slow.masks.keys() == fast.masks.keys()
    for name, (mask1, mask2) in slow.masks.items():
        np.testing.assert_array_equal(fast.masks[name][0], mask1, err_msg=name)
        np.testing.assert_array_equal(fast.masks[name][1], mask2, err_msg=name)


@given(compiled_cases(with_predictor=True))
@settings(max_examples=120)
def test_fused_networks_are_bit_identical(case: CompiledCase) -> None:
    integers, _ = to_integers(case.program, case.images)
    assert_identical(case.program, integers[0])


@given(compiled_cases(), st.floats(0.1, 300.0))
@settings(max_examples=120)
def test_every_network_is_bit_identical_also_when_it_saturates(case: CompiledCase, gain: float) -> None:
    integers, _ = to_integers(case.program, case.images * gain)
    assert_identical(case.program, integers[0])


@given(compiled_cases(), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_no_width_is_exceeded_by_extreme_inputs(case: CompiledCase, seed: int) -> None:
    """Inputs at the ends of a word drive sums and accumulators to their worst cases."""
    reach = 1 << case.program.bits - 1
    extremes = np.array([-reach, reach - 1], np.int16)
    image = np.random.default_rng(seed).choice(extremes, case.program.input_shape)
    assert_identical(case.program, image)


@given(compiled_cases())
@settings(max_examples=30)
def test_several_images_give_what_each_gives_alone(case: CompiledCase) -> None:
    names = [node.name for node in case.program.nodes]
    together = run_program(case.program, case.images, keep=names, keep_masks=True)
    for index, image in enumerate(case.images):
        alone = run_program(case.program, image[None], machine="reference", keep=names, keep_masks=True)
        np.testing.assert_array_equal(together.scores[index], alone.scores[0])
        for name in names:
            np.testing.assert_array_equal(together.values[name][index], alone.values[name][0])
        for name, masks in alone.masks.items():
            np.testing.assert_array_equal(together.masks[name][0][index], masks[0][0])
            np.testing.assert_array_equal(together.masks[name][1][index], masks[1][0])
