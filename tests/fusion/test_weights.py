"""Fused weights hold every non-zero product once, in order, and refuse what cannot be exact."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from strategies import BlockCase, bottlenecks

from predfuse.errors import InputError
from predfuse.fusion import weights
from predfuse.fusion.weights import SparseLists, entry_counts, fuse
from predfuse.graph.nodes import Bottleneck


def _dictionary(lists: SparseLists) -> dict[tuple[int, int], float]:
    entries = zip(lists.row_of_entries().tolist(), lists.channel.tolist(), lists.value.tolist(), strict=True)
    return {(row, m): value for row, m, value in entries}


@given(bottlenecks(integer=True))
def test_lists_equal_the_loops_of_the_definition(case: BlockCase) -> None:
    block = case.block
    fused = fuse(block, (5, 7))
    taps, channels = block.kernel**2, block.group_channels
    group_middle, group_outputs = block.middle_channels // block.groups, block.out_channels // block.groups
    wanted: dict[str, dict[tuple[int, int], int]] = {name: {} for name in ("f", "b1", "s1", "b2", "s2")}
    for o in range(block.out_channels):
        for local in range(group_middle):
            m = o // group_outputs * group_middle + local
            w2 = int(block.project_weight[o, local])
            wanted["b2"][o, m] = w2 * int(block.depthwise_bias[m])
            wanted["s2"][o, m] = w2 * 7 * (block.depthwise_activation == "relu6")
            for k in range(taps):
                factor = w2 * int(block.depthwise_weight[m].ravel()[k])
                wanted["b1"][o * taps + k, m] = factor * int(block.expand_bias[m])
                wanted["s1"][o * taps + k, m] = factor * 5 * (block.expand_activation == "relu6")
                for c in range(channels):
                    wanted["f"][(o * channels + c) * taps + k, m] = factor * int(block.expand_weight[m, c])
    got = {
        "f": fused.weights,
        "b1": fused.expand_bias,
        "s1": fused.expand_saturated,
        "b2": fused.depthwise_bias,
        "s2": fused.depthwise_saturated,
    }
    for name, lists in got.items():
        assert _dictionary(lists) == {key: value for key, value in wanted[name].items() if value}
        for row in range(lists.rows):
            assert (np.diff(lists.channel[lists.indptr[row] : lists.indptr[row + 1]]) > 0).all()
    assert fused.entries == sum(len(lists) for lists in got.values())
    assert fused.weights.rows == block.out_channels * channels * taps


@given(bottlenecks(integer=True))
def test_sizes_are_known_without_the_lists(case: BlockCase) -> None:
    counts, fused = entry_counts(case.block), fuse(case.block)
    middle, taps = case.block.middle_channels, case.block.kernel**2
    for name in ("weights", "expand_bias", "expand_saturated"):
        lists = getattr(fused, name)
        wanted = np.zeros((middle, taps), np.int64)
        np.add.at(wanted, (lists.channel, lists.row_of_entries() % taps), 1)
        np.testing.assert_array_equal(getattr(counts, name), wanted)
    for name in ("depthwise_bias", "depthwise_saturated"):
        wanted = np.bincount(getattr(fused, name).channel, minlength=middle)
        np.testing.assert_array_equal(getattr(counts, name), wanted)


@given(bottlenecks())
def test_narrower_types_keep_the_structure(case: BlockCase) -> None:
    fused = fuse(case.block)
    narrow = fused.astype(np.float32)
    assert narrow.weights.value.dtype == narrow.output_bias.dtype == np.float32
    np.testing.assert_array_equal(narrow.weights.indptr, fused.weights.indptr)
    np.testing.assert_allclose(narrow.weights.value, fused.weights.value, rtol=1e-6)


def _block(weight: int | float, dtype: type) -> Bottleneck:
    return Bottleneck(
        "b1",
        ("input",),
        np.full((2, 2), weight, dtype),
        np.ones(2, dtype),
        np.full((2, 3, 3), weight, dtype),
        np.ones(2, dtype),
        np.full((2, 2), weight, dtype),
        np.ones(2, dtype),
    )


def test_values_that_overflow_64_bits_are_refused() -> None:
    assert fuse(_block(2**20, np.int64)).weights.value[0] == 2**60
    with pytest.raises(InputError, match="overflow"):
        fuse(_block(2**21, np.int64))


def test_products_that_underflow_are_dropped() -> None:
    assert len(fuse(_block(1e-150, np.float64)).weights) == 0


def test_mixed_types_and_fractional_ceilings_are_refused() -> None:
    block = _block(3, np.int64)
    with pytest.raises(InputError, match="mixes"):
        fuse(dataclasses.replace(block, project_bias=np.ones(2)))
    with pytest.raises(InputError, match="fractions"):
        fuse(block, (5.5, 6))


def test_too_many_fused_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MAX_ENTRIES", 10)
    with pytest.raises(InputError, match="72 fused weights, more than the 10"):
        fuse(_block(1.0, np.float64))
