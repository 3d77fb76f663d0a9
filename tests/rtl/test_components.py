"""Every component of the gateware on random inputs, cycle by cycle, against its model in Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from rtl import bank_models, buffer_models, models, predictor_models, stimuli
from rtl.bench import Bench, Component, build_library
from rtl.machines import require_tools
from rtl.models import Model
from rtl.stimuli import CYCLES, Shape, Told

from predfuse.rtl.build import SOURCES

TABLE: Sequence[tuple[Component, Callable[[], Model], Shape]] = [
    (
        Component(
            "memory", {"WIDTH": 70, "DEPTH": 5}, {"write": 1, "write_at": 3, "write_data": 70, "read_at": 3},
            {"read_data": 70},
        ),
        models.memory,
        stimuli.filled(5, write=1),
    ),
    (
        Component(
            "wide_memory", {"WIDTH": 7, "DEPTH": 6, "TOGETHER": 2},
            {"write": 1, "write_at": 2, "write_data": 14, "read_at": 3}, {"read_data": 7},
        ),
        models.wide_memory,
        lambda rng, cycle, before, ask: {"write_at": int(rng.integers(3)), "read_at": int(rng.integers(6))},
    ),
    (
        Component(
            "small_memory", {"WIDTH": 5, "DEPTH": 3, "READS": 2},
            {"write": 1, "write_at": 2, "write_data": 5, "read_at": 4}, {"read_data": 10},
        ),
        models.small_memory,
        stimuli.few_words,
    ),
    (
        Component(
            "gate_bank", {"PIXELS": 6, "DEPTH": 5},
            {"read": 1, "read_at": 3, "write": 1, "write_at": 3, "write_data": 6, "mask": 6}, {"read_data": 6},
        ),
        bank_models.gate_bank,
        stimuli.filled(5, read=0, write=1, mask=63),
    ),
    (
        Component(
            "gate_memory", {"PIXELS": 4, "BANKS": 3, "GATE_WORDS": 8},
            {
                "issue": 3, "wanted_bank": 6, "wanted_at": 9, "read_offset": 3, "writes": 3, "write_at": 9,
                "write_offset": 3, "write_words": 12, "mask": 4,
            },
            {"reads": 3, "read_words": 12},
        ),
        bank_models.gate_memory,
        stimuli.gates,
    ),
    (
        Component(
            "gated_tree", {"LANES": 3, "SUM": 24}, {"first": 1, "gates": 3, "entries": 48}, {"sum": 24}
        ),
        models.gated_tree,
        lambda rng, cycle, before, ask: {"first": 1} if cycle < 2 else {},
    ),
    (
        Component(
            "weighted_sum", {"TERMS": 5, "SCORE": 16}, {"start": 16, "values": 25, "weights": 15}, {"sum": 16}, False
        ),
        predictor_models.weighted_sum,
        stimuli.any_,
    ),
    (
        Component(
            "depthwise_unit", {"TAPS": 9, "SCORE": 11},
            {"hidden": 36, "mask1": 9, "weights": 27, "offset": 11, "gated": 1, "present": 1}, {"gates": 10}, False,
        ),
        predictor_models.depthwise_unit,
        lambda rng, cycle, before, ask: {"offset": int(rng.integers(-100, 100))},
    ),
    (
        Component(
            "expand_unit", {"INPUTS": 2, "HELD": 8, "TURNS": 2, "SCORE": 10},
            {
                "load": 2, "load_at": 3, "load_x": 32, "input_shift": 6, "input_min": 4, "input_max": 4, "present": 1,
                "step": 1, "rounds": 3, "round": 3, "turn": 2, "weights": 6, "offset": 10, "shift": 4, "hidden_max": 4,
                "gated": 1,
            },
            {"mask": 1, "hidden": 4},
        ),
        predictor_models.expand_unit,
        stimuli.expand,
    ),
    (
        Component(
            "hidden_planes", {"TILE_ROWS": 2, "TILE_COLUMNS": 3, "KERNEL": 3, "SIDE": 5, "UNIT_ROWS": 3},
            {"write": 1, "fill": 1, "turn": 2, "masks_in": 15, "hiddens_in": 60, "drain": 1, "stride_2": 1},
            {"masks": 54, "hiddens": 216},
        ),
        predictor_models.hidden_planes,
        stimuli.below(turn=2),
    ),
    (
        Component(
            "gate_words",
            {"PIXELS": 3, "TAPS": 2, "BANKS": 3, "SLOTS": 4, "WRITES": 2, "GATE_ADDRESS": 4},
            {
                "waiting": 3, "bank": 2, "slot": 2, "turns": 6, "maps": 36, "gate_bases": 36, "words": 9, "fulls": 3,
            },
            {"sent": 3, "push": 3, "data": 21}, False,
        ),
        predictor_models.gate_words,
        stimuli.words,
    ),
    (
        Component(
            "write_queue", {"WIDTH": 5, "DEPTH": 2}, {"rst": 1, "push": 1, "data": 5, "blocked": 1},
            {"full": 1, "write": 1, "out": 5, "drained": 1},
        ),
        predictor_models.write_queue,
        stimuli.queue,
    ),
    (
        Component(
            "fused_weight", {"FACTOR": 24}, {"project": 16, "factor": 24, "depthwise": 16, "shift": 6, "direct": 1},
            {"entry": 16},
        ),
        models.fused_weight,
        stimuli.below(shift=42),
    ),
    (
        Component(
            "finish", {"COLUMNS": 2, "ACCUMULATOR": 40},
            {"sums": 80, "bias": 40, "shift": 6, "residual": 1, "residual_shift": 6, "residual_x": 32}, {"y": 32},
        ),
        models.finish,
        stimuli.finish,
    ),
    (
        Component(
            "input_plane", {"TILE_ROWS": 2, "TILE_COLUMNS": 3, "KERNEL": 3, "COLUMNS": 2},
            {"write": 1, "write_at": 1, "write_data": 560, "column": 1, "tap": 4, "stride_2": 1}, {"x": 96},
        ),
        models.input_plane,
        stimuli.plane,
    ),
    (
        Component(
            "partial_sums", {"SUM": 24, "ACCUMULATOR": 48, "WORDS": 3},
            {"add": 1, "begun": 1, "word": 2, "sum": 24, "x": 16, "read_at": 2}, {"read_data": 48},
        ),
        models.partial_sums,
        stimuli.sums,
    ),
    (
        Component(
            "loader", {"PASSES": 8, "WIDTH": 5, "TOGETHER": 2},
            {
                "rst": 1, "write": 1, "write_at": 2, "write_data": 10, "start": 1, "pass_first": 3, "pass_end": 4,
                "banks_done": 1, "swap": 1,
            },
            {"loading": 1, "first": 1, "ready": 1, "pass_record": 5, "coming": 5, "advance": 1, "busy": 1},
        ),
        bank_models.loader,
        stimuli.loader,
    ),
    (
        Component(
            "sequencer", {"OUTPUTS": 8, "LISTS": 2}, {"rst": 1, "ready": 1, "present": 8, "more": 2},
            {"wanted": 6, "wanted_valid": 2, "first": 2, "last": 2, "busy": 1, "ending": 1, "swap": 1},
        ),
        models.sequencer,
        stimuli.sequencer,
    ),
    (
        Component(
            "crossbar", {"PIXELS": 3, "LANES": 3, "WORDS": 2, "OUTPUTS": 4, "BANKS": 3},
            {"fresh": 1, "issue": 3, "to_lane": 9, "gate_bank": 6, "factors": 234, "gate_words": 9},
            {"load": 3, "rows": 243, "present": 4},
        ),
        bank_models.crossbar,
        stimuli.crossbar,
    ),
    (
        Component(
            "lane", {"PIXELS": 3, "ROWS": 2, "WORDS": 2, "LISTS": 2, "FACTOR": 24, "OUTPUT": 2},
            {"rst": 1, "swap": 1, "load": 1, "load_row": 81, "wanted": 4, "wanted_valid": 2},
            {"more": 2, "gates": 6, "factors": 48, "depthwise": 32, "project": 32},
        ),
        models.lane,
        stimuli.lane,
    ),
    (
        Component(
            "member_search", {"SLOTS": 4, "TAPS": 3},
            {
                "rst": 1, "renew": 1, "step": 1, "every_tap": 1, "tap": 2, "map": 4, "tap_maps": 12, "slot_rows": 16,
            },
            {"any": 1, "last": 1, "slot": 2, "below": 4, "member_tap": 2, "row": 4},
        ),
        bank_models.member_search,
        stimuli.search,
    ),
    (
        Component(
            "list_array",
            {"PIXELS": 2, "LANES": 2, "OUTPUTS": 4, "LISTS": 2, "ACCUMULATOR": 48, "SUM": 24},
            {
                "rst": 1, "clear": 1, "set": 1, "leave": 1, "wanted": 2, "first": 1, "last": 1, "gates": 4,
                "factors": 48, "depthwise": 32,
                "project": 32, "kind1": 2, "kind3": 2, "x": 32, "shifts": 104, "read_word": 1,
            },
            {"sums": 96, "read_begun": 1},
        ),
        models.list_array,
        stimuli.lists,
    ),
    (
        Component(
            "output_rows",
            {
                "TILE_ROWS": 4, "TILE_COLUMNS": 2, "OUTPUTS": 4, "LISTS": 2, "ACCUMULATOR": 40, "FINISHED_ROWS": 2,
            },
            {
                "rst": 1, "write_residual": 1, "write_at": 4, "write_rows": 2, "write_data": 64, "begins": 1, "set": 1,
                "output_first": 2, "output_end": 3, "rows": 3, "residual": 1, "residual_shift": 6, "start": 1,
                "several": 1, "rule": 62, "begun": 2, "sums": 640,
            },
            {"at": 2, "read_word": 1, "busy": 1, "valid": 1, "channel": 16, "row": 8, "present": 2, "data": 64},
        ),
        models.output_rows,
        stimuli.rows,
    ),
    (
        Component(
            "bank",
            {
                "LANES": 3, "WORDS": 2, "OUTPUT": 2, "SLOTS": 4, "TAPS": 3, "COLUMNS": 4, "TAP_WORDS": 16,
                "COLUMN_WORDS": 8, "PROJECT_ROWS": 16, "CODES": 32, "CODE_TOGETHER": 2, "MAP_TOGETHER": 2,
                "COLUMN_TOGETHER": 2, "SLOT_TOGETHER": 2, "BASES_TOGETHER": 2, "DEPTHWISE_TOGETHER": 4,
                "EXPAND_TOGETHER": 2, "PROJECT_TOGETHER": 2, "GATE_ADDRESS": 4, "DATA": 112,
            },
            {
                "rst": 1, "write": 1, "write_region": 5, "write_at": 16, "write_data": 112, "half": 1, "halves": 2,
                "predict_half": 1, "predict_halves": 2, "code_first": 5, "rewind": 1, "loading": 1,
                "first": 1, "kind": 2, "advance": 1, "goes_on": 1, "next_kind": 2, "tap": 2, "column": 2,
            },
            {
                "done": 1, "issue": 1, "lane": 3, "member_tap": 2, "gate_at": 4, "factor": 24, "depthwise": 16,
                "project": 38, "maps_out": 16, "gate_bases_out": 16,
            },
        ),
        bank_models.bank,
        stimuli.scripted(stimuli.bank),
    ),
    (
        Component(
            "predictor",
            {
                "TILE_ROWS": 2, "TILE_COLUMNS": 2, "KERNEL": 3, "SIDE": 5, "UNIT_ROWS": 3, "INPUTS": 2, "HELD": 8,
                "WRITES": 2, "QUEUE": 2, "BANKS": 3, "SLOTS": 4, "CHANNELS": 8, "TOGETHER": 2, "PARTS": 2, "PASSES": 8,
                "GATE_ADDRESS": 4, "DATA": 400, "SCORE": 10, "SCORE2": 11,
            },
            {
                "rst": 1, "write": 1, "write_region": 5, "write_at": 16, "write_data": 400, "stride_2": 1,
                "expand_gated": 1, "depthwise_gated": 1, "hidden_max": 4, "input_min": 4, "input_max": 4,
                "input_shift": 6, "rounds": 3, "channels": 4, "channel_first": 3, "channel_end": 4, "turns": 20,
                "maps": 120, "gate_bases": 120,
                "start": 1, "part_first": 1, "part_end": 2, "behind": 1, "passes_done": 4, "gate_reads": 3,
            },
            {"gate_writes": 3, "gate_write_at": 12, "gate_words": 12, "gate_mask": 4, "busy": 1},
        ),
        predictor_models.predictor,
        stimuli.scripted(stimuli.predictor),
    ),
    (
        Component(
            "buffer_bank", {"PIXELS": 2, "DEPTH": 5}, {"access": 1, "write": 2, "at": 3, "write_data": 32},
            {"read_data": 32},
        ),
        buffer_models.buffer_bank,
        lambda rng, cycle, before, ask: {"at": cycle % 5, "access": 1, "write": 3} if cycle < 5 else {"at": cycle % 5},
    ),
    (
        Component("arbiter", {"CLIENTS": 3, "BANKS": 4}, {"wanted": 12}, {"grant": 3}, False),
        buffer_models.arbiter,
        lambda rng, cycle, before, ask: {"wanted": int(rng.integers(1 << 12)) & int(rng.integers(1 << 12))},
    ),
    (
        Component(
            "address_sum", {"BANKS": 6, "ROW": 4}, {"row": 4, "bank": 3, "more_rows": 4, "more_banks": 3},
            {"sum_row": 4, "sum_bank": 3}, False,
        ),
        buffer_models.address_sum,
        stimuli.sums_of_addresses,
    ),
    (
        Component(
            "global_buffer", {"BANKS": 3, "PIXELS": 2, "LINES": 5},
            {
                "request": 4, "row": 12, "bank": 8, "span": 8, "first_write": 6, "first_data": 96, "last_write": 1,
                "last_data": 96,
            },
            {"grant": 4, "read_data": 96},
        ),
        buffer_models.global_buffer,
        stimuli.whole_buffer,
    ),
    (
        Component(
            "fill",
            {
                "TILE_ROWS": 2, "TILE_COLUMNS": 2, "KERNEL": 3, "SIDE": 4, "DATA": 1300, "BANKS": 9, "PIXELS": 4,
                "LINES": 8, "ACCESS_ROWS": 4, "PITCHES": 2, "FINISHED_ROWS": 2,
            },
            {"rst": 1, "start": 1, "fields": 84, "grant": 1, "read_data": 576},
            {
                "request": 1, "row": 3, "bank": 4, "span": 4, "write": 1, "write_region": 5, "write_at": 16,
                "write_rows": 2, "write_data": 1300, "ready": 1, "reads": 1, "busy": 1,
            },
        ),
        buffer_models.fill,
        stimuli.some_fills,
    ),
    (
        Component(
            "output_store", {"TILE_COLUMNS": 3, "BANKS": 3, "PIXELS": 4, "LINES": 8, "FINISHED_ROWS": 2},
            {"rst": 1, "fields": 19, "valid": 1, "channel": 16, "row": 8, "present": 2, "data": 96},
            {"request": 1, "to_row": 3, "to_bank": 2, "span": 2, "write": 12, "write_data": 192},
        ),
        buffer_models.output_store,
        stimuli.stores,
    ),
    (
        Component(
            "command", {"BANKS": 3, "PIXELS": 4, "LINES": 8, "FIELDS": 40},
            {
                "rst": 1, "start": 1, "start_row": 3, "grant": 1, "read_data": 192, "core_busy": 1, "lists_busy": 1,
                "finish_busy": 1, "fill_ready": 1, "fill_reads": 1, "fill_busy": 1,
            },
            {
                "request": 1, "row": 3, "start_fill": 1, "fill_fields": 40, "start_core": 1, "core_fields": 40,
                "busy": 1,
            },
        ),
        buffer_models.command,
        stimuli.commands,
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def bench() -> Bench:
    components = [one for one, _, _ in TABLE]
    return Bench(components, build_library(components, require_tools()))


@pytest.mark.parametrize("component, model, shape", TABLE, ids=[one.module for one, _, _ in TABLE])
def test_does_what_its_model_does(bench: Bench, component: Component, model: Callable[[], Model], shape: Shape) -> None:
    module, rng = component.module, np.random.default_rng(0)
    right = model()

    def ask(name: str, told: Told) -> int:
        bench.put(module, {key: value for key, value in told.items() if key in component.inputs})
        return bench.get(module, name)

    told: Told = {}
    cycles = CYCLES * (3 if module in ("bank", "predictor", "command") else 1)
    compared = dict.fromkeys(component.outputs, 0)
    for cycle in range(cycles):
        drawn = {name: int.from_bytes(rng.bytes(128), "little") for name in component.inputs}
        told = {name: bits & ((1 << component.inputs[name]) - 1) for name, bits in drawn.items()} | shape(
            rng, cycle, told, ask
        )
        for name, bits in component.inputs.items():
            told[name] &= (1 << bits) - 1
        bench.put(module, {name: told[name] for name in component.inputs})
        for name, wanted in right(told).items():
            value, mask = wanted if isinstance(wanted, tuple) else (wanted, -1)
            assert bench.get(module, name) & mask == int(value) & mask, (cycle, name, told)
            compared[name] += 1
        bench.step()
    assert min(compared.values()) > cycles // 20


def test_all_components_are_here() -> None:
    """But those that join others, up to the whole, which test_random_blocks runs."""
    known = {one.module for one, _, _ in TABLE} | {"banks", "lists", "archon", "machine"}
    assert known == {path.stem for path in SOURCES.glob("*.sv")}
