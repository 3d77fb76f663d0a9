"""Images of the global buffer, read by other code than wrote them, fill the core with what every start needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from integer.block_cases import compiled, integer_input
from rtl.blocks import dense_block
from rtl.decode_image import Start, Write, read_image
from rtl.machines import SMALL
from strategies import BlockCase, bottlenecks

from predfuse.arrays import Int16Array
from predfuse.errors import InputError
from predfuse.hardware.block_work import block_work
from predfuse.hardware.cycle.archon.gateware import Machine, records
from predfuse.integer.options import CompileOptions
from predfuse.rtl.items import predicted_parts
from predfuse.rtl.starts import FINISH, LISTS, PREDICT
from predfuse.rtl.steps import BlockPlan
from predfuse.rtl.streams import emit_group
from predfuse.rtl.words import Word


def _window(x: Int16Array, top: int, left: int, rows: int, columns: int) -> int:
    """``[rows, columns]`` pixels of ``x [H, W]`` from there on, 0 outside, as one number."""
    frame = rows + columns + abs(top) + abs(left)
    padded = np.pad(x, frame)[top + frame :][:rows, left + frame :][:, :columns]
    return int.from_bytes(np.ascontiguousarray(padded, "<i2").tobytes(), "little")


def _check(case: BlockCase, machine: Machine) -> int:
    """Every memory at every start; how many images there are."""
    node, x = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48)), integer_input(case)
    shape = (x.shape[0], x.shape[1], x.shape[2])
    work, sizes = block_work(node.as_bottleneck(), shape), machine.parameters()
    tiles = work.tiles(machine.tile_rows, machine.tile_columns)
    told = BlockPlan(node, shape, machine).images(x[None], np.zeros((1, *work.out_shape), np.int16))
    memory: dict[tuple[int, int], int] = {}
    group = tile = -1
    finished, running = 0, None
    for image in told:
        for one in read_image(image.lines, image.start_row, sizes):
            if isinstance(one, Write):
                running = None if one.after else running
                assert running is None or not _used(running, one, machine)
                memory[one.region, one.index] = one.bits
                if one.region == 0:
                    group, tile = group + 1, -1
                continue
            running = one
            channels = range(group * work.group_channels, (group + 1) * work.group_channels)
            predicted = tile + 1
            if one.flags & LISTS:
                tile += 1
                predicted = tile + 1
                _check_words(memory, emit_group(node, shape, group, machine).words, machine)
                top = tiles[tile].rows.start * node.stride - node.padding[0]
                left = tiles[tile].columns.start * node.stride - node.padding[2]
                for index, c in enumerate(channels):
                    at = one.planes << (machine.columns - 1).bit_length() | index
                    size = machine.plane_rows, machine.plane_columns
                    assert memory[14, at] == _window(x[c], top, left, *size)
            if one.flags & PREDICT:
                _check_parts(memory, one, predicted, machine, case, x, channels)
            if one.flags & FINISH:
                finished += 1
                assert one.rows == tiles[tile].rows.size and one.store[-1] == tiles[tile].columns.size
                if node.residual:
                    _check_residuals(memory, one, tile, machine, case, x, group)
    assert finished == len(tiles) * node.groups
    return len(told)


def _used(running: Start, one: Write, machine: Machine) -> bool:
    """Whether the core may look at what is written while it works."""
    parts = range(*running.parts)
    if one.region == 14:
        return one.index >> (machine.columns - 1).bit_length() == running.planes and bool(running.flags & LISTS)
    if one.region == 15:
        return one.index // machine.held in parts and bool(running.flags & PREDICT)
    if one.region == 16:
        return one.index in parts and bool(running.flags & PREDICT)
    return one.region != 17 or bool(running.flags & FINISH)


def _check_words(memory: dict[tuple[int, int], int], words: Sequence[Word], machine: Machine) -> None:
    bits = {record.region: record.bits for record in records(machine).values()}
    for word in words:
        own = memory[word.region, word.index] >> word.bank * bits[word.region]
        assert own & ((1 << bits[word.region]) - 1) == word.bits


def _check_parts(
    memory: dict[tuple[int, int], int], one: Start, index: int, machine: Machine, case: BlockCase, x: Int16Array,
    channels: range,
) -> None:  # fmt: skip
    block = case.block
    node = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48))
    work = block_work(node.as_bottleneck(), (x.shape[0], x.shape[1], x.shape[2]))
    tile = work.tiles(machine.tile_rows, machine.tile_columns)[index]
    parts = predicted_parts(work, tile, machine)
    assert one.parts[1] - one.parts[0] == len(parts)
    for slot, (part, reading) in enumerate(parts, one.parts[0]):
        assert memory[16, slot] & 0xFFFF == reading
        top = (tile.rows.start + part.row) * block.stride - block.padding[0]
        left = (tile.columns.start + part.column) * block.stride - block.padding[2]
        for place, c in enumerate(channels):
            found = memory[15, slot * machine.held + place]
            assert found == _window(x[c], top, left, machine.side, machine.side)


def _check_residuals(
    memory: dict[tuple[int, int], int], one: Start, index: int, machine: Machine, case: BlockCase, x: Int16Array,
    group: int,
) -> None:  # fmt: skip
    node = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48))
    work = block_work(node.as_bottleneck(), (x.shape[0], x.shape[1], x.shape[2]))
    tile = work.tiles(machine.tile_rows, machine.tile_columns)[index]
    shuffled = np.arange(node.out_channels).reshape(node.shuffle_groups, -1).T.ravel()
    for output in range(work.group_outputs):
        place = int(np.flatnonzero(shuffled == group * work.group_outputs + output)[0])
        for row in range(one.rows):
            wanted = _window(x[place], tile.rows.start + row, tile.columns.start, 1, tile.columns.size)
            assert memory[17, output * machine.tile_rows + row] == wanted


@settings(max_examples=100)
@given(bottlenecks(with_predictor=True))
def test_every_start_finds_what_it_needs(case: BlockCase) -> None:
    assume(case.block.depthwise_weight.shape[1] <= SMALL.kernel and case.block.stride <= 2)
    try:
        _check(case, SMALL)
    except InputError:
        assume(False)  # the predictor does not hold its inputs


def test_what_is_too_much_comes_in_several_images_tile_by_tile() -> None:
    case = dense_block(3, 3)
    whole = _check(case, SMALL)
    assert whole == 1 < _check(case, replace(SMALL, buffer_lines=40))


def test_a_buffer_too_small_for_a_tile_is_refused() -> None:
    with pytest.raises(InputError, match="lines of the global buffer at once"):
        _check(dense_block(3, 3), replace(SMALL, buffer_lines=8))
