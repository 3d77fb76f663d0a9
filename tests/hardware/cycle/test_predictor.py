"""The predictor of its own: parts of a tile, inputs to be read, gate words overwritten as they become free."""

from __future__ import annotations

import numpy as np
import pytest
from hardware.cycle.machines import archon, with_predictors
from hypothesis import given, strategies as st

from predfuse import models
from predfuse.errors import InputError
from predfuse.hardware.block_work import BlockWork, block_work
from predfuse.hardware.closed_form.simulate import simulate
from predfuse.hardware.cycle.archon.block import _predictions
from predfuse.hardware.cycle.archon.group_plan import plan_groups
from predfuse.hardware.cycle.archon.machine import prepare
from predfuse.hardware.cycle.archon.predictor import predicted_parts, rectangle_accesses, tile_predict_time
from predfuse.hardware.cycle.archon.tile_work import plan_item
from predfuse.hardware.cycle.memory.buffer import Place
from predfuse.hardware.pruning import prune_blocks
from predfuse.hardware.vary import with_fields

ON_CHIP = Place(input_on_chip=True, output_on_chip=True, residual_on_chip=True, free_words=1 << 20)


def work_of(channels: int, kernel: int, stride: int, size: int) -> BlockWork:
    """A block of one group, every weight there."""
    out = -(-size // stride)
    before = kernel // 2
    padding = (before, (out - 1) * stride + kernel - size - before) * 2
    return BlockWork(
        name="b1",
        in_shape=(channels, size, size),
        out_shape=(4, out, out),
        groups=1,
        kernel=kernel,
        stride=stride,
        padding=(padding[0], padding[1], padding[0], padding[1]),
        residual=False,
        expand=np.ones((8, channels), bool),
        depthwise=np.ones((8, kernel**2), bool),
        project=np.ones((4, 8), bool),
        expand_bias=np.zeros(8, bool),
        depthwise_bias=np.zeros(8, bool),
    )


@given(
    st.integers(1, 40),
    st.sampled_from((1, 3, 5)),
    st.integers(1, 2),
    st.integers(1, 20),
    st.integers(8, 120),
    st.booleans(),
)
def test_parts_fit_and_cover_the_tile(
    channels: int, kernel: int, stride: int, size: int, units: int, square: bool
) -> None:
    work = work_of(channels, kernel, stride, size)
    own = archon().design.structures
    assert own is not None
    own = own.model_copy(update={"predictor_units": units, "hidden_plane_pixels": 100})
    at_once, side, rows_most = units, 100, 100
    if square:  # units make whole rows, and hold the inputs of two rounds
        side, at_once = 10, max(10, min(units, 100) // 10 * 10)
        rows_most = min(10, at_once // 10 * (2 if channels <= own.predictor_inputs else 1))
    held = min(100, at_once * own.predictor_inputs // channels)
    for tile in work.tiles(8, 8):
        # The plane holds borders of the image too, the registers do not.
        high, wide = ((out.size - 1) * stride + kernel for out in (tile.rows, tile.columns))
        whole = high <= rows_most and wide <= side and tile.input_pixels <= held
        if (held < kernel**2 or rows_most < kernel) and not whole:
            with pytest.raises(InputError, match="one output pixel needs"):
                predicted_parts(work, tile, own, square)
            continue
        parts = predicted_parts(work, tile, own, square)
        if whole:
            (part,) = parts
            assert (part.input_rows, part.input_columns) == (tile.input_rows.size, tile.input_columns.size)
            continue
        assert max(part.input_rows * part.input_columns for part in parts) <= held
        assert max(part.input_columns for part in parts) <= side
        assert max(part.input_rows for part in parts) <= rows_most
        covered = np.zeros((tile.rows.size, tile.columns.size), np.int64)
        for part in parts:
            covered[part.row : part.row + part.rows, part.column : part.column + part.columns] += 1
            assert part.input_rows == (part.rows - 1) * stride + kernel
        assert (covered == 1).all()
        # One part less, however the tile is cut into equal rectangles, does not fit.
        for down in range(1, len(parts)):
            for across in range(1, (len(parts) - 1) // down + 1):
                rows = (-(-tile.rows.size // down) - 1) * stride + kernel
                columns = (-(-tile.columns.size // across) - 1) * stride + kernel
                fits = rows * columns <= held and rows <= rows_most and columns <= side
                assert not fits or down > tile.rows.size or across > tile.columns.size


def test_inputs_are_read_before_a_tile_is_predicted() -> None:
    spec, work = archon(), work_of(channels=6, kernel=3, stride=1, size=8)
    tile = work.tiles(8, 8)[0]
    reading = -(-6 * rectangle_accesses(8, 8, spec) // spec.global_buffer.banks)
    # Nine gate words a channel, seven a cycle, take longer than a channel a cycle; the first plane comes before them.
    words = np.full(8, 9)
    time = tile_predict_time(work, words, tile, spec)
    assert time.expand_cycles == reading + 8 + spec.design.fill_cycles
    assert time.cycles == reading + 1 + 8 * 2 + spec.design.fill_cycles
    slow = with_fields(spec, {"design.structures.gate_writes": 1})
    assert tile_predict_time(work, words, tile, slow).cycles == reading + 1 + 72 + spec.design.fill_cycles


@given(st.lists(st.integers(0, 10), min_size=1, max_size=9), st.integers(1, 4), st.integers(1, 6), st.booleans())
def test_stages_take_turns_with_two_hidden_planes(words: list[int], rounds: int, writes: int, wide: bool) -> None:
    """Cycle by cycle: the first stage fills a plane that is free, the second empties the one that was filled first."""
    work = work_of(channels=16 * rounds, kernel=5 if wide else 3, stride=1, size=4)
    spec = with_fields(archon(), {"design.structures.gate_writes": writes, "design.structures.predictor_units": 200})
    tile = work.tiles(8, 8)[0]
    time = tile_predict_time(work, np.array(words), tile, spec)
    clock = expanded = written = left = at = begun = 0
    while written < len(words):
        clock += 1
        if written < expanded:  # a plane is full
            if left == 0:
                begun += 1
                left = max(4 if wide else 1, -(-words[written] // writes))
            left -= 1
        if expanded < len(words) and expanded - written < 2:
            at += 1
        if at == rounds:
            expanded, at = expanded + 1, 0
        if left == 0 and begun > written:
            written += 1
    accesses = -(-16 * rounds * rectangle_accesses(4, 4, spec) // spec.global_buffer.banks)
    assert time.cycles == accesses + spec.design.fill_cycles + clock
    assert time.parts == ((accesses + spec.design.fill_cycles, rounds),)


def test_parts_write_every_gate_word_in_part() -> None:
    spec, work = archon(), work_of(channels=24, kernel=3, stride=2, size=16)
    tile = work.tiles(8, 8)[0]
    (plan,) = plan_groups(work, spec)
    item = plan_item(work, plan, tile, True, 1, spec, ON_CHIP)
    assert item.predict_parts == len(predicted_parts(work, tile, spec.design.structures)) > 1  # type: ignore[arg-type]
    cycles = -(-plan.channel_words // spec.design.structures.gate_writes)  # type: ignore[union-attr]
    assert item.predict.cycles >= item.predict_parts * cycles.sum()


def test_predictions_run_beside_lists_where_gate_words_have_places() -> None:
    """Alone they are fastest; beside lists they wait for banks; into places of the tile before they end after it reads
    them for the last time."""
    network = with_predictors(prune_blocks(models.network("fusionet"), 0.05, 0.2))
    shapes = network.shapes()
    block = next(iter(network.bottlenecks()))
    work = block_work(block, shapes[block.inputs[0]])
    tile = work.tiles(8, 8)[0]
    plans, released = {}, {}
    for depth in (36, 1 << 12):
        spec = with_fields(archon(), {"mask_buffer.depth": depth})
        plan = plan_groups(work, spec)[0]
        item = plan_item(work, plan, tile, False, 16, spec, ON_CHIP)
        assert plan.traffic is not None
        released[depth] = int(plan.traffic.release.max())
        for name, last, same in (("first", None, False), ("other group", plan, False), ("same group", plan, True)):
            plans[name, depth] = _predictions(plan, last, item, same, 5, spec)
    alone = plans["first", 36]
    assert not alone.beside and not alone.behind and alone.cycles >= item.predict.cycles
    assert plans["other group", 36] == plans["first", 1 << 12] == alone
    roomy = plans["same group", 1 << 12]
    assert roomy.beside and not roomy.behind and roomy.cycles >= alone.cycles
    tight = plans["same group", 36]
    assert not tight.beside and tight.cycles >= alone.cycles
    assert tight.behind > released[36] + 5


def test_sums_without_room_for_the_next_tile_are_written_first() -> None:
    work = work_of(channels=2, kernel=3, stride=1, size=8)
    for words, waits in ((2, True), (4, False)):
        spec = with_fields(archon(), {"pe.psum_regfile_words": words})  # 4 outputs, 2 of them a PE
        (plan,) = plan_groups(work, spec)
        item = plan_item(work, plan, work.tiles(8, 8)[0], True, 1, spec, ON_CHIP)
        # Otherwise every PE gives up a cycle for each of its two sums.
        assert item.drain_cycles == (-(-item.output_writes // spec.global_buffer.banks) if waits else 2)


def test_blocks_whose_windows_the_predictor_does_not_hold_run_unfused() -> None:
    network = with_predictors(prune_blocks(models.network("fusionet-s"), 0.1, 0.3))
    first, *others = (block.name for block in network.bottlenecks())
    channels = {block.name: block.group_channels for block in network.bottlenecks()}
    spec = archon()
    own = spec.design.structures
    assert own is not None and channels[first] < channels[others[-1]]
    units = -(-9 * channels[first] // own.predictor_inputs)
    tight = with_fields(spec, {"design.structures.predictor_units": units})
    prepared = prepare(network, tight)
    assert set(prepared.blocks) == {name for name, wide in channels.items() if wide == channels[first]}
    held = units * own.predictor_inputs // channels[others[-1]]
    reason = f"the predictor holds {held} pixels of {channels[others[-1]]} channels, a window has 9"
    assert prepared.reasons[others[-1]] == reason
    status = {entry.node: (entry.status, entry.reason) for entry in simulate(network, tight).ledger}
    assert status[first] == ("fused", "") and status[others[-1]] == ("plain", reason)


def test_networks_with_large_halos_run_in_parts() -> None:
    network = with_predictors(prune_blocks(models.network("mnasnet-fused"), 0.1, 0.3))
    spec, shapes = archon(), network.shapes()
    kernels = set()
    for block in network.bottlenecks():
        work = block_work(block, shapes[block.inputs[0]])
        for tile in work.tiles(8, 8):
            kernels.add((work.kernel, work.stride, len(predicted_parts(work, tile, spec.design.structures))))  # type: ignore[arg-type]
    assert any(parts > 1 for kernel, stride, parts in kernels if stride == 2)
