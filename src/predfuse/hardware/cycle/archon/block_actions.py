"""What a fused block does tile by tile, counted from its items and from the gates of an image."""

from __future__ import annotations

from collections.abc import Sequence

from predfuse.hardware.block_work import BlockWork, bias_entries, list_entries
from predfuse.hardware.cycle.archon.gates import Gates
from predfuse.hardware.cycle.archon.group_plan import GroupPlan
from predfuse.hardware.cycle.archon.tile_work import Item
from predfuse.hardware.energy import Actions
from predfuse.hardware.field_types import WORD_BITS
from predfuse.hardware.spec import ArchonSpec

GATE_WORDS = 64 // WORD_BITS
"""A gate word in units of 16 bits."""

Items = Sequence[Sequence[Item]]
"""Items of every tile of every group."""


def ternary_additions(work: BlockWork, groups: Sequence[GroupPlan], items: Items) -> tuple[int, int]:
    """Additions of both stages of the predictor, zero weights and halos included."""
    pixels_in, pixels = sum(item.input_pixels for item in items[0]), sum(item.pixels for item in items[0])
    channels = sum(plan.channels for plan in groups)
    return channels * work.group_channels * pixels_in, channels * work.taps * pixels


def block_actions(
    work: BlockWork, groups: Sequence[GroupPlan], items: Items, gates: Gates, spec: ArchonSpec
) -> tuple[Actions, Actions, Actions]:
    """Actions of predict_expand, predict_depthwise and main; DRAM traffic of the whole block stands in main."""
    every = [item for row in items for item in row]
    expand_additions, depthwise_additions = ternary_additions(work, groups, items)
    expand = Actions(ternary_additions=expand_additions, global_buffer_reads=sum(item.predict_reads for item in every))
    depthwise = Actions(
        ternary_additions=depthwise_additions,
        global_buffer_reads=sum(item.predictor_weight_reads for item in every),
        mask_buffer_writes=sum(
            plan.gate_words * item.predict_parts for plan, row in zip(groups, items, strict=True) for item in row
        ),
    )
    inputs = sum(work.group_channels * item.input_pixels for item in every)
    if spec.design.predictor == "dedicated":
        narrow = spec.activation_bits / WORD_BITS
        hidden = expand_additions / work.group_channels
        expand += Actions(register_words=(inputs + hidden) * narrow)
        depthwise += Actions(register_words=hidden * narrow)
    else:
        expand += _on_shared_adders(expand_additions, inputs, spec)
        depthwise += _on_shared_adders(depthwise_additions, depthwise_additions, spec)
    return expand, depthwise, _main(work, groups, items, gates, spec)


def _on_shared_adders(additions: int, operands: int, spec: ArchonSpec) -> Actions:
    sums = additions / spec.pe.adder_split
    return Actions(
        ifmap_regfile_reads=operands,
        ifmap_regfile_writes=operands,
        psum_regfile_reads=sums,
        psum_regfile_writes=sums,
        fifo_pushes=sums,
        fifo_pops=sums,
    )


def _main(work: BlockWork, groups: Sequence[GroupPlan], items: Items, gates: Gates, spec: ArchonSpec) -> Actions:
    every, tiles = [item for row in items for item in row], len(items[0])
    pixels = sum(item.pixels for item in items[0])
    lists, bias_lists = (pixels * sum(counts) for counts in zip(*((p.products, p.sums) for p in groups), strict=True))
    first, second = bias_entries(work)
    survivors = int(((list_entries(work) + first) * gates.both_count).sum() + (second * gates.second_count).sum())
    sent = sum(plan.entries for plan in groups) * pixels
    main = Actions(
        multiplications=lists,
        additions=survivors,
        gates=sent,
        ifmap_regfile_reads=lists,
        ifmap_regfile_writes=sum(plan.slices for plan in groups) * work.group_channels * work.taps * pixels,
        psum_regfile_reads=lists + bias_lists,
        psum_regfile_writes=lists + bias_lists,
        global_buffer_reads=sum(
            item.input_reads + item.weight_reads + item.residual_reads + item.output_reads + item.surplus_reads
            for item in every
        ),
        global_buffer_writes=sum(item.output_writes + item.buffer_writes for item in every),
        dram_read_bits=sum(item.load_bits for item in every),
        dram_written_bits=sum(item.store_bits for item in every),
    )
    entries = sum(plan.entries for plan in groups) * tiles
    fills = sum(plan.fill_words + plan.refill_words * (plan.slices - 1) * tiles for plan in groups)
    main += Actions(factor_multiplications=2 * entries, narrow_sram_words=fills * spec.bits / WORD_BITS)
    return main + _from_registers(groups, lists, bias_lists, entries, survivors, tiles, spec)


def _from_registers(
    groups: Sequence[GroupPlan], lists: int, bias_lists: int, entries: int, survivors: int, tiles: int, spec: ArchonSpec
) -> Actions:
    """A load writes a gate word, a row of project weights and two factors, twice: into the set that is loaded and from
    there into the one that is read. An entry reads a gate and three factors. A bias list is multiplied with a power of
    two; every list passes the register behind the adders."""
    own = spec.design.structures
    assert own is not None  # checked with the specification
    members = sum(plan.members for plan in groups) * tiles
    word = spec.bits / WORD_BITS  # in units of 16 bits
    written = 2 * members * (GATE_WORDS + (2 + own.project_row_words) * word)
    return Actions(
        multiplications=bias_lists,
        ifmap_regfile_reads=bias_lists,
        ifmap_regfile_writes=bias_lists,
        fifo_pushes=lists + bias_lists,
        mask_buffer_reads=members,
        project_rows=members,
        narrow_sram_words=2 * members * word,
        register_words=written + entries * (GATE_WORDS + 3 * word) + survivors * word,
    )
