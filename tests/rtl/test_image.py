"""Images of the global buffer, read by other code than wrote them, fill the core with what every start needs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st
from integer.block_cases import compiled, integer_input
from rtl.blocks import chains, dense_block
from rtl.decode import together
from rtl.decode_image import Start, Write, read_image
from rtl.machines import SMALL
from strategies import BlockCase, bottlenecks

from predfuse.arrays import Int16Array
from predfuse.errors import InputError
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.sequence.commands import BEHIND, FINISH, LISTS, PREDICT
from predfuse.hardware.cycle.archon.sequence.parts import predicted_parts
from predfuse.integer.nodes import FusedBlock
from predfuse.integer.options import CompileOptions
from predfuse.integer.tiling import Tile
from predfuse.rtl.steps import plan_chain
from predfuse.rtl.streams import GroupStream
from predfuse.rtl.words import Word

LIST_REGIONS = frozenset(range(13))
"""What lists look at."""
PREDICTOR_REGIONS = frozenset((0, 4, 7, 13))
"""What a prediction looks at."""


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


@dataclass(frozen=True)
class _Item:
    """A tile of a group, worked on: of which block, and where in it."""

    case: BlockCase
    node: FusedBlock
    x: Int16Array
    stream: GroupStream
    index: int
    block: int
    number: int

    @property
    def tile(self) -> Tile:
        machine = self.stream.machine
        return self.stream.work.tiles(machine.tile_rows, machine.tile_columns)[self.index]


def _check(cases: Sequence[BlockCase], machine: Machine, reads: bool = False) -> int:
    """Every memory at every start of a chain of blocks, where each may read what the one before makes; how many images
    there are."""
    nodes = [compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48)) for case in cases]
    inputs = [integer_input(case) for case in cases]
    shapes = [(x.shape[0], x.shape[1], x.shape[2]) for x in inputs]
    reading = [reads and block > 0 for block in range(len(cases))]
    plan, sizes = plan_chain(list(zip(nodes, shapes, strict=True)), machine, reading), machine.parameters()
    items: list[_Item] = []
    for block, (case, node, x, streams) in enumerate(zip(cases, nodes, inputs, plan.streams, strict=True)):
        tiles = range(len(streams[0].work.tiles(machine.tile_rows, machine.tile_columns)))
        assert sorted(stream.group for stream in streams) == list(range(node.groups))
        own = itertools.product(streams, tiles)
        items += [_Item(case, node, x, stream, tile, block, number) for number, (stream, tile) in enumerate(own)]
    # A block that reads what the one before makes is given the test's pixels, as if that had made them.
    outputs = [_none(streams) for streams in plan.streams]
    told = plan.images(inputs, [*inputs[1:], outputs[-1]] if reads else outputs, 0)
    memory: dict[tuple[int, int], int] = {}
    begun = finished = 0  # lists, outputs
    places: list[range] = []  # of the outputs of every item
    last: list[Write] = []  # of the fill before, which may go on beside a start that does not wait for it
    for image in told:
        used: list[_Used] = []
        for one in read_image(image.lines, image.start_row, sizes):
            if isinstance(one, Write):
                over = LISTS * one.lists | FINISH * one.left
                used = [] if one.after else [own for own in used if not own.flags & over]
                assert not any(own.looks_at(one) for own in used)
                _write(memory, one, machine)
                last = [*(last if last and last[0].fill == one.fill else []), one]
                continue
            used = []
            if one.flags & PREDICT:
                ahead = items[begun + (one.flags & LISTS)]
                # A block is predicted when all outputs of the block before are in the buffer, where it does not flow.
                begins = ahead.number == 0 and not plan.flows[ahead.block]
                assert not begins or (finished == begun and not one.flags & LISTS)
                used.append(_Used(one, machine, PREDICT, ahead.stream, range(0)))
                assert one.predict_half == ahead.stream.places.half
                _check_words(memory, ahead.stream.words, machine, PREDICTOR_REGIONS)
                if one.flags & LISTS:
                    _check_gate_words(one, items[begun].stream, ahead.stream, machine)
                _check_parts(memory, one, ahead, machine)
            if one.flags & FINISH:
                item = items[finished]
                used.append(_Used(one, machine, FINISH, item.stream, places[finished]))
                assert one.store[-1] == item.tile.columns.size
                _check_words(memory, item.stream.words, machine, {1})
                if item.node.residual:
                    _check_residuals(memory, item, machine, places[finished].start)
                finished += 1
            if one.flags & LISTS:
                item = items[begun]
                stream, tile, node = item.stream, item.tile, item.node
                used.append(_Used(one, machine, LISTS, stream, range(0)))
                assert (one.half, one.rows) == (stream.places.half, tile.rows.size)
                _check_words(memory, stream.words, machine, LIST_REGIONS)
                top, left = (
                    span.start * node.stride - node.padding[side] for span, side in ((tile.rows, 0), (tile.columns, 2))
                )
                for index, c in enumerate(_channels(stream), stream.places.first["columns"]):
                    at = one.planes << (machine.columns - 1).bit_length() | index
                    size = machine.plane_rows, machine.plane_columns
                    needed = _needed(node, tile.rows.size, tile.columns.size, *size)
                    assert memory[14, at] & needed == _window(item.x[c], top, left, *size) & needed
                assert finished == begun  # all outputs before have left or leave now
                places.append(_places(one, stream, machine))
                if one.flags & FINISH:
                    read, added = ({place // machine.lists for place in own} for own in places[-2:])
                    assert not read & added
                begun += 1
            last = [] if one.after else last
            assert not any(own.looks_at(write) for own in used for write in last)
    assert finished == len(items)
    return len(told)


def _none(streams: Sequence[GroupStream]) -> Int16Array:
    """Outputs of a block, all 0."""
    return np.zeros(streams[0].work.out_shape, np.int16)


def _channels(stream: GroupStream) -> range:
    """Of the input, that a group has."""
    return range(stream.group * stream.work.group_channels, (stream.group + 1) * stream.work.group_channels)


def _places(one: Start, stream: GroupStream, machine: Machine) -> range:
    """Where the sums of every output are, and its residuals: in one of two sets, half of the words apart."""
    words = machine.outputs // machine.lists
    first = stream.places.first["outputs"] + one.second * (words // 2) * machine.lists
    first -= machine.outputs * (first >= machine.outputs)
    assert first + stream.work.group_outputs <= machine.outputs
    return range(first, first + stream.work.group_outputs)


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


@dataclass(frozen=True)
class _Used:
    """What the core may look at while it works for a group: its lists and outputs, or a prediction of it."""

    start: Start
    machine: Machine
    flags: int
    stream: GroupStream
    places: range

    def looks_at(self, one: Write) -> bool:
        machine, lists, predicts = self.machine, bool(self.flags & LISTS), bool(self.flags & PREDICT)
        parts = range(*self.start.parts)
        if one.region == 14:
            return one.index >> (machine.columns - 1).bit_length() == self.start.planes and lists
        if one.region == 15:
            return one.index // machine.held in parts and predicts
        if one.region == 16:
            return one.index in parts and predicts
        if one.region == 17:
            return one.index // machine.tile_rows in self.places
        # What outputs leave by is known when they begin.
        if one.region not in (PREDICTOR_REGIONS if predicts else LIST_REGIONS if lists else {1}):
            return False
        if one.region == 4:
            some = together(machine.parameters())[4][0]
            return bool(some * one.index >> (machine.taps + 1).bit_length() & self.stream.places.halves)
        some = together(machine.parameters())[one.region][0]
        return any(word.region == one.region and word.index // some == one.index for word in self.stream.words)


def _check_words(
    memory: dict[tuple[int, int], int], words: Sequence[Word], machine: Machine, regions: Set[int]
) -> None:
    """Those of a group are there that are looked at."""
    port = together(machine.parameters())
    for word in words:
        if word.region not in regions:
            continue
        index, own, (some, bits) = word.index, word.bits, port[word.region]
        mine = (1 << bits) - 1 if bits else -1
        if word.region == 4:
            halves, index = divmod(index, 1 << (machine.taps + 1).bit_length())
            low = (1 << machine.slots // 2) - 1
            mine = (0, low, mine & ~low, mine)[halves]
        index, place = divmod(index, some)
        assert memory[word.region, index] >> (word.bank * some + place) * bits & mine == own


def _check_gate_words(one: Start, stream: GroupStream, ahead: GroupStream, machine: Machine) -> None:
    """The words that are written take no places of those that are read, but where they follow them one by one."""
    read, written = (
        range(offset, offset + own.gate_words) for offset, own in zip(one.offsets, (stream, ahead), strict=True)
    )
    assert written.stop <= machine.gate_words
    if one.flags & BEHIND:
        assert read == written
    else:
        assert read.stop <= written.start or written.stop <= read.start


def _check_parts(memory: dict[tuple[int, int], int], one: Start, item: _Item, machine: Machine) -> None:
    node, work, tile = item.node, item.stream.work, item.tile
    parts = predicted_parts(work, tile, machine)
    assert one.parts[1] - one.parts[0] == len(parts)
    for slot, (part, reading) in enumerate(parts, one.parts[0]):
        assert memory[16, slot] & 0xFFFF == reading
        top = (tile.rows.start + part.row) * node.stride - node.padding[0]
        left = (tile.columns.start + part.column) * node.stride - node.padding[2]
        for place, c in enumerate(_channels(item.stream)):
            found = memory[15, slot * machine.held + place]
            needed = _needed(node, part.rows, part.columns, machine.side, machine.side)
            assert found & needed == _window(item.x[c], top, left, machine.side, machine.side) & needed


def _check_residuals(memory: dict[tuple[int, int], int], item: _Item, machine: Machine, first: int) -> None:
    node, work, tile = item.node, item.stream.work, item.tile
    shuffled = np.arange(node.out_channels).reshape(node.shuffle_groups, -1).T.ravel()
    for output in range(work.group_outputs):
        place = int(np.flatnonzero(shuffled == item.stream.group * work.group_outputs + output)[0])
        for row in range(tile.rows.size):
            wanted = _window(item.x[place], tile.rows.start + row, tile.columns.start, 1, tile.columns.size)
            assert memory[17, (first + output) * machine.tile_rows + row] == wanted


@settings(max_examples=100)
@given(
    st.lists(bottlenecks(with_predictor=True), min_size=1, max_size=3),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([8, 16]),
)
def test_every_start_finds_what_it_needs(cases: list[BlockCase], rows: int, banks: int) -> None:
    assume(all(case.block.depthwise_weight.shape[1] <= SMALL.kernel and case.block.stride <= 2 for case in cases))
    try:
        _check(cases, replace(SMALL, access_rows=rows, buffer_banks=banks))
    except InputError:
        assume(False)  # the predictor does not hold its inputs


@settings(max_examples=100)
@given(
    chains(),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([8, 16]),
    st.sampled_from([2, SMALL.parts]),
    st.sampled_from([64, SMALL.buffer_lines]),
)
def test_blocks_that_flow_find_what_has_left(
    cases: list[BlockCase], rows: int, banks: int, parts: int, lines: int
) -> None:
    """What has not left when an image begins is 0 there; parts of two tiles share a memory, where it holds them."""
    assume(all(case.block.depthwise_weight.shape[1] <= SMALL.kernel and case.block.stride <= 2 for case in cases))
    machine = replace(SMALL, access_rows=rows, buffer_banks=banks, parts=parts, buffer_lines=lines)
    try:
        _check(cases, machine, True)
    except InputError:
        assume(False)  # the predictor does not hold its inputs


@st.composite
def _narrower_windows(draw: st.DrawFn) -> list[BlockCase]:
    """Two blocks, the first predicted in as many parts as SMALL has with a memory of 2, the second in fewer."""

    def narrow(kernel: int) -> Callable[[BlockCase], bool]:
        return lambda case: case.block.groups == 4 and case.block.depthwise_weight.shape[1] == kernel

    shape = 8, draw(st.integers(5, 7)), draw(st.integers(5, 7))
    first = draw(bottlenecks("b0", in_shape=shape, with_predictor=True).filter(narrow(3)))
    second = bottlenecks("b1", in_shape=first.block.output_shape([shape]), with_predictor=True)
    return [first, draw(second.filter(narrow(1)))]


@settings(max_examples=50, suppress_health_check=[HealthCheck.filter_too_much])
@given(_narrower_windows())
def test_parts_take_no_places_in_use(cases: list[BlockCase]) -> None:
    """Neither where one block has parts of two tiles in the memory, and the one before of one."""
    try:
        _check(cases, replace(SMALL, parts=2, buffer_lines=64), True)
    except InputError:
        assume(False)  # the predictor does not hold its inputs


def test_what_is_too_much_comes_in_several_images_tile_by_tile() -> None:
    case = dense_block(3, 3)
    whole = _check([case], SMALL)
    assert whole == 1 < _check([case], replace(SMALL, buffer_lines=40))


def test_a_buffer_too_small_for_a_tile_is_refused() -> None:
    with pytest.raises(InputError, match="lines of the global buffer at once"):
        _check([dense_block(3, 3)], replace(SMALL, buffer_lines=8))
