"""A fused block in the published order: both predictor stages over the whole layer, then the fused convolution.

Actions are those of :mod:`predfuse.hardware.closed_form.archon`, with what that leaves out: bias sums, the survivors of
the real masks, and what needs no DRAM because the buffers hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from predfuse.hardware.block_work import BlockWork, bias_entries, list_entries
from predfuse.hardware.closed_form.archon import fused_stages, tile_pixels
from predfuse.hardware.cycle.archon.gates import Gates
from predfuse.hardware.cycle.archon.group_plan import GroupPlan
from predfuse.hardware.cycle.archon.predictor import layer_predict_time
from predfuse.hardware.cycle.elementwise import stream_bits
from predfuse.hardware.cycle.memory.buffer import Place, buffer_cycles, on_chip
from predfuse.hardware.cycle.memory.steps import Step, Steps, divide, split_step
from predfuse.hardware.cycle.plan import LayerPlan, StagePlan
from predfuse.hardware.energy import Actions
from predfuse.hardware.result import StageResult
from predfuse.hardware.spec import ArchonSpec
from predfuse.hardware.workload import MAIN, PREDICT_DEPTHWISE, PREDICT_EXPAND, WorkItem
from predfuse.integer.tiling import Tile


def plan_layerwise(
    item: WorkItem,
    work: BlockWork,
    groups: Sequence[GroupPlan],
    gates: Gates,
    tiles: Sequence[Tile],
    spec: ArchonSpec,
    place: Place,
) -> LayerPlan:
    """Steps and actions of a block for the masks of one image.

    Args:
        item: The block as work of the published model.
        work: The block, as charged (:func:`predfuse.hardware.cycle.archon.group_plan.charged_work`).
        groups: Its groups.
        gates: Of the image.
        tiles: That cover the output.
        spec: The machine.
        place: Where its feature maps are.
    """
    expand, depthwise, main, overhead = fused_stages(item, spec)
    time = layer_predict_time(work, spec)
    kept = _Kept(item, work, spec, place)
    inputs = work.in_shape[0] * work.in_shape[1] * work.in_shape[2] * spec.bits * place.input_on_chip
    outputs = work.out_shape[0] * work.out_shape[1] * work.out_shape[2] * spec.bits * place.output_on_chip
    expand_actions = on_chip(kept.expand(expand.actions), inputs, 0, spec)
    depthwise_actions = kept.depthwise(depthwise.actions)
    main_actions = on_chip(main.actions, inputs, outputs, spec)
    main_actions += kept.main(_overhead(overhead.actions, work, gates, tiles, spec))
    per_cycle = spec.array.pes * spec.pe.predictor_lanes
    layer = work.name
    expand_cycles = _with_buffer(time.expand_cycles, expand_actions, spec)
    depthwise_cycles = _with_buffer(time.depthwise_cycles, depthwise_actions, spec)
    in_tiles = -(-work.in_shape[1] // spec.design.tile_rows) * -(-work.in_shape[2] // spec.design.tile_columns)
    most = stream_bits(place.free_words * spec.bits)
    steps = [
        *_even_steps(layer, PREDICT_EXPAND, expand_actions, [expand_cycles], in_tiles, most, place.input_on_chip),
        *_even_steps(layer, PREDICT_DEPTHWISE, depthwise_actions, [depthwise_cycles], len(tiles), most, False),
        *_main_steps(work, groups, len(tiles), spec, main_actions, most),
    ]
    cycles = sum(step.main_cycles for step in steps if step.stage == MAIN)
    stages = (
        _stage(expand, per_cycle, expand_actions, expand_cycles),
        _stage(depthwise, per_cycle, depthwise_actions, depthwise_cycles),
        _stage(main, spec.array.pes, main_actions, cycles),
    )
    return LayerPlan(layer, Steps.of(steps), stages)


def _stage(row: StageResult, per_cycle: int, actions: Actions, cycles: int) -> StagePlan:
    return StagePlan(row.stage, row.macs, per_cycle, actions, row.mapping, row.pes, cycles)


def _with_buffer(cycles: int, actions: Actions, spec: ArchonSpec) -> int:
    """Cycles of a stage whose accesses of the global buffer take their time too, unless idealised."""
    return cycles if spec.design.plain_layers == "even" else max(cycles, buffer_cycles(actions, spec))


def _overhead(published: Actions, work: BlockWork, gates: Gates, tiles: Sequence[Tile], spec: ArchonSpec) -> Actions:
    """What the lists cost: the published count charges every entry as added and no bias."""
    first, second = bias_entries(work)
    weights, pixels = list_entries(work), sum(tile.pixels for tile in tiles)
    biases = int(first.sum() + second.sum())
    entries = (int(weights.sum()) + biases) * pixels
    survivors = int(((weights + first) * gates.both_count).sum() + (second * gates.second_count).sum())
    bias_lists = pixels * len(work.project) * (work.taps * bool(first.any()) + bool(second.any()))
    return replace(
        published,
        additions=survivors,
        fifo_pushes=entries,
        fifo_pops=entries,
        gates=entries,
        psum_regfile_reads=published.psum_regfile_reads + bias_lists,
        psum_regfile_writes=published.psum_regfile_writes + bias_lists,
        dram_read_bits=published.dram_read_bits + biases * (spec.bits + spec.fused_index_bits) * len(tiles),
    )


class _Kept:
    """First-stage activations and masks that need not leave the chip because a buffer holds the layer's."""

    def __init__(self, item: WorkItem, work: BlockWork, spec: ArchonSpec, place: Place) -> None:
        self._spec = spec
        self._first = work.middle * work.in_shape[1] * work.in_shape[2]
        self._second = work.middle * work.out_shape[1] * work.out_shape[2]
        self._loaded = work.middle * tile_pixels(item.operations[1], spec)  # tile by tile, with halos
        self._hidden = self._first * spec.activation_bits <= place.free_words * spec.bits
        self._masks = self._first + self._second <= spec.mask_buffer.depth * spec.mask_buffer.width_bits

    def expand(self, actions: Actions) -> Actions:
        spec, bits = self._spec, self._first * self._spec.activation_bits
        if self._hidden:
            actions += Actions(dram_written_bits=-bits, global_buffer_reads=-bits / spec.global_buffer.width_bits)
        if self._masks:
            actions += Actions(
                dram_written_bits=-self._first, mask_buffer_reads=-self._first / spec.mask_buffer.width_bits
            )
        return actions

    def depthwise(self, actions: Actions) -> Actions:
        spec = self._spec
        if self._hidden:
            bits = self._loaded * spec.activation_bits
            actions += Actions(dram_read_bits=-bits, global_buffer_writes=-bits / spec.global_buffer.width_bits)
        if self._masks:
            actions += Actions(
                dram_written_bits=-self._second, mask_buffer_reads=-self._second / spec.mask_buffer.width_bits
            )
        return actions

    def main(self, actions: Actions) -> Actions:
        if not self._masks:
            return actions
        bits = self._loaded + self._second
        return actions + Actions(dram_read_bits=-bits, mask_buffer_writes=-bits / self._spec.mask_buffer.width_bits)


def _even_steps(
    layer: str, stage: str, actions: Actions, cycles: list[int], tiles: int, most_bits: int, input_on_chip: bool
) -> list[Step]:
    """Steps of equal work and transfers."""
    loads, stores = divide(round(actions.dram_read_bits), tiles), divide(round(actions.dram_written_bits), tiles)
    works = divide(cycles[0], tiles) if len(cycles) == 1 else cycles
    steps: list[Step] = []
    for index in range(tiles):
        step = Step(
            layer=layer,
            load_bits=loads[index],
            store_bits=stores[index],
            main_cycles=works[index],
            load_lag=2,
            waits=index == 0,
            reads_stores=index == 0 and not input_on_chip,
            stage=stage,
        )
        steps += split_step(step, most_bits)
    return steps


def _main_steps(
    work: BlockWork, groups: Sequence[GroupPlan], tiles: int, spec: ArchonSpec, actions: Actions, most_bits: int
) -> list[Step]:
    cycles = [plan.list_cycles for plan in groups for _ in range(tiles)]
    least = _with_buffer(sum(cycles), actions, spec)
    if least > sum(cycles):
        cycles = divide(least, len(cycles))
    return _even_steps(work.name, MAIN, actions, cycles, len(cycles), most_bits, False)
