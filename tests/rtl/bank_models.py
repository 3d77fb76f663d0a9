"""What the memories of factors and gate words do, and the ways to the lanes, in Python, as in ``models.py``."""

from __future__ import annotations

from collections import deque
from itertools import product

from rtl.models import Model, Outputs, Told, field, pack


def gate_bank() -> Model:
    words: dict[int, int] = {}

    def step(told: Told) -> Outputs:
        at = told["read_at"] if told["read"] else told["write_at"]
        out: Outputs = {"read_data": words[at]} if at in words else {}
        if told["write"] and not told["read"]:
            mask = told["mask"]
            words[at] = words.get(at, 0) & ~mask | told["write_data"] & mask
        return out

    return step


def gate_memory(banks: int = 3, pixels: int = 4, address: int = 3) -> Model:
    words: dict[tuple[int, int], int] = {}

    def step(told: Told) -> Outputs:
        reads = {
            field(told["wanted_bank"], h, 2): field(told["wanted_at"], h, address) + told["read_offset"]
            for h in range(banks)
            if told["issue"] >> h & 1
        }
        seen = [words.get((b, reads[b]), 0) if b in reads else 0 for b in range(banks)]
        known = [-1 if (b, reads.get(b, -1)) in words else 0 for b in range(banks)]
        out: Outputs = {
            "reads": sum(1 << b for b in reads),
            "read_words": (pack(seen, pixels), pack(known, pixels)),
        }
        for b in range(banks):
            if told["writes"] >> b & 1 and b not in reads:
                at, mask = (b, field(told["write_at"], b, address) + told["write_offset"]), told["mask"]
                words[at] = words.get(at, 0) & ~mask | field(told["write_words"], b, pixels) & mask
        return out

    return step


def member_search(slots: int = 4, taps: int = 3) -> Model:
    left: deque[tuple[int, int, int]] | None = None

    def step(told: Told) -> Outputs:
        nonlocal left
        out: Outputs = {"any": bool(left)} if left is not None else {}
        if left:
            out |= dict(zip(("slot", "member_tap", "row"), left[0], strict=True)) | {"last": len(left) == 1}
            out["below"] = (1 << left[0][0]) - 1
            if told["step"]:
                left.popleft()
        if told["rst"]:
            left = deque()
        elif told["renew"]:
            left = deque(
                (slot, tap, row)
                for slot in range(slots)
                if told["map"] >> slot & 1
                for tap in (range(taps) if told["every_tap"] else [told["tap"]])
                if not told["every_tap"] or told["tap_maps"] >> tap * slots + slot & 1
                for row in range(field(told["slot_rows"], slot, 4))
            )
        return out

    return step


def loader() -> Model:
    records: dict[int, int] = {}
    to_do: deque[int] = deque()  # the pass that is loaded, and those behind it
    loaded, first = False, False
    written = True  # in the cycle before: that word is not read yet
    idle_at = 0  # the first pass, as told in the cycle before

    def step(told: Told) -> Outputs:
        nonlocal records, to_do, loaded, first, written, idle_at
        out: Outputs = {"loading": bool(to_do) and not loaded, "busy": bool(to_do)}
        count = told["pass_end"] - told["pass_first"]
        out["advance"] = count > 0 if told["start"] else bool(told["swap"]) and len(to_do) > 1
        following = to_do[1] if len(to_do) > 1 else idle_at
        if len(to_do) != 1 and following in records and not written:
            out["coming"] = records[following]
        ready = bool(to_do) and (loaded or bool(told["banks_done"]))
        out["ready"] = ready
        if to_do:
            out["first"] = first
            if to_do[0] in records:
                out["pass_record"] = records[to_do[0]]
        first = bool(told["swap"])
        loaded = ready and not first
        if told["swap"]:
            to_do.popleft()
        written = bool(told["write"])
        if written:
            records |= {2 * told["write_at"] + k: field(told["write_data"], k, 5) for k in (0, 1)}
        if told["start"] or told["rst"]:
            to_do, loaded, first = deque(range(told["pass_first"], told["pass_end"])), False, True
        if told["rst"]:
            to_do.clear()
        idle_at = told["pass_first"]
        return out

    return step


def crossbar(banks: int = 3, lanes: int = 3, pixels: int = 3, factors: int = 78) -> Model:
    present: set[int] = set()

    def step(told: Told) -> Outputs:
        nonlocal present
        if told["fresh"]:
            present = set()
        rows = [0] * lanes
        load = [0] * lanes
        for b in range(banks):
            if told["issue"] >> b & 1:
                to, own = field(told["to_lane"], b, 3), field(told["factors"], b, factors)
                load[to] = 1
                rows[to] = own << pixels | field(told["gate_words"], field(told["gate_bank"], b, 2), pixels)
                present |= {field(own >> 72, w, 2) for w in range(2) if own >> 76 + w & 1}
        return {
            "load": pack(load, 1),
            "rows": pack(rows, factors + pixels),
            "present": sum(1 << output for output in present),
        }

    return step


Words = dict[tuple[int, int], int]
"""Records of a bank, by region and place."""
WRITTEN = {3: (2, 3), 4: (2, 4), 5: (2, 7), 6: (2, 56), 7: (2, 8), 9: (4, 16), 10: (2, 16), 12: (2, 38)}
"""By region: records that are written at once, and the bits of each."""
Members = deque[tuple[int, int, int]]
"""Slot, tap and row of project weights of each, in order."""


def members(words: Words, kind: int, tap: int, column: int, mine: int, slots: int = 4, taps: int = 3) -> Members:
    """Those of a pass among the slots `mine`: ascending, of expand biases all taps of each, rows of project weights."""
    maps = [words[4, index] for index in range(taps + 2)]
    chosen = mine & (maps[tap] & field(words[5, column], 0, slots) if kind == 0 else maps[taps + kind % 2])
    at_taps = [tap] if kind == 0 else list(range(taps)) if kind == 1 else [taps]
    return deque(
        (slot, one, row)
        for slot, one in product(range(slots), at_taps)
        if chosen >> slot & 1 and (kind != 1 or maps[one] >> slot & 1)
        for row in range(words[6, slot] >> 52)
    )


def bank(slots: int = 4, taps: int = 3, lanes: int = 3, codes: int = 32) -> Model:
    """Words have the bits that ``docs/explanation/rtl.md`` gives them."""
    words: Words = {}
    left: Members = deque()  # what the passes still send
    at, over, column = 0, False, 0

    def rank(slot: int, map_: int) -> int:
        return (map_ & (1 << slot) - 1).bit_count()

    def halves(told: Told, name: str = "halves") -> int:
        return (0, 3, 12, 15)[told[name]]

    def bases(told: Told, name: str, tap: int) -> int:
        return words[7, 8 * told[name] + tap]

    def word(told: Told) -> Outputs:
        """What goes with the next member."""
        slot, tap, row = left[0]
        base, own = bases(told, "half", tap), rank(slot, words[4, tap] & halves(told))
        places, biases = words[5, column], words[6, slot] >> 4
        expand = words.get((10, (places >> slots) + rank(slot, field(places, 0, slots))), 0)
        factor = (field(expand, 0, 16, True), field(biases, 0, 24), field(biases, 1, 24))[told["kind"]]
        out: Outputs = {"member_tap": tap, "factor": factor & 0xFFFFFF, "gate_at": field(base, 0, 4) + own & 15}
        if tap < taps:
            out["depthwise"] = words[9, (base >> 4) + own]
        return out | {"project": words[12, field(words[6, slot], 0, 4) + row]}

    def step(told: Told) -> Outputs:
        nonlocal left, at, over, column
        out: Outputs = {"issue": 0}
        if all((4, tap) in words and (7, 8 + tap) in words for tap in range(taps + 1)):
            own = halves(told, "predict_halves")
            out["maps_out"] = pack([words[4, tap] & own for tap in range(taps + 1)], slots)
            out["gate_bases_out"] = pack([bases(told, "predict_half", tap) for tap in range(taps + 1)], 4)
        if told["loading"]:
            code, following = (words[3, one] for one in (at, (at + 1) % codes))
            over = over and not told["first"]
            waits, last = bool(left) and not over, len(left) == 1
            issue = waits and code < lanes
            done = not waits or code == lanes + 1 or (issue and (last or following == lanes + 1))
            out |= {"issue": issue, "done": done}
            if waits:
                at = (at + 1 + (issue and not last and following == lanes + 1)) % codes
            if issue:
                out |= {"lane": code} | word(told)
                left.popleft()
            over = done
        if told["rewind"]:
            at = told["code_first"]
        if told["advance"] and not told["goes_on"]:
            column = told["column"]
            left = members(words, told["next_kind"], told["tap"], column, halves(told))
        if told["write"] and told["write_region"] in WRITTEN:
            region = told["write_region"]
            some, bits = WRITTEN[region]
            which, at_word = -1, told["write_at"]
            if region == 4:
                which, at_word = (0, 3, 12, 15)[at_word >> 2 & 3], at_word & 3
            for place in range(some):
                key = region, some * at_word + place
                words[key] = words.get(key, 0) & ~which | field(told["write_data"], place, bits) & which
        return out

    return step
