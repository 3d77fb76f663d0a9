"""A fused block tile by tile: predictions on chip, fused weights made from their factors, one multiplication a list.

Items are a group of channels on a tile of output pixels, group by group, so that the weights of a group are fetched
once. :mod:`predfuse.hardware.cycle.archon.layerwise` is the published order instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.block_actions import block_actions, ternary_additions
from predfuse.hardware.cycle.archon.gate_memory import PredictorRate, written_cycles
from predfuse.hardware.cycle.archon.gates import Gates
from predfuse.hardware.cycle.archon.group_plan import GroupPlan
from predfuse.hardware.cycle.archon.predictor import channels_at_once
from predfuse.hardware.cycle.archon.sequence.timing import BlockTime
from predfuse.hardware.cycle.archon.tile_work import Item, keeps_weights, plan_item
from predfuse.hardware.cycle.archon.timed_steps import timed_steps
from predfuse.hardware.cycle.elementwise import STREAM_BITS, stream_bits
from predfuse.hardware.cycle.memory.buffer import Place
from predfuse.hardware.cycle.memory.steps import Step, Steps, split_step
from predfuse.hardware.cycle.plan import LayerPlan, StagePlan
from predfuse.hardware.spec import ArchonSpec
from predfuse.hardware.workload import MAIN, PREDICT_DEPTHWISE, PREDICT_EXPAND
from predfuse.integer.tiling import Tile


def plan_block(
    work: BlockWork,
    groups: Sequence[GroupPlan],
    gates: Gates,
    tiles: Sequence[Tile],
    spec: ArchonSpec,
    place: Place,
    time: BlockTime | None = None,
) -> LayerPlan:
    """Steps and actions of a block for the masks of one image.

    Args:
        work: The block, as charged (:func:`predfuse.hardware.cycle.archon.group_plan.charged_work`).
        groups: Its groups.
        gates: Of the image.
        tiles: That cover the output.
        spec: The machine.
        place: Where its feature maps are.
        time: On its gateware, if that holds the block; else it is estimated.
    """
    items = [
        [plan_item(work, plan, tile, index == 0, len(tiles), spec, place) for index, tile in enumerate(tiles)]
        for plan in groups
    ]
    if time is None:
        steps, main_cycles = _estimated_steps(work, groups, items, spec, place)
    else:
        steps = timed_steps(work.name, groups, [item for row in items for item in row], time, spec, place)
        main_cycles = time.cycles - time.predict_cycles
    return LayerPlan(work.name, Steps.of(steps), _stages(work, groups, items, gates, spec, main_cycles))


def _estimated_steps(
    work: BlockWork,
    groups: Sequence[GroupPlan],
    items: Sequence[Sequence[Item]],
    spec: ArchonSpec,
    place: Place,
) -> tuple[list[Step], int]:
    """Steps of a block without gateware, and the cycles of lists and fills in them."""
    tiles = len(items[0])
    kept = [keeps_weights(plan, tiles, spec, place) for plan in groups]
    fills = [_fills(groups, kept, tiles, number, spec) for number in range(len(groups) * tiles)]
    steps: list[Step] = []
    main_cycles = before = delay = 0  # sub-steps of the item before, and how late its lists may be
    last: GroupPlan | None = None
    double = _double_buffered(work, groups, items, spec, place)
    for number, fill in enumerate(fills):
        group, index = divmod(number, tiles)
        plan, item = groups[group], items[group][index]
        assert plan.times is not None  # gates are in registers
        sent, accesses, filled = plan.times.cycles, item.accesses, item.fill_accesses
        if number + 1 < len(fills) and fills[number + 1].beside:
            accesses += fills[number + 1].accesses
            filled += fills[number + 1].beside if filled else 0
        beside = max(sent, -(-accesses // spec.global_buffer.banks), filled)
        alone = fill.alone
        main = beside + item.drain_cycles + spec.design.fill_cycles
        main_cycles += alone + main
        predict = _predictions(plan, last, item, index > 0 and kept[group], delay, spec)
        step = Step(
            layer=work.name,
            load_bits=item.load_bits,
            store_bits=item.store_bits,
            predict_cycles=predict.cycles,
            main_cycles=alone + main,
            fill_cycles=fill.beside,
            # Of a streamed item before, the first two steps are its predictions and its own fill.
            fill_lag=max(1, before - 2),
            load_lag=2 if (double[0] if index == 0 else double[1]) else 1,
            predict_lag=before + 1 if predict.beside else 2 if predict.behind else 1,
            predict_behind=predict.behind,
            waits=not steps,
            reads_stores=not steps and not place.input_on_chip,
            room_bits=place.free_words * spec.bits,
        )
        last = plan
        delay = alone + spec.design.fill_cycles + beside - sent
        if kept[group]:
            parts = [replace(step, held_steps=tiles - index)]
        elif fill.beside and 2 * item.load_bits <= place.free_words * spec.bits:
            parts = [replace(step, load_lag=before + 1)]  # the buffer takes all of it while the item before works
        else:
            parts = _streamed(step, plan, alone, before, spec, place)
        before = len(parts)
        steps += parts
    return steps, main_cycles


@dataclass(frozen=True)
class _Predictions:
    """The predictions of one item.

    Attributes:
        cycles: From the first input read to the last gate word written.
        beside: Whether they may run beside the main work of the item before.
        behind: If they overwrite its gate words one by one: cycles after it begins at which they end, at the earliest.
    """

    cycles: int
    beside: bool = False
    behind: int = 0


def _predictions(
    plan: GroupPlan, last: GroupPlan | None, item: Item, same: bool, delay: int, spec: ArchonSpec
) -> _Predictions:
    """When the gate words of an item can be written.

    Args:
        plan: Its group.
        last: The group of the item before; None for the first of a block, which runs beside nothing.
        item: The item.
        same: Whether the item before is of the same group, kept on chip.
        delay: Cycles the lists of the item before may be late.
        spec: The machine.
    """
    own, traffic = spec.design.structures, plan.traffic
    if spec.design.predictor == "shared" or own is None:
        return _Predictions(item.predict.cycles)
    room = last is not None and last.memory_words + plan.memory_words <= spec.mask_buffer.depth
    if traffic is None:
        return _Predictions(item.predict.cycles, beside=room)
    rate = PredictorRate(item.predict.parts, item.predict.tap_cycles, own.gate_writes, own.gate_queue_words)
    if last is None or last.traffic is None:
        return _Predictions(written_cycles(traffic, rate, traffic.reads[:0]))
    if room:
        return _Predictions(written_cycles(traffic, rate, last.traffic.reads), beside=True)
    if same and len(rate.parts) == 1:
        # The words of a channel take the places they had in the item before, in the order in which it releases them.
        behind = written_cycles(traffic, rate, traffic.reads, traffic.release) + delay
        return _Predictions(written_cycles(traffic, rate, traffic.reads), behind=behind)
    return _Predictions(written_cycles(traffic, rate, traffic.reads[:0]))


def _streamed(step: Step, plan: GroupPlan, fill_cycles: int, before: int, spec: ArchonSpec, place: Place) -> list[Step]:
    """A step whose weights are used up as they arrive: what the predictor needs, what fills memories, the rest.

    Where there is room, the first two arrive while the item before, ``before`` steps, still works.
    """
    part_bits = stream_bits(place.free_words * spec.bits)
    fill_bits = min(plan.weight_bits, plan.fill_words * spec.bits)
    first_bits = step.load_bits - plan.weight_bits
    room = first_bits + fill_bits + 2 * part_bits <= place.free_words * spec.bits
    early = max(1, before) if room else 1
    first = replace(step, load_bits=first_bits, main_cycles=0, fill_cycles=0, store_bits=0, load_lag=early)
    after = replace(step, predict_cycles=0, predict_lag=1, waits=False, reads_stores=False)
    fill = replace(
        after, load_bits=fill_bits, main_cycles=fill_cycles, fill_lag=step.fill_lag + 1, store_bits=0, load_lag=early
    )
    rest = replace(
        after,
        load_bits=plan.weight_bits - fill_bits,
        main_cycles=step.main_cycles - fill_cycles,
        fill_cycles=0,
        load_lag=2,
    )
    return [first, fill, *split_step(rest, part_bits)]


def working_words(work: BlockWork, groups: Sequence[GroupPlan], tiles: Sequence[Tile], spec: ArchonSpec) -> int:
    """Global buffer a block wants for itself (words): two tiles of one group, the weights of two groups where
    tiles share them, else what arrives before it is used."""
    pixels = max(tile.input_pixels for tile in tiles)
    out = max(tile.pixels for tile in tiles)
    tile_words = work.group_channels * pixels + work.group_outputs * out * (2 if work.residual else 1)
    largest = max(plan.predictor_bits for plan in groups)
    if len(tiles) > 1:
        weights = 2 * max(plan.stored_bits for plan in groups) // spec.bits
    else:
        weights = largest // spec.bits + max(plan.fill_words for plan in groups)
    return min(2 * tile_words + weights + 2 * STREAM_BITS // spec.bits, spec.buffer_words)


def _double_buffered(
    work: BlockWork, groups: Sequence[GroupPlan], items: Sequence[Sequence[Item]], spec: ArchonSpec, place: Place
) -> tuple[bool, bool]:
    """Whether a group's first item, and any other, may load while the item before still uses the buffer."""
    tiles = len(items[0])
    kept = [plan.stored_bits for plan in groups if keeps_weights(plan, tiles, spec, place)]
    tile_bits = max(
        work.group_channels * item.input_pixels * spec.bits * (not place.input_on_chip)
        + work.group_outputs * item.pixels * spec.bits * (not place.output_on_chip)
        for row in items
        for item in row
    )
    free, most = place.free_words * spec.bits, max(kept, default=0)
    return 2 * (most + tile_bits) <= free, most + 2 * tile_bits <= free


@dataclass(frozen=True)
class _Fill:
    """Moving the factors of an item into the memories beside the lanes.

    Attributes:
        accesses: Of the global buffer.
        beside: Cycles of it beside the lists of the item before.
        alone: Cycles of it between the work of the two.
    """

    accesses: int
    beside: int
    alone: int


def _fills(groups: Sequence[GroupPlan], kept: Sequence[bool], tiles: int, number: int, spec: ArchonSpec) -> _Fill:
    """How the memories are filled for an item: for the first of a group, for every slice, and where nothing is kept."""
    group, index = divmod(number, tiles)
    plan, first = groups[group], index == 0 or not kept[group]
    words = plan.fill_words * first + plan.refill_words * (plan.slices - 1)
    accesses = -(-words * spec.bits // spec.global_buffer.width_bits)
    last, may = groups[(number - 1) // tiles], number > 0 and spec.design.weight_fill == "beside"
    if plan.group_fill is not None:
        # The memories keep a group for all its tiles; what is told of it is read with the factors.
        cycles = plan.group_fill.accesses() if index == 0 else 0
        beside = 0
        if may and index == 0 and last.group_fill is not None:
            beside = plan.group_fill.beside(last.group_fill)
        return _Fill(accesses, beside, cycles - beside)
    cycles = -(-accesses // spec.global_buffer.banks)
    beside = cycles if may and _both_fit(last, plan, spec) else 0
    return _Fill(accesses, beside, cycles - beside)


def _both_fit(last: GroupPlan, plan: GroupPlan, spec: ArchonSpec) -> bool:
    """Whether the memories beside the lanes hold two groups, and the second can be written while the first is read.

    Every bank of the project memory reads or writes one row a cycle, and one word of the tap memory with it.
    """
    own, banks = spec.design.structures, spec.mask_buffer.banks
    first, second = last.held, plan.held
    assert own is not None and first is not None and second is not None and last.times is not None  # as gates are
    rows = int((first.project_rows + second.project_rows).max())
    busy = int((first.project_reads + np.maximum(second.project_rows, -(-second.tap_words // banks))).max())
    return (
        max(last.slices, plan.slices) == 1
        and rows * banks * own.project_row_words <= own.project_memory_words
        and first.tap_words + second.tap_words <= own.tap_memory_words
        and first.map_bits + second.map_bits <= own.map_bits
        and busy <= last.times.cycles
    )


def _groups(work: BlockWork) -> str:
    """How many groups, and of how many of the network each is made, in words."""
    together = f", each {work.merged_groups} of the network's," if work.merged_groups > 1 else ""
    return f"{work.groups} groups{together}"


def _stages(
    work: BlockWork,
    groups: Sequence[GroupPlan],
    items: Sequence[Sequence[Item]],
    gates: Gates,
    spec: ArchonSpec,
    main_cycles: int,
) -> tuple[StagePlan, ...]:
    own = spec.design.structures
    every = [item for row in items for item in row]
    ternary_expand, ternary_depthwise = ternary_additions(work, groups, items)
    rates = (spec.array.pes * spec.pe.predictor_lanes,) * 2
    units = (spec.array.pes,) * 2
    if spec.design.predictor == "dedicated" and own is not None:
        positions = spec.design.tile_rows * spec.design.tile_columns
        rates = (
            own.predictor_units * own.predictor_inputs,
            positions * own.predictor_taps * channels_at_once(work, own),
        )
        units = (own.predictor_units, positions)
    inputs = work.group_channels // work.merged_groups  # lists of the network, not those of merged groups
    lists = len(work.project) * inputs * work.taps * work.out_shape[1] * work.out_shape[2]
    expand, depthwise, main = block_actions(work, groups, items, gates, spec)
    tiles = len(items[0])
    return (
        StagePlan(
            PREDICT_EXPAND,
            ternary_expand,
            rates[0],
            expand,
            f"one pixel of a tile and its halo a unit, {tiles} tiles",
            units[0],
            sum(item.predict.expand_cycles for item in every),
        ),
        StagePlan(
            PREDICT_DEPTHWISE,
            ternary_depthwise,
            rates[1],
            depthwise,
            "one output pixel a unit",
            units[1],
            sum(item.predict.depthwise_cycles for item in every),
        ),
        StagePlan(
            MAIN,
            lists,
            spec.array.pes,
            main,
            f"{spec.design.parallel_lists} lists a pixel at once, {_groups(work)} of {tiles} tiles",
            spec.array.pes,
            main_cycles,
        ),
    )
