"""What every component of the gateware does, in a few lines of Python each: written to be right, not to be like it.

A model is a generator: it is sent the inputs of a cycle, yields the outputs of that cycle and then goes on to the next.
An output it leaves out is not looked at; a pair of a value and a mask means the bits of the mask only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping, Sequence

import numpy as np

Outputs = dict[str, int | tuple[int, int]]
Model = Generator[Outputs, Mapping[str, int], None]


def field(word: int, index: int, bits: int, signed: bool = False) -> int:
    """Field ``index`` of a word of equal fields."""
    value = word >> index * bits & ((1 << bits) - 1)
    return value - (1 << bits) if signed and value >> bits - 1 else value


def signed(value: int, bits: int) -> int:
    return field(value, 0, bits, signed=True)


def pack(values: Sequence[int], bits: int) -> int:
    return sum((int(value) & ((1 << bits) - 1)) << index * bits for index, value in enumerate(values))


def half_up(value: int, shift: int) -> int:
    """``floor(value / 2**shift + 1/2)``."""
    return value if shift == 0 else (value + (1 << shift - 1)) >> shift


def saturate(value: int) -> int:
    return max(-32768, min(32767, value))


def power(code: int) -> int:
    """A weight of three bits."""
    return (0, 1, 2, 4)[code & 3] * (-1 if code & 4 else 1)


def memory() -> Model:
    words: dict[int, int] = {}
    told = yield {}
    while True:
        out: Outputs = {"read_data": words[told["read_at"]]} if told["read_at"] in words else {}
        if told["write"]:
            words[told["write_at"]] = told["write_data"]
        told = yield out


def gate_bank() -> Model:
    words: dict[int, int] = {}
    told = yield {}
    while True:
        at = told["read_at"] if told["read"] else told["write_at"]
        out: Outputs = {"read_data": words[at]} if at in words else {}
        if told["write"] and not told["read"]:
            mask = told["mask"]
            words[at] = words.get(at, 0) & ~mask | told["write_data"] & mask
        told = yield out


def gate_memory(banks: int = 3, pixels: int = 4, address: int = 3) -> Model:
    words: dict[tuple[int, int], int] = {}
    told = yield {}
    while True:
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
        told = yield out


def gated_tree(lanes: int = 3) -> Model:
    total = 0
    told = yield {}
    while True:
        out: Outputs = {"sum": total & (1 << 24) - 1}
        terms = [field(told["entries"], n, 16, True) for n in range(lanes) if told["gates"] >> n & 1]
        total = sum(terms) + (0 if told["first"] else total)
        told = yield out


def weighted_sum(terms: int = 5) -> Model:
    told = yield {}
    while True:
        sum_ = sum(field(told["values"], n, 5, True) * power(field(told["weights"], n, 3)) for n in range(terms))
        told = yield {"sum": sum_ & 0xFFFF}


def depthwise_unit(taps: int = 9) -> Model:
    told = yield {}
    while True:
        terms = [field(told["hidden"], k, 4) * power(field(told["weights"], k, 3)) for k in range(taps)]
        alive = told["present"] and (not told["gated"] or signed(told["offset"], 16) + sum(terms) > 0)
        told = yield {"gates": (1 << taps | told["mask1"]) if alive else 0}


def expand_unit(inputs: int = 2) -> Model:
    x: dict[tuple[int, int], int] = {}  # of a turn and a channel
    score = 0
    told = yield {}
    while True:
        round_ = range(inputs * told["round"], inputs * (told["round"] + 1))
        begun = signed(told["offset"], 16) if told["round"] == 0 else score
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
            score = now
        told = yield {"mask": int(alive), "hidden": hidden}


def hidden_planes(rows: int = 2, columns: int = 3, kernel: int = 3, side: int = 5, unit_rows: int = 3) -> Model:
    planes: list[dict[int, tuple[int, int]]] = [{}, {}]  # mask and hidden activation, by pixel
    told = yield {}
    while True:
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
        told = yield out


def gate_words(taps: int = 2, banks: int = 3, slots: int = 4, writes: int = 2, pixels: int = 3) -> Model:
    told = yield {}
    while True:
        bank, sent = told["bank"], 0
        gone: dict[int, int] = {}
        for t in range(taps + 1):
            to = (bank + field(told["turns"], t, 2)) % banks
            free = not told["fulls"] >> to & 1 and to not in gone and len(gone) < writes
            if told["waiting"] >> t & 1 and free:
                map_ = field(told["maps"], bank * (taps + 1) + t, slots)
                address = field(told["gate_bases"], bank * (taps + 1) + t, 4)
                address += (map_ & (1 << told["slot"]) - 1).bit_count()
                gone[to] = field(told["words"], t, pixels) | (address & 15) << pixels
                sent |= 1 << t
        data = pack([gone.get(b, 0) for b in range(banks)], 4 + pixels)
        asked = pack([-1 if b in gone else 0 for b in range(banks)], 4 + pixels)
        told = yield {"sent": sent, "push": sum(1 << b for b in gone), "data": (data, asked)}


def write_queue(depth: int = 2) -> Model:
    waiting: deque[int] = deque()
    told = yield {}
    while True:
        if told["rst"]:
            waiting.clear()
            told = yield {}
            continue
        full = len(waiting) == depth
        if told["push"]:
            waiting.append(told["data"])
        goes = bool(waiting) and not told["blocked"]
        out: Outputs = {"full": full, "write": goes}
        if goes:
            out["out"] = waiting.popleft()
        out["drained"] = not waiting
        told = yield out


def entry(told: Mapping[str, int]) -> int:
    """A fused weight, or the product of a depthwise bias."""
    project, factor = signed(told["project"], 16), signed(told["factor"], 24)
    if told["direct"]:
        return half_up(project * factor, told["shift"])
    return half_up(half_up(project * factor, 15) * signed(told["depthwise"], 16), told["shift"])


def fused_weight() -> Model:
    ways: deque[int | None] = deque([None, None])
    told = yield {}
    while True:
        ways.append(entry(told) & 0xFFFF)
        come = ways.popleft()
        told = yield {} if come is None else {"entry": come}


def finished(sums: int, bias: int, shift: int, told: Mapping[str, int], x: int, columns: int = 2) -> int:
    """A row of outputs."""
    pixels = []
    residual_shift = signed(told["residual_shift"], 6)
    for c in range(columns):
        own = saturate(half_up(field(sums, c, 40, True) + signed(bias, 40), shift & 63))
        if told["residual"]:
            added = field(x, c, 16, True)
            if residual_shift > 0:
                own = saturate(half_up((own << residual_shift) + added, residual_shift))
            else:
                own = saturate(own + (added << -residual_shift))
        pixels.append(own)
    return pack(pixels, 16)


def finish() -> Model:
    told = yield {}
    while True:
        told = yield {"y": finished(told["sums"], told["bias"], told["shift"], told, told["residual_x"])}


def input_plane(rows: int = 2, columns: int = 3, kernel: int = 3) -> Model:
    shape = 2 * (rows - 1) + kernel, 2 * (columns - 1) + kernel
    planes: dict[int, int] = {}
    plane: int | None = None
    x: int | None = None
    told = yield {}
    while True:
        out: Outputs = {} if x is None else {"x": x}
        x = None
        if plane is not None:
            pixels = np.array([field(plane, n, 16) for n in range(shape[0] * shape[1])]).reshape(shape)
            (down, right), step = divmod(told["tap"], kernel), 1 + told["stride_2"]
            under = pixels[down : down + step * rows : step, right : right + step * columns : step]
            x = pack(under.ravel().tolist(), 16)
        plane = planes.get(told["column"])
        if told["write"]:
            planes[told["write_at"]] = told["write_data"]
        told = yield out


def partial_sums() -> Model:
    sums: dict[int, int] = {}
    told = yield {}
    while True:
        out: Outputs = {"read_data": sums[told["read_at"]] & (1 << 48) - 1} if told["read_at"] in sums else {}
        if told["add"]:
            before = sums.get(told["word"], 0) if told["begun"] else 0
            sums[told["word"]] = before + signed(told["sum"], 24) * signed(told["x"], 16)
        told = yield out


def loader() -> Model:
    records: dict[int, int] = {}
    to_do: deque[int] = deque()  # the pass that is loaded, and those behind it
    loaded, first = False, False
    told = yield {}
    while True:
        out: Outputs = {"loading": bool(to_do) and not loaded, "busy": bool(to_do)}
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
        if told["write"]:
            records[told["write_at"]] = told["write_data"]
        if told["start"] or told["rst"]:
            to_do, loaded, first = deque(range(told["count"] if not told["rst"] else 0)), False, True
        told = yield out


def sequencer(outputs: int = 8, lists: int = 2) -> Model:
    left: list[list[int]] = [[] for _ in range(lists)]
    begun = [False] * lists
    told = yield {}
    while True:
        more = [bool(told["more"] >> t & 1) for t in range(lists)]
        now = [own[0] if own else 0 for own in left]
        ends = [not own[1:] and not more[t] for t, own in enumerate(left)]
        swap = all(ends) and bool(told["ready"])
        busy = any(left)
        out: Outputs = {
            "wanted": pack(now, 3),
            "wanted_valid": pack([bool(own) for own in left], 1),
            "first": pack([not one for one in begun], 1),
            "last": pack([bool(own) and not more[t] for t, own in enumerate(left)], 1),
            "busy": busy,
            "ending": busy and all(ends),
            "swap": swap,
        }
        begun = [bool(own) and more[t] for t, own in enumerate(left)]
        left = [own if more[t] else own[1:] for t, own in enumerate(left)]
        if swap:
            left = [[o for o in range(t, outputs, lists) if told["present"] >> o & 1] for t in range(lists)]
        if told["rst"]:
            left, begun, out = [[] for _ in range(lists)], [False] * lists, {}
        told = yield out


def crossbar(banks: int = 3, lanes: int = 3, pixels: int = 3, factors: int = 78) -> Model:
    present: set[int] = set()
    told = yield {}
    while True:
        if told["fresh"]:
            present.clear()
        rows = [0] * lanes
        load = [0] * lanes
        for b in range(banks):
            if told["issue"] >> b & 1:
                to, own = field(told["to_lane"], b, 3), field(told["factors"], b, factors)
                load[to] = 1
                rows[to] = own << pixels | field(told["gate_words"], field(told["gate_bank"], b, 2), pixels)
                present |= {field(own >> 72, w, 2) for w in range(2) if own >> 76 + w & 1}
        told = yield {
            "load": pack(load, 1),
            "rows": pack(rows, factors + pixels),
            "present": sum(1 << output for output in present),
        }


def lane(rows: int = 2, lists: int = 2, words: int = 2, pixels: int = 3) -> Model:
    sets: list[list[tuple[int, set[int]] | None]] = [[None] * rows, [None] * rows]  # a row, and words not sent yet
    active, filled = 0, 0
    come: Outputs = {}
    told = yield {}
    while True:
        out, come, more = dict(come), {}, 0
        found: dict[str, list[int]] = {"gates": [], "factors": [], "depthwise": [], "project": []}
        taken = []
        for t in range(lists):
            wanted = field(told["wanted"], t, 2)
            hits = [
                (row, w, left)
                for row, left in filter(None, sets[active])
                for w in left
                if told["wanted_valid"] >> t & 1 and field(row >> pixels + 72, w, 2) == wanted
            ]
            more |= (len(hits) > 1) << t
            row, w = hits[0][:2] if hits else (0, 0)
            found["gates"].append(field(row, 0, pixels))
            found["factors"].append(field(row >> pixels, 0, 24))
            found["depthwise"].append(field(row >> pixels + 24, 0, 16))
            found["project"].append(field(row >> pixels + 40, w, 16))
            if hits:
                taken.append((hits[0][2], w))
        for left, w in taken:
            left.discard(w)
        out["more"] = more
        for name, bits in (("gates", pixels), ("factors", 24), ("depthwise", 16), ("project", 16)):
            come[name] = pack(found[name], bits)
        if told["load"]:
            valid = told["load_row"] >> pixels + 76
            sets[1 - active][filled] = told["load_row"], {w for w in range(words) if valid >> w & 1}
            filled += 1
        if told["swap"]:
            active, filled = 1 - active, 0
        if told["rst"]:
            sets, active, filled, come, out = [[None] * rows, [None] * rows], 0, 0, {}, {}
        told = yield out


def member_search(slots: int = 4, taps: int = 3) -> Model:
    left: deque[tuple[int, int, int]] = deque()
    told = yield {}
    while True:
        if told["fresh"]:
            left = deque(
                (slot, tap, row)
                for slot in range(slots)
                if told["map"] >> slot & 1
                for tap in (range(taps) if told["every_tap"] else [told["tap"]])
                if not told["every_tap"] or told["tap_maps"] >> tap * slots + slot & 1
                for row in range(field(told["slot_rows"], slot, 4))
            )
        out: Outputs = {"any": bool(left)}
        if left:
            out |= dict(zip(("slot", "member_tap", "row"), left[0], strict=True)) | {"last": len(left) == 1}
            if told["step"]:
                left.popleft()
        told = yield out


def list_array(pixels: int = 2, lanes: int = 2, lists: int = 2) -> Model:
    """Told what the stages see in a cycle: the entries a cycle after the output, the activation four after it."""
    seen: deque[Mapping[str, int]] = deque(maxlen=5)
    sums: dict[int, list[int]] = {}
    totals = [0] * pixels
    told = yield {}
    while True:
        seen.append(told)
        words = sums.get(told["read_word"], [0] * pixels)
        out: Outputs = {"sums": pack(words, 48)} if len(seen) == 5 else {}
        if len(seen) == 5:
            start, sent, gated, kind = seen[0], seen[1], seen[1], seen[3]["kind3"]
            output = start["wanted"]
            rule = field(told["shifts"], output, 26)
            entries = [
                entry(
                    {
                        "project": field(sent["project"], n, 16),
                        "factor": field(sent["factors"], n, 24),
                        "depthwise": field(sent["depthwise"], n, 16),
                        "shift": field(rule, sent["kind1"], 6),
                        "direct": sent["kind1"] == 2,
                    }
                )
                for n in range(lanes)
            ]
            entries = [signed(one & 0xFFFF, 16) for one in entries]
            for p in range(pixels):
                terms = [one for n, one in enumerate(entries) if gated["gates"] >> n * pixels + p & 1]
                totals[p] = sum(terms) + (0 if start["first"] else totals[p])
            if start["last"] and not any(one["rst"] for one in list(seen)[1:4]):
                exponent = field(rule >> 18, kind - 1, 4) if kind else 0
                x = [1 << exponent if kind else field(told["x"], p, 16, True) for p in range(pixels)]
                before = sums.get(output // lists, [0] * pixels)
                sums[output // lists] = [before[p] + signed(totals[p] & 0xFFFFFF, 24) * x[p] for p in range(pixels)]
        if told["clear"]:
            sums.clear()
        told = yield out


def output_rows(lists: int = 2, rows: int = 2, columns: int = 2) -> Model:
    residuals: dict[int, int] = {}
    to_do: deque[tuple[int, int]] = deque()
    come: Outputs | None = None
    told = yield {}
    while True:
        out: Outputs = {"busy": bool(to_do), "valid": come is not None} | (come or {})
        come = None
        if to_do:
            output, row = to_do[0]
            out |= {"at": output, "read_word": output // lists}
            sums = field(told["sums"], rows * (output % lists) + row, 40 * columns)
            x = residuals.get(output * rows + row, 0)
            data = finished(sums, told["rule"], told["rule"] >> 40, told, x)
            come = {"channel": told["rule"] >> 46, "row": row, "data": data}
            to_do.popleft()
        if told["write_residual"]:
            residuals[told["write_at"]] = told["write_data"]
        if told["start"]:
            to_do = deque((o, r) for o in range(told["outputs"]) for r in range(told["rows"]))
        if told["rst"]:
            to_do.clear()
            out = {}
        told = yield out
