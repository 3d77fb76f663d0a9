"""Models of the global buffer and of what moves data from and to it; see ``models.py``."""

from __future__ import annotations

from collections import deque

from rtl.models import Model, Outputs, Told, field, pack

BANKS, PIXELS, LINE = 3, 4, 12  # of output_store and command


def fields(word: int, *widths: int) -> list[int]:
    """Fields one behind the other, the first in the lowest bits."""
    found = []
    for width in widths:
        found.append(word & ((1 << width) - 1))
        word >>= width
    return found


def buffer_bank() -> Model:
    words: dict[int, list[int]] = {}
    read: int | None = None

    def step(told: Told) -> Outputs:
        nonlocal read
        out: Outputs = {} if read is None else {"read_data": read}
        if told["access"] and told["write"]:
            word = words.setdefault(told["at"], [0, 0])
            for p in (0, 1):
                if told["write"] >> p & 1:
                    word[p] = field(told["write_data"], p, 16)
        elif told["access"]:
            read = pack(words[told["at"]], 16) if told["at"] in words else None
        return out

    return step


def arbiter() -> Model:
    def step(told: Told) -> Outputs:
        grant, free = 0, {0, 1, 2, 3}
        for client in range(3):
            wanted = {bank for bank in range(4) if field(told["wanted"], client, 4) >> bank & 1}
            if wanted and wanted <= free:
                grant |= 1 << client
                free -= wanted
        return {"grant": grant}

    return step


def address_sum() -> Model:
    def step(told: Told) -> Outputs:
        row, bank = divmod(6 * (told["row"] + told["more_rows"]) + told["bank"] + told["more_banks"], 6)
        return {"sum_row": row % 16, "sum_bank": bank}

    return step


def global_buffer(banks: int = 3, pixels: int = 2) -> Model:
    words: dict[int, int] = {}
    read: list[int | None] = [None] * banks
    width = 16 * pixels

    def step(told: Told) -> Outputs:
        known = sum(((1 << width) - 1) << width * b for b in range(banks) if read[b] is not None)
        out: Outputs = {"read_data": (pack([one or 0 for one in read], width), known)}
        grant, free = 0, set(range(banks))
        for client in range(4):
            first = field(told["row"], client, 3) * banks + field(told["bank"], client, 2)
            wanted = range(first, first + field(told["span"], client, 2))
            if not told["request"] >> client & 1 or not wanted or not {at % banks for at in wanted} <= free:
                continue
            grant |= 1 << client
            free -= {at % banks for at in wanted}
            for at in wanted:
                b = at % banks
                mask = field(told["first_write"], b, pixels) if client == 0 else 0
                if client == 3 and told["last_write"]:
                    words[at] = field(told["last_data"], b, width)
                elif mask:
                    every = sum(0xFFFF << 16 * p for p in range(pixels) if mask >> p & 1)
                    words[at] = words[at] & ~every | field(told["first_data"], b, width) & every
                else:
                    read[b] = words[at]
        return {**out, "grant": grant}

    return step


def fill() -> Model:
    banks, line_pixels, bits = 9, 36, 1300
    rows_together = [1, 4, 2]  # by pitch: one by one, 2 and 4 words apart
    todo: deque[tuple[int, int, int, list[int]]] = deque()  # word, first row or piece, record, what was told
    coming: tuple[int, int, int, list[int]] | None = None
    done: tuple[int, int, int, int] | None = None  # region, index, data, which rows of residuals
    pixels: dict[int, int] = {}  # of the record at hand

    def step(told: Told) -> Outputs:
        nonlocal coming, done
        reads = bool(todo) or coming is not None
        out: Outputs = {"request": bool(todo), "reads": reads, "busy": reads or done is not None}
        out["write"] = done is not None
        if done is not None:
            out |= {"write_region": done[0], "write_at": done[1], "write_data": done[2]}
            out |= {"write_rows": done[3]} if done[0] == 17 else {}
        done = None
        if coming is not None:
            word, piece, record, own = coming
            region, index, _, _, _, _, _, _, _, pixel, _, first, end, begin, stop, pitch = own
            together = rows_together[pitch]
            if piece <= first or region == 17:
                pixels.clear()
            line = [field(told["read_data"], (p + word % banks * PIXELS + pixel) % line_pixels, 16) for p in range(36)]
            if region in (14, 15):
                side = {14: 5, 15: 4}[region]
                for row in range(max(first, piece), min(end, piece + together)):
                    at = (row - piece) * [0, 2, 4][pitch] * PIXELS
                    shown = [c for c in range(side) if begin <= c < stop and at + c < line_pixels]
                    pixels.update({side * row + c: line[at + c] for c in shown})
            elif region == 17:
                data = written = 0
                for row in range(piece, min(end, piece + together)):
                    at = (row - piece) * [0, 2, 4][pitch] * PIXELS
                    shown_row = pack([line[at + c] if begin <= c < stop else 0 for c in range(2)], 16)
                    data, written = data | shown_row << 32 * (row % 2), written | 1 << row % 2
                done = region, (index + record) * 2 + piece & 0xFFFF, data, written
            else:
                pixels.update({line_pixels * piece + p: line[p] for p in range(line_pixels)})
            if region != 17 and piece + together >= end:
                data = sum(one << 16 * p for p, one in pixels.items()) & (1 << bits) - 1
                done = region, index + record & 0xFFFF, data, 0
        coming = None
        if todo:
            word, _, _, own = todo[0]
            out |= {"row": word // banks % 8, "bank": word % banks, "span": own[10]}
            if told["grant"]:
                coming = todo.popleft()
        ready = not todo  # behind the access of this cycle
        if told["start"]:
            own = fields(told["fields"], 5, 16, 16, 3, 4, 3, 4, 3, 4, 2, 4, 3, 3, 6, 6, 2)
            _, _, count, row, bank, rows, more, record_rows, record_banks, _, _, first, end, _, _, pitch = own
            together = rows_together[pitch]
            for record in range(count):
                at = row * banks + bank + record * (record_rows * banks + record_banks)
                pieces = range(first // together * together, end, together)
                todo.extend((at + n * (rows * banks + more), piece, record, own) for n, piece in enumerate(pieces))
        if told["rst"]:
            todo.clear()
            coming = done = None
        return out | {"ready": ready}

    return step


def output_store() -> Model:
    place = 0
    pixels: list[list[int]] | None = None  # of every row
    present = 0

    def step(told: Told) -> Outputs:
        nonlocal place, pixels, present
        row, bank, next_rows, next_banks, plane, pixel, columns, pitch = fields(told["fields"], 3, 2, 3, 2, 3, 2, 2, 2)
        apart = 2**pitch if pitch else 0  # words
        out: Outputs = {"request": pixels is not None, "span": apart + -(-(pixel + columns) // PIXELS)}
        if pixels is not None:
            first = place % BANKS * PIXELS + pixel
            there = {
                (first + n * apart * PIXELS + c) % LINE: own[c]
                for n, own in enumerate(pixels)
                for c in range(columns)
                if n == 0 or (pitch and present >> n & 1)
            }
            mask = sum(0xFFFF << 16 * p for p in there)
            out |= {"to_row": place // BANKS % 8, "to_bank": place % BANKS, "write": sum(1 << p for p in there)}
            out["write_data"] = sum(one << 16 * p for p, one in there.items()), mask
        pixels = None
        if told["valid"]:
            begin = (row + told["channel"] * plane) * BANKS + bank
            place = place + next_rows * BANKS + next_banks if told["row"] else begin
            read = [[field(told["data"], 3 * n + c, 16) for c in range(3)] for n in range(2)]
            pixels, present = read if not told["rst"] else None, told["present"]
        return out

    return step


def command() -> Model:
    waiting: deque[int] = deque()
    busy = listing = leaving = True  # whether the core was in the last cycle, lists ran, outputs left
    running = coming = told_start = started = False
    row = 0
    core_fields: int | None = None

    def step(told: Told) -> Outputs:
        nonlocal running, coming, told_start, started, row, core_fields, busy, listing, leaving
        ask = running and not waiting and not coming
        out: Outputs = {"busy": running, "request": ask, "start_core": started}
        if ask:
            out["row"] = row
        if core_fields is not None:
            out["core_fields"] = core_fields
        works = told_start or started or bool(told["core_busy"])
        lists = told_start or started or bool(told["lists_busy"])
        core_free, was_started = not works and not busy, False
        lists_done = not lists and not listing
        leaves = told_start or started or bool(told["finish_busy"])
        left = not leaves and not leaving
        leaving = leaves or bool(told["rst"])
        busy, listing = works or bool(told["rst"]), lists or bool(told["rst"])
        out["start_fill"] = 0
        if running and waiting:
            kind, after, body = fields(waiting[0], 2, 1, 40)
            fill_free = told["fill_ready"] if kind in (1, 3) else not told["fill_reads" if kind == 2 else "fill_busy"]
            let = {1: core_free or not after, 3: left if after else lists_done}.get(kind, core_free)
            free = let and (fill_free or (kind == 2 and not after))
            if free:
                waiting.popleft()
                running = kind != 0
                if kind in (1, 3):
                    out |= {"start_fill": 1, "fill_fields": body}
                elif kind == 2:
                    was_started, core_fields = True, body
        elif coming:
            waiting.extend(field(told["read_data"], n, 43) for n in range(4))
            row = (row + 1) % 8
        coming = ask and bool(told["grant"])
        started, told_start = told_start, was_started
        if told["start"] or told["rst"]:
            waiting.clear()
            running, row = not told["rst"], told["start_row"]
        if told["rst"]:
            coming = told_start = started = False
        return out

    return step
