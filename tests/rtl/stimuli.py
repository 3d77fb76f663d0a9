"""Random inputs for every component of the gateware: what may come, and often enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from rtl.bank_models import WRITTEN, members
from rtl.models import pack

Told = dict[str, int]
Ask = Callable[[str, Told], int]
"""An output of the component once it is given some inputs; where what may come depends on what it says."""
Shape = Callable[[np.random.Generator, int, Told, Ask], Told]
"""Inputs of a cycle that are not any bits, from the number of the cycle and the inputs of the one before."""

CYCLES = 400
"""Of one component."""


Script = Iterator[Told]
"""Such inputs of one cycle after the other."""


def scripted(script: Callable[[np.random.Generator, Ask], Script]) -> Shape:
    """Inputs that follow from all cycles before."""
    running: list[Script] = []

    def shape(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
        if cycle == 0:
            running[:] = [script(rng, ask)]
        return next(running[0])

    return shape


def below(**ends: int) -> Shape:
    """Inputs that are less than they might be."""
    return lambda rng, cycle, before, ask: {name: int(rng.integers(end)) for name, end in ends.items()}


def filled(depth: int, **full: int) -> Shape:
    """Every word is written whole first."""

    def shape(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
        told = {name: int(rng.integers(depth)) for name in ("read_at", "write_at")}
        return told if cycle >= depth else {**told, **full, "write_at": cycle}

    return shape


def few_words(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    """Three words, two of them read."""
    return {"write_at": int(rng.integers(3)), "read_at": pack(rng.integers(3, size=2).tolist(), 2)}


def gates(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    told = {"wanted_bank": pack(rng.permutation(3).tolist(), 2), "wanted_at": pack(rng.integers(4, size=3).tolist(), 3)}
    told |= {"read_offset": int(4 * rng.integers(2)), "write_offset": int(4 * rng.integers(2))}
    told["write_at"] = pack(rng.integers(4, size=3).tolist(), 3)
    if cycle < 8:
        told |= {"issue": 0, "writes": 7, "write_at": pack([cycle] * 3, 3), "write_offset": 0, "mask": 15}
    return told


def expand(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    rounds = 1 + cycle // (CYCLES // 2)  # the registers keep what they hold while it changes
    told = {"rounds": rounds, "round": int(rng.integers(rounds)), "turn": int(rng.integers(2))}
    told |= {"load_at": int(rng.integers(2 * rounds)), "input_shift": int(rng.integers(20))}
    told |= {"input_min": int(rng.integers(-8, 1)) & 15, "input_max": int(rng.integers(8))}
    told |= {"offset": int(rng.integers(-200, 200)), "shift": int(rng.integers(12))}
    begun = cycle % (CYCLES // 2)
    if begun < 4:
        told |= {"load": 3, "load_at": begun % (2 * rounds), "round": 0, "step": 1, "weights": 0}
    return told


def words(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    return {"bank": int(rng.integers(3)), "turns": pack(rng.integers(3, size=3).tolist(), 2)}


def queue(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    return {"rst": int(cycle == 0), "push": int(rng.integers(2)) & ~ask("full", {})}


def finish(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    told = {"shift": int(rng.integers(42)), "residual_shift": int(rng.integers(-20, 21)) & 63}
    return told | {"bias": int(rng.integers(-(1 << 38), 1 << 38))}


def plane(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    told = {"tap": int(rng.integers(9))}
    return told if cycle > 1 else {**told, "write": 1, "write_at": cycle}


def sums(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    told = {"word": int(rng.integers(3)), "read_at": int(rng.integers(3))}
    return told if cycle > 2 else {**told, "add": 1, "begun": 0, "word": cycle}


def loader(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    told = {"rst": int(cycle == 0), "banks_done": int(rng.integers(2)), "swap": 0, "start": 0}
    busy = bool(cycle) and ask("busy", {})
    same = busy or (cycle > 0 and rng.integers(2) > 0)  # the first pass is told a cycle before a start
    first = before["pass_first"] if same else int(rng.integers(8))
    told |= {"pass_first": first, "pass_end": before["pass_end"] if busy else int(rng.integers(first, 9))}
    told["write"] = 0 if busy else int(rng.integers(4) > 0)
    told["start"] = int(rng.integers(2)) if same and not (busy or told["write"] or before.get("write", 1)) else 0
    if busy and ask("ready", told):
        told["swap"] = int(rng.integers(2))
    return told


def sequencer(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    return {"rst": int(cycle == 0), "more": int(rng.integers(4)) & ask("wanted_valid", {})}


def crossbar(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    told = {"to_lane": pack(rng.permutation(3).tolist(), 3), "gate_bank": pack(rng.integers(3, size=3).tolist(), 2)}
    return told | {"fresh": int(cycle == 0 or rng.integers(4) == 0)}


def lane(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    filled = 0 if before.get("swap", 1) else before["filled"] + before["load"]
    row = pack(rng.integers(2, size=43).tolist(), 1) | pack(rng.integers(1 << 16, size=2).tolist(), 16) << 43
    row |= pack(rng.permutation(4)[:2].tolist(), 2) << 75 | int(rng.integers(4)) << 79
    told = {"rst": int(cycle == 0), "load": int(filled < 2 and rng.integers(2)), "load_row": row, "filled": filled}
    return told | {"wanted": pack([2 * int(rng.integers(2)), 1 + 2 * int(rng.integers(2))], 2)}


def search(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    """Maps and rows of slots change while no member is at hand."""
    told: Told = {"rst": int(cycle == 0), "step": 0, "renew": 0}
    any_ = cycle > 0 and ask("any", {})
    if any_:
        told |= {name: before[name] for name in ("tap_maps", "slot_rows")}
        told["step"] = int(rng.integers(2))
    else:
        told |= {"tap_maps": int(rng.integers(1 << 12)), "slot_rows": pack(rng.integers(1, 4, size=4).tolist(), 4)}
    taps, every = told["tap_maps"], int(rng.integers(2))
    told |= {"every_tap": every, "tap": int(rng.integers(4))}
    told["map"] = int(rng.integers(16)) & (taps | taps >> 4 | taps >> 8 if every else 15)
    if not any_ or (told["step"] and ask("last", {})):
        told["renew"] = int(cycle > 0 and rng.integers(2))
    return told


def lists(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    shifts, exponents = rng.integers(40, size=(4, 3)).tolist(), rng.integers(15, size=(4, 2)).tolist()
    rules = [pack(own, 6) | pack(more, 4) << 18 for own, more in zip(shifts, exponents, strict=True)]
    told = {"shifts": before.get("shifts", pack(rules, 26)), "wanted": int(2 * rng.integers(2))}
    told |= {"kind1": int(rng.integers(3)), "kind3": int(rng.integers(3))}
    told |= {"clear": int(cycle < 9 or rng.integers(32) == 0), "rst": int(cycle < 9 or rng.integers(32) == 0)}
    return told | {"first": 1} if cycle < 9 else told


def rows(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    busy = cycle > 0 and ask("busy", {})
    told = {"output_first": int(rng.integers(4)), "residual_shift": int(rng.integers(-20, 21)) & 63}
    told |= {"output_end": int(rng.integers(told["output_first"] + 1, 5)), "rows": int(rng.integers(1, 5))}
    told["rule"] = int(rng.integers(1 << 39)) | int(rng.integers(42)) << 40 | int(rng.integers(1 << 16)) << 46
    if cycle < 16:
        told |= {"rst": int(cycle == 0), "begins": 1, "start": 0, "several": 0}
        row = cycle % 2
        return {**told, "write_residual": 1, "write_at": cycle, "write_rows": 3 if cycle % 4 == 0 else 1 << row}
    # How rows leave is said with the start, and stays.
    several = before["several"] if busy else int(rng.integers(2))
    return {**told, "rst": 0, "start": int(not busy), "several": several, "write_residual": 0}


def bank(rng: np.random.Generator, ask: Ask) -> Script:
    """Memories are filled, then passes are loaded: a new one, or what is left of the one before."""
    quiet = dict.fromkeys(("rst", "write", "rewind", "loading", "first", "advance"), 0)
    codes = rng.choice(5, 32, p=(0.25, 0.25, 0.25, 0.15, 0.1)).tolist()  # three lanes, one to wait, one to end
    gates = rng.choice((7, 11, 13, 14, 15), 3).tolist()  # which slots have a gate word, of every tap
    maps = [*gates, int(rng.integers(16)), gates[0] | gates[1] | gates[2]]
    words = {
        (region, at): int(word)
        for region, own in {
            3: codes,
            5: rng.choice((7, 11, 13, 14, 15), 4) | rng.integers(5, size=4) << 4,
            6: rng.integers(13, size=4) | rng.integers(1 << 48, size=4) << 4 | rng.integers(1, 4, size=4) << 52,
            7: rng.integers(16, size=16) | rng.integers(13, size=16) << 4,
            9: rng.integers(1 << 16, size=16),
            10: rng.integers(1 << 16, size=8),
            12: rng.integers(1 << 38, size=16),
        }.items()
        for at, word in enumerate(own)
    }
    yield {**quiet, "rst": 1}
    for region, at in words:
        some, bits = WRITTEN[region]
        if at % some == 0:
            data = pack([words[region, at + place] for place in range(some)], bits)
            yield {**quiet, "write": 1, "write_region": region, "write_at": at // some, "write_data": data}
    for at, pair in enumerate(((maps[0], maps[1]), (maps[2], maps[3]), (maps[4], 0))):
        # Whole, or a half without the other, whatever stands beside it.
        for which, mine in ((3, 15),) if rng.integers(2) else ((1, 3), (2, 12)):
            data = pack([word & mine | int(rng.integers(16)) & ~mine for word in pair], 4)
            yield {**quiet, "write": 1, "write_region": 4, "write_at": which << 2 | at, "write_data": data}
    words |= {(4, at): word for at, word in enumerate(maps)}
    kind = left = first = 0
    group = {"halves": 3, "code_first": 0}
    loading = done = False
    while True:
        told = {**quiet, **group, "kind": kind, "loading": int(loading), "first": first}
        if loading:
            done = done or bool(ask("done", told))
            left -= ask("issue", told)
        first = 0
        if (loading and not done) or rng.integers(2):  # other banks are not done
            yield told
            loading = loading and not (done and rng.integers(4) == 0)
            continue
        told |= {"advance": 1, "goes_on": int(left > 0), "rewind": int(rng.integers(8) == 0)}
        if told["rewind"] and not left:
            group = {
                "halves": int(rng.integers(1, 4)),
                "code_first": int(rng.integers(32)),
            }
            told |= group
        told |= {"next_kind": kind if left else int(rng.choice(3, p=(0.6, 0.2, 0.2)))}
        told |= {"tap": int(rng.integers(3)), "column": int(rng.integers(4))}
        yield told
        kind, first, loading, done = told["next_kind"], 1, True, False
        left = left or len(members(words, kind, told["tap"], told["column"], (0, 3, 12, 15)[group["halves"]]))


def predictor(rng: np.random.Generator, ask: Ask) -> Script:
    """Channels and parts of an item are written, then it is predicted while banks are read and passes end."""
    yield {"rst": 1, "write": 0, "start": 0}
    while True:
        stride_2, rounds, channels, count, parts = (
            int(rng.integers(*ends)) for ends in ((2,), (1, 3), (2,), (6,), (1, 3))
        )
        channels += 2 * rounds - 1
        first = int(rng.integers(3 - parts))
        group = {"stride_2": stride_2, "rounds": rounds, "channels": channels}
        begin = int(rng.integers(8 - count))
        group |= {"channel_first": begin, "channel_end": begin + count}
        group |= {"part_first": first, "part_end": first + parts}
        group |= {"hidden_max": int(rng.integers(16)), "input_shift": int(rng.integers(13))}
        group |= {"input_min": int(rng.integers(-8, 1)) & 15, "input_max": int(rng.integers(8))}
        group |= {name: int(rng.integers(2)) for name in ("expand_gated", "depthwise_gated", "behind")}
        group |= {"turns": pack(rng.integers(3, size=10).tolist(), 2), "maps": int.from_bytes(rng.bytes(15), "little")}
        group |= {"gate_bases": int.from_bytes(rng.bytes(15), "little")}
        quiet = {**group, "rst": 0, "write": 0, "start": 0, "passes_done": 0}
        two = range(begin // 2, (begin + count + 1) // 2)
        words = {(13, at): pack([_channel(rng, channels), _channel(rng, channels)], 94) for at in two}
        for part in range(first, first + parts):
            rows, columns, least, most = (int(rng.integers(*ends)) for ends in ((1, 3), (1, 3), (3,), (3, 6)))
            turns = 2 if (rows - 1) * (1 + stride_2) + 3 > 3 else 1
            reading = channels + 1 + int(rng.integers(3))
            edges = pack([least, most, int(rng.integers(3)), int(rng.integers(3, 6))], 3)
            sizes = pack([rows, columns, int(rng.integers(4)), turns], 2)
            words[16, part] = reading | edges << 16 | sizes << 28
            words |= {(15, 8 * part + c): int.from_bytes(rng.bytes(50), "little") for c in range(channels)}
        for (region, at), word in words.items():
            yield {**quiet, "write": 1, "write_region": region, "write_at": at, "write_data": word}
        yield {**quiet, "start": 1}
        done = 0
        while ask("busy", quiet):
            yield {**quiet, "passes_done": done}
            done = min(8, done + int(rng.integers(4) == 0))


def _channel(rng: np.random.Generator, channels: int) -> int:
    """The record of a channel; no input of no channel has a weight."""
    weights = pack(rng.integers(8, size=channels).tolist(), 3)
    offset, offset_2 = (int(one) for one in rng.integers(-15, 15, size=2))
    stages = weights | (offset & 0x3FF) << 24 | int(rng.integers(4)) << 34 | int(rng.integers(1 << 27)) << 38
    way = (
        int(rng.integers(1 << 10))
        | int(rng.integers(3)) << 10
        | int(rng.integers(4)) << 12
        | int(rng.integers(6)) << 14
    )
    return stages | (offset_2 & 0x7FF) << 65 | way << 76


def sums_of_addresses(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    return {"bank": int(rng.integers(6)), "more_banks": int(rng.integers(6))}


def whole_buffer(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    """Every word is written whole first."""
    if cycle < 5:
        return {"request": 8, "row": cycle << 9, "bank": 0, "span": 3 << 6, "last_write": 1}
    told = {"row": pack(rng.integers(4, size=4).tolist(), 3), "bank": pack(rng.integers(3, size=4).tolist(), 2)}
    return {**told, "span": pack(rng.integers(1, 4, size=4).tolist(), 2)}


def some_fills(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    told = {"rst": int(cycle == 0), "start": 0, "grant": 0}
    if cycle and ask("request", told):
        told["grant"] = int(rng.integers(4) > 0)
    if cycle and ask("ready", told) and rng.integers(2):
        region = int(rng.choice([2, 5, 14, 14, 15, 15, 17]))
        pieces = {14: 5, 15: 4, 17: 2}.get(region, 3)
        first = int(rng.integers(pieces)) if region != 17 else 0
        end = int(rng.integers(first, pieces)) + 1
        begin, stop = sorted(rng.integers(37, size=2).tolist()) if rng.integers(2) else (0, 36)
        banks, rows = rng.integers(9, size=3).tolist(), rng.integers(8, size=3).tolist()
        at = [value for pair in zip(rows, banks, strict=True) for value in pair]
        values = [region, int(rng.integers(1 << 16)), int(rng.integers(1, 4)), *at, int(rng.integers(4))]
        values += [int(rng.integers(1, 10)), first, end, begin, stop]
        # Rows of residuals come together where no more do than are written at once.
        values.append(int(rng.choice({14: [0, 1, 2], 15: [0, 1, 2], 17: [0, 2]}.get(region, [0]))))
        told["fields"], told["start"] = 0, 1
        widths = (5, 16, 16, 3, 4, 3, 4, 3, 4, 2, 4, 3, 3, 6, 6, 2)
        for value, width in zip(reversed(values), reversed(widths), strict=True):
            told["fields"] = told["fields"] << width | value
    return told


def stores(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    bits = int(rng.integers(1 << 17))
    bits = bits & ~(3 << 3 | 3 << 8) | int(rng.integers(3)) << 3 | int(rng.integers(3)) << 8
    row = int(rng.integers(1, 4)) if cycle and rng.integers(4) else 0
    if rng.integers(2):  # two rows two words apart: the line holds them if each is in a word
        pixel = int(rng.integers(3))
        columns = int(rng.integers(1, min(3, 4 - pixel) + 1))
        bits = bits & ~(15 << 13) | pixel << 13 | columns << 15 | 1 << 17
    else:
        bits |= 1 << 15
    return {"rst": int(cycle == 0), "fields": bits, "row": row, "valid": int(cycle == 1 or rng.integers(2))}


def commands(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    kinds = rng.choice([0, 1, 2, 3], size=4, p=[0.1, 0.3, 0.4, 0.2]).tolist()
    line = sum((int(rng.integers(1 << 41)) << 2 | kind) << 43 * n for n, kind in enumerate(kinds))
    told = {"rst": int(cycle == 0), "read_data": line, "core_busy": int(rng.integers(40) == 0), "grant": 0}
    told["lists_busy"] = int(told["core_busy"] and rng.integers(2))
    told["finish_busy"] = int(told["core_busy"] and rng.integers(2))
    told["fill_busy"] = int(rng.integers(3) == 0)
    told["fill_reads"] = int(told["fill_busy"] and rng.integers(3) > 0)
    told["fill_ready"] = int(not told["fill_busy"] or rng.integers(2))
    told["start"] = int(cycle > 0 and not ask("busy", told))
    if cycle and ask("request", {**told, "start": 0}):
        told["grant"] = int(rng.integers(2))
    return told


def any_(rng: np.random.Generator, cycle: int, before: Told, ask: Ask) -> Told:
    return {}
