"""What the components of the predictor do, in Python, as ``models.py`` does for the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator

import numpy as np
from rtl.models import Model, Outputs, Told, field, pack, power, signed


def weighted_sum(terms: int = 5) -> Model:
    def step(told: Told) -> Outputs:
        sum_ = sum(field(told["values"], n, 5, True) * power(field(told["weights"], n, 3)) for n in range(terms))
        return {"sum": told["start"] + sum_ & 0xFFFF}

    return step


def depthwise_unit(taps: int = 9) -> Model:
    def step(told: Told) -> Outputs:
        terms = [field(told["hidden"], k, 4) * power(field(told["weights"], k, 3)) for k in range(taps)]
        alive = told["present"] and (not told["gated"] or signed(told["offset"], 11) + sum(terms) > 0)
        return {"gates": (1 << taps | told["mask1"]) if alive else 0}

    return step


def expand_unit(inputs: int = 2) -> Model:
    x: dict[tuple[int, int], int] = {}  # of a turn and a channel
    score = 0

    def step(told: Told) -> Outputs:
        nonlocal score
        round_ = range(inputs * told["round"], inputs * (told["round"] + 1))
        begun = signed(told["offset"], 10) if told["round"] == 0 else score
        now = begun + sum(
            x.get((told["turn"], c), 0) * power(field(told["weights"], n, 3)) for n, c in enumerate(round_)
        )
        alive = told["present"] and (not told["gated"] or now > 0)
        hidden = max(0, min(told["hidden_max"], now >> told["shift"])) if told["present"] else 0
        for turn in range(2):
            if told["load"] >> turn & 1:
                least, most = signed(told["input_min"], 4), signed(told["input_max"], 4)
                moved = field(told["load_x"], turn, 16, True) >> told["input_shift"]
                x[turn, told["load_at"]] = max(least, min(most, moved))
        if told["step"]:
            score = signed(now & 0x3FF, 10)
        return {"mask": int(alive), "hidden": hidden}

    return step


def hidden_planes(rows: int = 2, columns: int = 3, kernel: int = 3, side: int = 5, unit_rows: int = 3) -> Model:
    planes: list[dict[int, tuple[int, int]]] = [{}, {}]  # mask and hidden activation, by pixel

    def step(told: Told) -> Outputs:
        masks, hiddens, known = [], [], []
        for y, x, k in np.ndindex(rows, columns, kernel**2):
            stride = 1 + told["stride_2"]
            row, column = stride * y + k // kernel, stride * x + k % kernel
            pixel = planes[told["drain"]].get(row * side + column) if max(row, column) < side else None
            masks.append((pixel or (0, 0))[0])
            hiddens.append((pixel or (0, 0))[1])
            known.append(0 if pixel is None else -1)
        out: Outputs = {
            "masks": (pack(masks, 1), pack(known, 1)),
            "hiddens": (pack(hiddens, 4), pack(known, 4)),
        }
        if told["write"]:
            for unit in range(unit_rows * side):
                pixel = field(told["masks_in"], unit, 1), field(told["hiddens_in"], unit, 4)
                planes[told["fill"]][told["turn"] * unit_rows * side + unit] = pixel
        return out

    return step


def handed(told: Told, taps: int, banks: int, slots: int, writes: int, pixels: int) -> tuple[int, dict[int, int]]:
    """Which gate words of a channel go in a cycle, and what goes to which queue: address and word."""
    sent = 0
    gone: dict[int, int] = {}
    for t in range(taps + 1):
        to = (told["bank"] + field(told["turns"], t, 2)) % banks
        free = not told["fulls"] >> to & 1 and to not in gone and len(gone) < writes
        if told["waiting"] >> t & 1 and free:
            place = told["bank"] * (taps + 1) + t
            rank = (field(told["maps"], place, slots) & (1 << told["slot"]) - 1).bit_count()
            gone[to] = field(told["words"], t, pixels) | (field(told["gate_bases"], place, 4) + rank & 15) << pixels
            sent |= 1 << t
    return sent, gone


def gate_words(taps: int = 2, banks: int = 3, slots: int = 4, writes: int = 2, pixels: int = 3) -> Model:
    def step(told: Told) -> Outputs:
        sent, gone = handed(told, taps, banks, slots, writes, pixels)
        data = pack([gone.get(b, 0) for b in range(banks)], 4 + pixels)
        asked = pack([-1 if b in gone else 0 for b in range(banks)], 4 + pixels)
        return {"sent": sent, "push": sum(1 << b for b in gone), "data": (data, asked)}

    return step


def write_queue(depth: int = 2) -> Model:
    waiting: deque[int] = deque()

    def step(told: Told) -> Outputs:
        if told["rst"]:
            waiting.clear()
            return {}
        full = len(waiting) == depth
        if told["push"]:
            waiting.append(told["data"])
        goes = bool(waiting) and not told["blocked"]
        out: Outputs = {"full": full, "write": goes}
        if goes:
            out["out"] = waiting.popleft()
        out["drained"] = not waiting
        return out

    return step


SIDE, HELD, TILE, BANKS, PIXELS, TAPS = 5, 8, (2, 2), 3, 4, 9
"""Of the predictor that has a model."""
Words = dict[tuple[int, int], int]
"""What its memories hold, by region and place."""


def fields(word: int, *bits: int) -> list[int]:
    """Of a record, the first in the lowest bits."""
    return [field(word >> sum(bits[:index]), 0, width) for index, width in enumerate(bits)]


def gate_words_of(told: Told, words: Words, part: int, channel: int) -> int:
    """Gate words of a channel in a part of a tile, one after the other: both stages, without cycles."""
    _, top, bottom, left, right, out_rows, out_columns, *_ = fields(words[16, part], 16, 3, 3, 3, 3, 2, 2)
    weights, offset, shift, taps, offset_2 = fields(words[13, channel], 3 * HELD, 10, 4, 3 * TAPS, 11)
    score = np.full((SIDE, SIDE), signed(offset, 10))
    for c in range(told["channels"]):
        x = [field(words[15, part * HELD + c], at, 16, True) for at in range(SIDE**2)]
        moved = np.array(x).reshape(SIDE, SIDE) >> told["input_shift"]
        score += power(field(weights, c, 3)) * np.clip(
            moved, signed(told["input_min"], 4), signed(told["input_max"], 4)
        )
    inside = np.zeros((SIDE, SIDE), bool)
    inside[top:bottom, left:right] = True
    mask = inside & ((score > 0) | (not told["expand_gated"]))
    hidden = inside * np.clip(score >> shift, 0, told["hidden_max"])
    found = np.zeros((TAPS + 1, *TILE), int)
    for i, j in np.ndindex(out_rows, out_columns):
        down, across = (at * (1 + told["stride_2"]) for at in (i, j))
        window = np.s_[down : down + 3, across : across + 3]
        terms = [int(one) * power(field(taps, k, 3)) for k, one in enumerate(hidden[window].ravel())]
        if signed(offset_2, 11) + sum(terms) > 0 or not told["depthwise_gated"]:
            found[:, i, j] = [*mask[window].ravel(), 1]
    return pack(found.ravel().tolist(), 1)


def predictor(depth: int = 2) -> Model:
    """A channel is computed whole when its last turn ends, and handed over as that component's model says."""
    words: Words = {}
    queues: list[deque[int]] = [deque() for _ in range(BANKS)]

    def idle() -> Generator[Outputs, Told, None]:
        while True:
            yield {"busy": 0, "gate_writes": 0}

    def item(behind: int) -> Generator[Outputs, Told, None]:
        told = yield {}
        begin, end = told["channel_first"], told["channel_end"]
        for part in range(told["part_first"], told["part_end"]):
            reading, _, _, place, turns = fields(words[16, part], 16, 12, 4, 2, 2)
            for _ in range(reading):
                told = yield {"busy": 1, "gate_writes": 0}
            first = second = begin
            spent = 0
            left: int | None = None  # words of the channel that is handed over
            expanded: deque[int] = deque()
            while second < end or any(queues):
                expands = first < end and len(expanded) < 2
                if expanded:
                    wanted, bank, slot, release = fields(words[13, second] >> 3 * HELD + 25 + 3 * TAPS, 10, 2, 2, 4)
                    if left is None and (not behind or told["passes_done"] > release):
                        left = wanted
                if expanded and left is not None:
                    fulls = sum(1 << b for b, queue in enumerate(queues) if len(queue) == depth)
                    own = {"waiting": left, "bank": bank, "slot": slot, "words": expanded[0], "fulls": fulls}
                    sent, gone = handed({**told, **own}, TAPS, BANKS, 4, 2, PIXELS)
                    for b, word in gone.items():
                        queues[b].append(word)
                    left &= ~sent
                    if not left:
                        expanded.popleft()
                        second, left = second + 1, None
                spent += expands
                if expands and spent == told["rounds"] * turns:
                    expanded.append(gate_words_of(told, words, part, first))
                    first, spent = first + 1, 0
                out = {"busy": 1} | written(told, place)
                out["gate_mask"] = (rectangle(words[16, part]) << place & 15, -1 if out["gate_writes"] else 0)
                told = yield out
        yield from idle()

    def written(told: Told, place: int) -> Outputs:
        """A word of every queue whose bank is not read."""
        go = {b: queue.popleft() for b, queue in enumerate(queues) if queue and not told["gate_reads"] >> b & 1}
        known = [-1 if b in go else 0 for b in range(BANKS)]
        at = pack([go.get(b, 0) >> PIXELS for b in range(BANKS)], 4)
        data = pack([field(go.get(b, 0), 0, PIXELS) << place for b in range(BANKS)], PIXELS)
        out: Outputs = {"gate_writes": sum(1 << b for b in go)}
        return out | {"gate_write_at": (at, pack(known, 4)), "gate_words": (data, pack(known, PIXELS))}

    def rectangle(record: int) -> int:
        rows, columns = fields(record >> 28, 2, 2)
        return pack([i < rows and j < columns for i, j in np.ndindex(TILE)], 1)

    flow = idle()
    next(flow)

    def step(told: Told) -> Outputs:
        nonlocal flow
        out = flow.send(told)
        if told["start"] and told["channel_first"] < told["channel_end"]:
            flow = item(told["behind"])
            next(flow)
        if told["write"] and told["write_region"] == 13:
            for place in (0, 1):
                words[13, 2 * told["write_at"] + place] = field(told["write_data"], place, 94)
        elif told["write"]:
            words[told["write_region"], told["write_at"]] = told["write_data"]
        return {} if told["rst"] else out

    return step
