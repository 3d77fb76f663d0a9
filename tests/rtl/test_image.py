"""Images of the global buffer, read by other code than wrote them, fill the core with what every start needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from integer.block_cases import compiled, integer_input
from rtl.blocks import dense_block
from rtl.decode import together
from rtl.decode_image import Start, Write, read_image
from rtl.machines import SMALL
from strategies import BlockCase, bottlenecks

from predfuse.arrays import Int16Array
from predfuse.errors import InputError
from predfuse.hardware.block_work import block_work
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.integer.nodes import FusedBlock
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


def _needed(node: FusedBlock, rows: int, columns: int, high: int, wide: int) -> int:
    """Which bits of a window of ``[high, wide]`` pixels lie under taps of so many output pixels."""
    need = np.zeros((high, wide), np.int16)
    for i, j in np.ndindex(rows, columns):
        need[i * node.stride :, j * node.stride :][: node.kernel, : node.kernel] = -1
    return int.from_bytes(need.astype("<i2").tobytes(), "little")


def _check(case: BlockCase, machine: Machine) -> int:
    """Every memory at every start; how many images there are."""
    node, x = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48)), integer_input(case)
    shape = (x.shape[0], x.shape[1], x.shape[2])
    work, sizes = block_work(node.as_bottleneck(), shape), machine.parameters()
    tiles = work.tiles(machine.tile_rows, machine.tile_columns)
    told = BlockPlan(node, shape, machine).images(x[None], np.zeros((1, *work.out_shape), np.int16))
    memory: dict[tuple[int, int], int] = {}
    streams = [emit_group(node, shape, group, machine) for group in range(node.groups)]
    port = together(sizes)
    used = [{(word.region, word.index // port[word.region][0]) for word in stream.words} for stream in streams]
    begun = finished = 0  # lists, outputs
    running = None
    for image in told:
        for one in read_image(image.lines, image.start_row, sizes):
            if isinstance(one, Write):
                running = None if one.after else running
                if running is not None:
                    at_work = streams[(begun - (running.flags & LISTS > 0 or running.flags == FINISH)) // len(tiles)]
                    assert not _used(running, one, machine, used[at_work.group], at_work.places.halves)
                _write(memory, one, machine)
                continue
            running = one
            group, tile = divmod(begun - (one.flags == FINISH), len(tiles))
            stream = streams[group]
            channels = range(group * work.group_channels, (group + 1) * work.group_channels)
            assert one.half == stream.places.half
            _check_words(memory, stream.words, machine, lists=one.flags != PREDICT)
            if one.flags & LISTS:
                top = tiles[tile].rows.start * node.stride - node.padding[0]
                left = tiles[tile].columns.start * node.stride - node.padding[2]
                for index, c in enumerate(channels, stream.places.first["columns"]):
                    at = one.planes << (machine.columns - 1).bit_length() | index
                    size = machine.plane_rows, machine.plane_columns
                    needed = _needed(node, tiles[tile].rows.size, tiles[tile].columns.size, *size)
                    assert memory[14, at] & needed == _window(x[c], top, left, *size) & needed
                begun += 1
            if one.flags & PREDICT:
                predicted = tile + (one.flags & LISTS)
                _check_parts(memory, one, predicted, machine, case, x, channels)
            if one.flags & FINISH:
                finished += 1
                assert one.rows == tiles[tile].rows.size and one.store[-1] == tiles[tile].columns.size
                if node.residual:
                    _check_residuals(memory, one, tile, machine, case, x, group, stream.places.first["outputs"])
    assert finished == len(tiles) * node.groups
    return len(told)


def _write(memory: dict[tuple[int, int], int], one: Write, machine: Machine) -> None:
    """Of maps, the halves that are named in every bank."""
    if one.region != 4:
        memory[one.region, one.index] = one.bits
        return
    low, bits, some = machine.slots // 2, machine.slots, together(machine.parameters())[4][0]
    halves, index = divmod(one.index, (1 << (machine.taps + 1).bit_length()) // some)
    mine = sum(
        ((halves & 1) * ((1 << low) - 1) | (halves >> 1) * ((1 << bits) - (1 << low))) << bits * place
        for place in range(machine.banks * some)
    )
    memory[4, index] = memory.get((4, index), 0) & ~mine | one.bits & mine


def _used(running: Start, one: Write, machine: Machine, used: set[tuple[int, int]], halves: int) -> bool:
    """Whether the core may look at what is written while it works on a group that uses these words and slots."""
    parts = range(*running.parts)
    if one.region == 14:
        return one.index >> (machine.columns - 1).bit_length() == running.planes and bool(running.flags & LISTS)
    if one.region == 15:
        return one.index // machine.held in parts and bool(running.flags & PREDICT)
    if one.region == 16:
        return one.index in parts and bool(running.flags & PREDICT)
    if one.region == 17:
        return bool(running.flags & FINISH)
    if running.flags == PREDICT and one.region not in (0, 4, 7, 13):
        return False
    if one.region == 4:
        some = together(machine.parameters())[4][0]
        return bool(some * one.index >> (machine.taps + 1).bit_length() & halves)
    return (one.region, one.index) in used


def _check_words(memory: dict[tuple[int, int], int], words: Sequence[Word], machine: Machine, lists: bool) -> None:
    """Those of a group are there; for a prediction alone, what it looks at."""
    port = together(machine.parameters())
    for word in words:
        if not lists and word.region not in (0, 4, 7, 13):
            continue
        index, own, (some, bits) = word.index, word.bits, port[word.region]
        mine = (1 << bits) - 1 if bits else -1
        if word.region == 4:
            halves, index = divmod(index, 1 << (machine.taps + 1).bit_length())
            low = (1 << machine.slots // 2) - 1
            mine = (0, low, mine & ~low, mine)[halves]
        index, place = divmod(index, some)
        assert memory[word.region, index] >> (word.bank * some + place) * bits & mine == own


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
            needed = _needed(node, part.rows, part.columns, machine.side, machine.side)
            assert found & needed == _window(x[c], top, left, machine.side, machine.side) & needed


def _check_residuals(
    memory: dict[tuple[int, int], int], one: Start, index: int, machine: Machine, case: BlockCase, x: Int16Array,
    group: int, output_first: int,
) -> None:  # fmt: skip
    node = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48))
    work = block_work(node.as_bottleneck(), (x.shape[0], x.shape[1], x.shape[2]))
    tile = work.tiles(machine.tile_rows, machine.tile_columns)[index]
    shuffled = np.arange(node.out_channels).reshape(node.shuffle_groups, -1).T.ravel()
    for output in range(work.group_outputs):
        place = int(np.flatnonzero(shuffled == group * work.group_outputs + output)[0])
        for row in range(one.rows):
            wanted = _window(x[place], tile.rows.start + row, tile.columns.start, 1, tile.columns.size)
            assert memory[17, (output_first + output) * machine.tile_rows + row] == wanted


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
