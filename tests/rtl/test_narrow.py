"""A predictor told in narrow numbers has every gate and hidden activation it had, for every input there is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from integer.block_cases import compiled
from rtl.blocks import dense_block
from rtl.machines import SMALL
from strategies import SEEDS

from predfuse.errors import InputError
from predfuse.graph.predictor import PREDICTOR_WEIGHTS, Predictor
from predfuse.integer.options import CompileOptions
from predfuse.rtl.narrow import narrowed
from predfuse.rtl.streams import emit_group

COLUMNS, SCORE, SCORE2 = 2, 8, 7
"""Channels of a group, and what the gateware has for scores of so many, and of one tap: up to 120 and 60."""
WEIGHTS = sorted({*PREDICTOR_WEIGHTS, *(-weight for weight in PREDICTOR_WEIGHTS)})


@st.composite
def extreme_predictors(draw: st.DrawFn) -> Predictor:
    """Eight channels of two inputs and one tap, offsets and shifts of any size; many close to the reach of the sums."""
    rng, middle = np.random.default_rng(draw(SEEDS)), 8

    def offsets(reach: int) -> list[int]:
        sizes = (reach, reach + 2, 1 << 12, (1 << 31) - 1)
        return [int(rng.integers(-(most := int(rng.choice(sizes))), most + 1)) for _ in range(middle)]

    return Predictor(
        input_exponent=0,
        expand=rng.choice(WEIGHTS, (middle, COLUMNS)).astype(np.int8),
        expand_offset=np.array(offsets(64), np.int32),
        shift=np.array([rng.integers(rng.choice((3, 9, 32))) for _ in range(middle)], np.int8),
        depthwise=rng.choice(WEIGHTS, (middle, 1, 1)).astype(np.int8),
        depthwise_offset=np.array(offsets(60), np.int32),
        input_min=draw(st.integers(-8, 0)),
        input_max=draw(st.integers(1, 7)),
        hidden_max=draw(st.integers(1, 15)),
    )


def said(predictor: Predictor, m: int, x: tuple[int, ...]) -> tuple[int, bool, int]:
    """Of a channel and an input: the score, the gate, the hidden activation."""
    score = sum(int(weight) * one for weight, one in zip(predictor.expand[m], x, strict=True))
    score += int(predictor.expand_offset[m])
    return score, score > 0, max(0, min(predictor.hidden_max, score >> int(predictor.shift[m])))


def said2(predictor: Predictor, m: int, hidden: int) -> tuple[int, bool]:
    """Of a channel and a hidden activation: the score and the gate."""
    score = int(predictor.depthwise[m, 0, 0]) * hidden + int(predictor.depthwise_offset[m])
    return score, score > 0


@settings(max_examples=60)
@given(extreme_predictors())
def test_nothing_changes_and_all_scores_fit(predictor: Predictor) -> None:
    inputs = list(product(range(predictor.input_min, predictor.input_max + 1), repeat=COLUMNS))
    for m in range(8):
        before = [said(predictor, m, x) for x in inputs]
        try:
            told = narrowed("b1", predictor, np.array([m]), SCORE)
        except InputError as error:
            # Its hidden activation changes where scores are too large.
            assert "first scores up to" in str(error)
            assert max(before)[0] >= 1 << (SCORE - 1) and len({hidden for _, _, hidden in before}) > 1
            continue
        after = [said(told, 0, x) for x in inputs]
        assert [gate for _, *gate in before] == [gate for _, *gate in after]
        assert all(-(1 << (SCORE - 1)) <= score < 1 << (SCORE - 1) for score, *_ in after)
        assert 0 <= told.shift[0] < SCORE
        for hidden in range(predictor.hidden_max + 1):
            score, gate = said2(told, 0, hidden)
            assert gate == said2(predictor, m, hidden)[1]
            assert -(1 << (SCORE2 - 1)) <= score < 1 << (SCORE2 - 1)
        for offset, bits in ((told.expand_offset, SCORE), (told.depthwise_offset, SCORE2)):
            assert -(1 << (bits - 1)) <= offset[0] < 1 << (bits - 1)


def predictor_of(weight: int, offset: int, shift: int) -> Predictor:
    """One channel of one input."""
    one = np.ones(1, np.int32)
    return Predictor(
        input_exponent=0,
        expand=np.full((1, 1), weight, np.int8),
        expand_offset=one * offset,
        shift=one.astype(np.int8) * shift,
        depthwise=np.ones((1, 1, 1), np.int8),
        depthwise_offset=one,
    )


def test_only_what_depends_on_larger_scores_is_refused() -> None:
    """Of 7 bits with sign: 1016 + 4 x reaches 1024, a hidden activation of 1 at a shift of 10, and is on everywhere."""
    with pytest.raises(
        InputError, match=r"layer b1: has a predictor with first scores up to 1044, the gateware's have 7 bits"
    ):
        narrowed("b1", predictor_of(4, 1016, 10), np.array([0]), 7)
    for weight, offset, shift, told in (
        (4, 984, 10, (0, 1, 1)),  # never reaches it: always on, hidden activation 0
        (4, 1 << 20, 10, (0, 15, 0)),  # always on and at the top
        (4, -28, 0, (0, 0, 1)),  # never on
        (4, -27, 0, (4, -27, 0)),  # on for the largest input alone
        (4, -27, 31, (4, -27, 6)),  # and its hidden activation always 0
    ):
        found = narrowed("b1", predictor_of(weight, offset, shift), np.array([0]), 7)
        assert (found.expand[0, 0], found.expand_offset[0], found.shift[0]) == told


def test_a_block_with_larger_scores_is_refused() -> None:
    """Of four inputs with weights of 1 at most: 510 with them is on both sides of 512, above 480."""
    case = dense_block(8, 4)
    predictor = case.block.predictor
    assert predictor is not None and predictor.expand[0].any()
    node = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48))
    predictor.expand_offset[0], predictor.shift[0] = 510, 9
    with pytest.raises(InputError, match=r"layer b1: has a predictor with first scores up to 5\d\d, .* 9 bits"):
        emit_group(node, (4, 5, 5), 0, SMALL)
    predictor.expand_offset[0] = 1 << 20
    assert emit_group(node, (4, 5, 5), 0, SMALL).words
