"""Every component of the gateware on random inputs, cycle by cycle, against its model in Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from rtl import models
from rtl.bench import Bench, Component, build_library
from rtl.machines import require_tools
from rtl.models import Model, pack

from predfuse.rtl.build import SOURCES

Told = dict[str, int]
Ask = Callable[[str, Told], int]
"""An output of the component once it is given some inputs; where what may come depends on what it says."""
Shape = Callable[[np.random.Generator, int, Told, Ask], Told]
"""Inputs of a cycle that are not any bits, from the number of the cycle and the inputs of the one before."""

CYCLES = 400


def _below(**ends: int) -> Shape:
    """Inputs that are less than they might be."""
    return lambda rng, cycle, before, ask: {name: int(rng.integers(end)) for name, end in ends.items()}


def _filled(depth: int, **full: int) -> Shape:
    """Every word is written whole first."""

    def shape(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
        told = {name: int(rng.integers(depth)) for name in ("read_at", "write_at")}
        return told if cycle >= depth else {**told, **full, "write_at": cycle}

    return shape


def _gates(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    told = {"wanted_bank": pack(rng.permutation(3).tolist(), 2), "wanted_at": pack(rng.integers(4, size=3).tolist(), 3)}
    told |= {"read_offset": int(4 * rng.integers(2)), "write_offset": int(4 * rng.integers(2))}
    told["write_at"] = pack(rng.integers(4, size=3).tolist(), 3)
    if cycle < 8:
        told |= {"issue": 0, "writes": 7, "write_at": pack([cycle] * 3, 3), "write_offset": 0, "mask": 15}
    return told


def _expand(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    rounds = 1 + cycle // (CYCLES // 2)  # the registers keep what they hold while it changes
    told = {"rounds": rounds, "round": int(rng.integers(rounds)), "turn": int(rng.integers(2))}
    told |= {"load_at": int(rng.integers(2 * rounds)), "input_shift": int(rng.integers(16))}
    told |= {"input_min": int(rng.integers(-8, 1)) & 15, "input_max": int(rng.integers(8))}
    told |= {"offset": int(rng.integers(-200, 200)) & 0xFFFF, "shift": int(rng.integers(12))}
    begun = cycle % (CYCLES // 2)
    if begun < 4:
        told |= {"load": 3, "load_at": begun % (2 * rounds), "round": 0, "step": 1, "weights": 0}
    return told


def _words(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    return {"bank": int(rng.integers(3)), "turns": pack(rng.integers(3, size=3).tolist(), 2)}


def _queue(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    return {"rst": int(cycle == 0), "push": int(rng.integers(2)) & ~ask("full", {})}


def _finish(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    told = {"shift": int(rng.integers(42)), "residual_shift": int(rng.integers(-20, 21)) & 63}
    return told | {"bias": int(rng.integers(-(1 << 38), 1 << 38))}


def _plane(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    told = {"tap": int(rng.integers(9))}
    return told if cycle > 1 else {**told, "write": 1, "write_at": cycle}


def _sums(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    told = {"word": int(rng.integers(3)), "read_at": int(rng.integers(3))}
    return told if cycle > 2 else {**told, "add": 1, "begun": 0, "word": cycle}


def _loader(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    told = {"rst": int(cycle == 0), "banks_done": int(rng.integers(2)), "swap": 0, "start": 0}
    busy = bool(cycle) and ask("busy", {})
    told["count"] = before["count"] if busy else int(rng.integers(9))
    told["start"] = int(rng.integers(2)) if not busy else 0
    told["write"] = 0 if busy else 1
    if busy and ask("ready", told):
        told["swap"] = int(rng.integers(2))
    return told


def _sequencer(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    return {"rst": int(cycle == 0), "more": int(rng.integers(4)) & ask("wanted_valid", {})}


def _crossbar(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    told = {"to_lane": pack(rng.permutation(3).tolist(), 3), "gate_bank": pack(rng.integers(3, size=3).tolist(), 2)}
    return told | {"fresh": int(cycle == 0 or rng.integers(4) == 0)}


def _lane(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    filled = 0 if before.get("swap", 1) else before["filled"] + before["load"]
    row = pack(rng.integers(2, size=43).tolist(), 1) | pack(rng.integers(1 << 16, size=2).tolist(), 16) << 43
    row |= pack(rng.permutation(4)[:2].tolist(), 2) << 75 | int(rng.integers(4)) << 79
    told = {"rst": int(cycle == 0), "load": int(filled < 2 and rng.integers(2)), "load_row": row, "filled": filled}
    return told | {"wanted": pack([2 * int(rng.integers(2)), 1 + 2 * int(rng.integers(2))], 2)}


def _search(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    fresh = int(cycle == 0 or rng.integers(8) == 0)
    told = {name: before[name] for name in ("every_tap", "tap", "map", "tap_maps", "slot_rows") if not fresh}
    if fresh:
        every, taps = int(rng.integers(2)), int(rng.integers(1 << 12))
        gated = taps & 15 | taps >> 4 & 15 | taps >> 8
        told = {"every_tap": every, "tap_maps": taps, "tap": int(rng.integers(4))}
        told["map"] = int(rng.integers(16)) & (gated if every else 15)
        told["slot_rows"] = pack(rng.integers(1, 4, size=4).tolist(), 4)
    told |= {"fresh": fresh, "step": 0}
    return told | {"step": int(rng.integers(2)) & ask("any", told)}


def _lists(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    shifts, exponents = rng.integers(40, size=(4, 3)).tolist(), rng.integers(15, size=(4, 2)).tolist()
    rules = [pack(own, 6) | pack(more, 4) << 18 for own, more in zip(shifts, exponents, strict=True)]
    told = {"shifts": before.get("shifts", pack(rules, 26)), "wanted": int(2 * rng.integers(2))}
    told |= {"kind1": int(rng.integers(3)), "kind3": int(rng.integers(3))}
    told |= {"clear": int(cycle < 9 or rng.integers(32) == 0), "rst": int(cycle < 9 or rng.integers(32) == 0)}
    return told | {"first": 1} if cycle < 9 else told


def _rows(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    busy = cycle > 0 and ask("busy", {})
    names = "outputs", "rows", "residual", "residual_shift"
    told = {name: before[name] for name in names} if busy else {"outputs": int(rng.integers(1, 5))}
    if not busy:
        told |= {"rows": int(rng.integers(1, 3)), "residual_shift": int(rng.integers(-20, 21)) & 63}
    told["rule"] = int(rng.integers(1 << 39)) | int(rng.integers(42)) << 40 | int(rng.integers(1 << 16)) << 46
    if cycle < 8:
        return {**told, "rst": int(cycle == 0), "start": 0, "write_residual": 1, "write_at": cycle}
    return {**told, "rst": 0, "start": int(not busy), "write_residual": 0}


def _any(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    return {}


TABLE: Sequence[tuple[Component, Callable[[], Model], Shape]] = [
    (
        Component(
            "memory", {"WIDTH": 70, "DEPTH": 5}, {"write": 1, "write_at": 3, "write_data": 70, "read_at": 3},
            {"read_data": 70},
        ),
        models.memory,
        _filled(5, write=1),
    ),
    (
        Component(
            "gate_bank", {"PIXELS": 6, "DEPTH": 5},
            {"read": 1, "read_at": 3, "write": 1, "write_at": 3, "write_data": 6, "mask": 6}, {"read_data": 6},
        ),
        models.gate_bank,
        _filled(5, read=0, write=1, mask=63),
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
        models.gate_memory,
        _gates,
    ),
    (
        Component(
            "gated_tree", {"LANES": 3, "SUM": 24}, {"first": 1, "gates": 3, "entries": 48}, {"sum": 24}
        ),
        models.gated_tree,
        lambda rng, cycle, before, ask: {"first": 1} if cycle < 2 else {},
    ),
    (
        Component("weighted_sum", {"TERMS": 5, "SCORE": 16}, {"values": 25, "weights": 15}, {"sum": 16}, False),
        models.weighted_sum,
        _any,
    ),
    (
        Component(
            "depthwise_unit", {"TAPS": 9, "SCORE": 16},
            {"hidden": 36, "mask1": 9, "weights": 27, "offset": 16, "gated": 1, "present": 1}, {"gates": 10}, False,
        ),
        models.depthwise_unit,
        lambda rng, cycle, before, ask: {"offset": int(rng.integers(-100, 100))},
    ),
    (
        Component(
            "expand_unit", {"INPUTS": 2, "HELD": 8, "TURNS": 2, "SCORE": 16},
            {
                "load": 2, "load_at": 3, "load_x": 32, "input_shift": 6, "input_min": 4, "input_max": 4, "present": 1,
                "step": 1, "rounds": 3, "round": 3, "turn": 2, "weights": 6, "offset": 16, "shift": 5, "hidden_max": 4,
                "gated": 1,
            },
            {"mask": 1, "hidden": 4},
        ),
        models.expand_unit,
        _expand,
    ),
    (
        Component(
            "hidden_planes", {"TILE_ROWS": 2, "TILE_COLUMNS": 3, "KERNEL": 3, "SIDE": 5, "UNIT_ROWS": 3},
            {"write": 1, "fill": 1, "turn": 2, "masks_in": 15, "hiddens_in": 60, "drain": 1, "stride_2": 1},
            {"masks": 54, "hiddens": 216},
        ),
        models.hidden_planes,
        _below(turn=2),
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
        models.gate_words,
        _words,
    ),
    (
        Component(
            "write_queue", {"WIDTH": 5, "DEPTH": 2}, {"rst": 1, "push": 1, "data": 5, "blocked": 1},
            {"full": 1, "write": 1, "out": 5, "drained": 1},
        ),
        models.write_queue,
        _queue,
    ),
    (
        Component(
            "fused_weight", {"FACTOR": 24}, {"project": 16, "factor": 24, "depthwise": 16, "shift": 6, "direct": 1},
            {"entry": 16},
        ),
        models.fused_weight,
        _below(shift=42),
    ),
    (
        Component(
            "finish", {"COLUMNS": 2, "ACCUMULATOR": 40},
            {"sums": 80, "bias": 40, "shift": 6, "residual": 1, "residual_shift": 6, "residual_x": 32}, {"y": 32},
            False,
        ),
        models.finish,
        _finish,
    ),
    (
        Component(
            "input_plane", {"TILE_ROWS": 2, "TILE_COLUMNS": 3, "KERNEL": 3, "COLUMNS": 2},
            {"write": 1, "write_at": 1, "write_data": 560, "column": 1, "tap": 4, "stride_2": 1}, {"x": 96},
        ),
        models.input_plane,
        _plane,
    ),
    (
        Component(
            "partial_sums", {"SUM": 24, "ACCUMULATOR": 48, "WORDS": 3},
            {"add": 1, "begun": 1, "word": 2, "sum": 24, "x": 16, "read_at": 2}, {"read_data": 48},
        ),
        models.partial_sums,
        _sums,
    ),
    (
        Component(
            "loader", {"PASSES": 8, "WIDTH": 5},
            {"rst": 1, "write": 1, "write_at": 3, "write_data": 5, "start": 1, "count": 4, "banks_done": 1, "swap": 1},
            {"loading": 1, "first": 1, "ready": 1, "pass_record": 5, "busy": 1},
        ),
        models.loader,
        _loader,
    ),
    (
        Component(
            "sequencer", {"OUTPUTS": 8, "LISTS": 2}, {"rst": 1, "ready": 1, "present": 8, "more": 2},
            {"wanted": 6, "wanted_valid": 2, "first": 2, "last": 2, "busy": 1, "ending": 1, "swap": 1},
        ),
        models.sequencer,
        _sequencer,
    ),
    (
        Component(
            "crossbar", {"PIXELS": 3, "LANES": 3, "WORDS": 2, "OUTPUTS": 4, "BANKS": 3},
            {"fresh": 1, "issue": 3, "to_lane": 9, "gate_bank": 6, "factors": 234, "gate_words": 9},
            {"load": 3, "rows": 243, "present": 4},
        ),
        models.crossbar,
        _crossbar,
    ),
    (
        Component(
            "lane", {"PIXELS": 3, "ROWS": 2, "WORDS": 2, "LISTS": 2, "FACTOR": 24, "OUTPUT": 2},
            {"rst": 1, "swap": 1, "load": 1, "load_row": 81, "wanted": 4, "wanted_valid": 2},
            {"more": 2, "gates": 6, "factors": 48, "depthwise": 32, "project": 32},
        ),
        models.lane,
        _lane,
    ),
    (
        Component(
            "member_search", {"SLOTS": 4, "TAPS": 3},
            {"fresh": 1, "step": 1, "every_tap": 1, "tap": 2, "map": 4, "tap_maps": 12, "slot_rows": 16},
            {"any": 1, "last": 1, "slot": 2, "member_tap": 2, "row": 4},
        ),
        models.member_search,
        _search,
    ),
    (
        Component(
            "list_array",
            {"PIXELS": 2, "LANES": 2, "OUTPUTS": 4, "LISTS": 2, "ACCUMULATOR": 48, "SUM": 24},
            {
                "rst": 1, "clear": 1, "wanted": 2, "first": 1, "last": 1, "gates": 4, "factors": 48, "depthwise": 32,
                "project": 32, "kind1": 2, "kind3": 2, "x": 32, "shifts": 104, "read_word": 1,
            },
            {"sums": 96},
        ),
        models.list_array,
        _lists,
    ),
    (
        Component(
            "output_rows", {"TILE_ROWS": 2, "TILE_COLUMNS": 2, "OUTPUTS": 4, "LISTS": 2, "ACCUMULATOR": 40},
            {
                "rst": 1, "write_residual": 1, "write_at": 3, "write_data": 32, "start": 1, "outputs": 3, "rows": 2,
                "residual": 1, "residual_shift": 6, "rule": 62, "sums": 320,
            },
            {"at": 2, "read_word": 1, "busy": 1, "valid": 1, "channel": 16, "row": 8, "data": 32},
        ),
        models.output_rows,
        _rows,
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
    next(right)

    def ask(name: str, told: Told) -> int:
        bench.put(module, {key: value for key, value in told.items() if key in component.inputs})
        return bench.get(module, name)

    told: Told = {}
    compared = dict.fromkeys(component.outputs, 0)
    for cycle in range(CYCLES):
        drawn = {name: int.from_bytes(rng.bytes(128), "little") for name in component.inputs}
        told = {name: bits & ((1 << component.inputs[name]) - 1) for name, bits in drawn.items()} | shape(
            rng, cycle, told, ask
        )
        for name, bits in component.inputs.items():
            told[name] &= (1 << bits) - 1
        bench.put(module, {name: told[name] for name in component.inputs})
        for name, wanted in right.send(told).items():
            value, mask = wanted if isinstance(wanted, tuple) else (wanted, -1)
            assert bench.get(module, name) & mask == int(value) & mask, (cycle, name, told)
            compared[name] += 1
        bench.step()
    assert min(compared.values()) > CYCLES // 10


def test_all_components_are_here() -> None:
    """But the two that put others together and are run by whole blocks: test_random_blocks, test_decode."""
    known = {one.module for one, _, _ in TABLE} | {"archon", "predictor", "bank"}
    assert known == {path.stem for path in SOURCES.glob("*.sv")}
