"""What the words of a group say, read by other code than wrote them, is what was planned."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from integer.block_cases import compiled
from rtl.decode import Decoder, Load, Rule, scores
from rtl.machines import SMALL
from strategies import BlockCase, bottlenecks

from predfuse.errors import InputError
from predfuse.hardware.cycle.archon.sequence.flow import Chain
from predfuse.hardware.cycle.archon.sequence.group import BEHIND_LISTS
from predfuse.hardware.cycle.archon.sequence.order import order
from predfuse.integer.options import CompileOptions
from predfuse.rtl.narrow import narrowed
from predfuse.rtl.streams import GroupStream, emit_group

SIZES = SMALL.parameters()


@settings(max_examples=100)
@given(bottlenecks(with_predictor=True))
def test_words_say_what_was_planned(case: BlockCase) -> None:
    assume(case.block.depthwise_weight.shape[1] <= SMALL.kernel and case.block.stride <= 2)
    node = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48))
    shape = (case.x.shape[0], case.x.shape[1], case.x.shape[2])
    for group in range(node.groups):
        stream = emit_group(node, shape, group, SMALL)
        decoder = Decoder(stream.words, SIZES)
        passes = decoder.passes()
        assert [set(loads) for loads in map(_keys, passes)] == _planned(stream)
        _check_rules(stream, decoder.rules())
        _check_channels(stream, decoder, passes)


def _keys(loads: tuple[Load, ...]) -> list[tuple[object, ...]]:
    keys: list[tuple[object, ...]] = []
    for one in loads:
        what = one.cycle, one.bank, one.slot, one.tap, one.lane, one.gate_bank, one.factor, one.depthwise
        keys.append((*what, *sorted(one.project.items())))
    assert len(set(keys)) == len(keys)
    return keys


def _grid(stream: GroupStream) -> list[int]:
    kernel, work = stream.machine.kernel, stream.work
    return [k // work.kernel * kernel + k % work.kernel for k in range(work.taps)] + [kernel**2]


def _slots(stream: GroupStream) -> dict[int, int]:
    """Slot of every channel that is in a pass or predicted: in ascending order within its bank."""
    slots: dict[int, int] = {}
    low = stream.machine.slots // 2
    fullest = np.bincount(stream.bank[stream.order], minlength=1).max()
    filled = [low * (stream.group % 2) if fullest <= low else 0] * stream.machine.banks
    for m in sorted(int(m) for m in stream.order):
        slots[m] = filled[stream.bank[m]]
        filled[stream.bank[m]] += 1
    return slots


def _planned(stream: GroupStream) -> list[set[tuple[object, ...]]]:
    node, work, passes, grid, slots = stream.node, stream.work, stream.passes, _grid(stream), _slots(stream)
    first, first_output = stream.group * work.group_middle, stream.group * work.group_outputs
    planned = []
    for index in range(len(passes.indptr) - 1):
        span = slice(int(passes.indptr[index]), int(passes.indptr[index + 1]))
        lanes = stream.times.lanes[span]
        keys: set[tuple[object, ...]] = set()
        for offset, member in enumerate(range(span.start, span.stop)):
            m, k, column = int(passes.channel[member]), int(passes.tap[member]), int(passes.column[index])
            bank = int(stream.bank[m])
            if column >= 0:
                factor = int(node.expand[first + m, column])
            else:
                factor = int((node.depthwise_bias if k == work.taps else node.expand_bias)[first + m])
            depthwise = int(node.depthwise[first + m].ravel()[k]) if k < work.taps else 0
            project = [
                (o, int(node.project[first_output + o, m]))
                for o in range(work.group_outputs)
                if int(passes.outputs[member]) >> o & 1
            ]
            when, lane = int(stream.times.read_cycles[member]), int(lanes[offset])
            gate_bank = (bank + int(stream.turns[k])) % stream.machine.banks
            keys.add((when, bank, slots[m], grid[k], lane, gate_bank, factor, depthwise, *project))
        planned.append(keys)
    return planned


def _check_rules(stream: GroupStream, rules: list[Rule]) -> None:
    node, work = stream.node, stream.work
    first = stream.group * work.group_outputs
    # Where the output of the program, whose channels are shuffled, has them.
    shuffled = np.arange(node.out_channels).reshape(node.shuffle_groups, -1).T.ravel()
    for o, rule in zip(range(first, first + work.group_outputs), rules, strict=True):
        names = ("weight_shift", "expand_bias_shift", "depthwise_bias_shift", "shift")
        exponents = ("expand_bias_exponent", "depthwise_bias_exponent")
        for name in (*names, *exponents):
            assert getattr(rule, name) == getattr(node, name)[o]
        assert rule.bias == node.output_bias[o]
        assert shuffled[rule.place] == o


def _behind(stream: GroupStream) -> bool | None:
    """Whether a tile is predicted behind the lists of the one before; None of a block the predictor does not take."""
    try:
        return any(item.how == BEHIND_LISTS for item in order(Chain(((stream.sizes,),), (False,)), [0]))
    except InputError:
        return None


def _check_channels(stream: GroupStream, decoder: Decoder, passes: list[tuple[Load, ...]]) -> None:
    work, predictor = stream.work, stream.node.predictor
    slots, grid = _slots(stream), _grid(stream)
    channel_of = {(int(stream.bank[m]), slot): m for m, slot in slots.items()}
    read = {}
    last: dict[int, int] = {}
    for index, loads in enumerate(passes):
        for load in loads:
            read[load.bank, load.slot, load.tap] = load.gate_bank, load.gate_at
            last[channel_of[load.bank, load.slot]] = index
    written = {}
    behind = _behind(stream)
    channels = decoder.channels()
    assert [channel_of[entry.bank, entry.slot] for entry in channels] == stream.order.tolist()
    for entry in channels:
        m = channel_of[entry.bank, entry.slot]
        row = stream.group * work.group_middle + m
        assert behind is None or entry.release == (last.get(m, 0) if behind else 0)
        told = narrowed("", predictor, np.array([row]), scores(SIZES)[0])  # test_narrow has the same by brute force
        assert list(entry.expand[: work.group_channels]) == told.expand[0].tolist()
        assert not any(entry.expand[work.group_channels :])
        assert (entry.expand_offset, entry.shift) == (told.expand_offset[0], told.shift[0])
        assert [entry.depthwise[tap] for tap in grid[:-1]] == told.depthwise[0].ravel().tolist()
        assert entry.depthwise_offset == told.depthwise_offset[0]
        written.update({(entry.bank, entry.slot, tap): (bank, at) for tap, bank, at in entry.writes})
    # Every gate word has a place of its own, within the words of a tile, and is read where it was written.
    assert len(set(written.values())) == len(written)
    assert max((at for _, at in written.values()), default=-1) < stream.gate_words <= stream.machine.gate_words
    assert read.items() <= written.items()
