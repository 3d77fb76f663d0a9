"""What every component of the gateware does, in a few lines of Python each: written to be right, not to be like it.

A model is made once and called once a cycle: it is given the inputs of the cycle and returns its outputs. An output it
leaves out is not looked at; a pair of a value and a mask means the bits of the mask only. Those of the predictor are in
``predictor_models.py``, those of the memories beside lanes and gates in ``bank_models.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Told = Mapping[str, int]
Outputs = dict[str, int | tuple[int, int]]
Model = Callable[[Told], Outputs]


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

    def step(told: Told) -> Outputs:
        out: Outputs = {"read_data": words[told["read_at"]]} if told["read_at"] in words else {}
        if told["write"]:
            words[told["write_at"]] = told["write_data"]
        return out

    return step


def small_memory(bits: int = 5, ways: int = 2, address: int = 2) -> Model:
    words: dict[int, int] = {}

    def step(told: Told) -> Outputs:
        read = [words.get(field(told["read_at"], way, address)) for way in range(ways)]
        out: Outputs = {} if None in read else {"read_data": pack([one or 0 for one in read], bits)}
        if told["write"]:
            words[told["write_at"]] = told["write_data"]
        return out

    return step


def wide_memory(together: int = 2, bits: int = 7) -> Model:
    records: dict[int, int] = {}

    def step(told: Told) -> Outputs:
        out: Outputs = {"read_data": records[told["read_at"]]} if told["read_at"] in records else {}
        if told["write"]:
            for place in range(together):
                records[told["write_at"] * together + place] = field(told["write_data"], place, bits)
        return out

    return step


def gated_tree(lanes: int = 3) -> Model:
    total = 0

    def step(told: Told) -> Outputs:
        nonlocal total
        out: Outputs = {"sum": total & (1 << 24) - 1}
        terms = [field(told["entries"], n, 16, True) for n in range(lanes) if told["gates"] >> n & 1]
        total = sum(terms) + (0 if told["first"] else total)
        return out

    return step


def entry(told: Told) -> int:
    """A fused weight, or the product of a depthwise bias."""
    project, factor = signed(told["project"], 16), signed(told["factor"], 24)
    if told["direct"]:
        return half_up(project * factor, told["shift"])
    return half_up(half_up(project * factor, 15) * signed(told["depthwise"], 16), told["shift"])


def fused_weight() -> Model:
    ways: deque[int | None] = deque([None, None])

    def step(told: Told) -> Outputs:
        ways.append(entry(told) & 0xFFFF)
        come = ways.popleft()
        return {} if come is None else {"entry": come}

    return step


def finished(sums: int, bias: int, shift: int, told: Told, x: int, columns: int = 2) -> int:
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
    before: Told | None = None

    def step(told: Told) -> Outputs:
        nonlocal before
        own, before = before, told
        if own is None:
            return {}
        return {"y": finished(own["sums"], own["bias"], own["shift"], told, own["residual_x"])}

    return step


def input_plane(rows: int = 2, columns: int = 3, kernel: int = 3) -> Model:
    shape = 2 * (rows - 1) + kernel, 2 * (columns - 1) + kernel
    planes: dict[int, int] = {}
    plane: int | None = None
    x: int | None = None

    def step(told: Told) -> Outputs:
        nonlocal plane, x
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
        return out

    return step


def partial_sums() -> Model:
    sums: dict[int, int] = {}

    def step(told: Told) -> Outputs:
        out: Outputs = {"read_data": sums[told["read_at"]] & (1 << 48) - 1} if told["read_at"] in sums else {}
        if told["add"]:
            before = sums.get(told["word"], 0) if told["begun"] else 0
            sums[told["word"]] = before + signed(told["sum"], 24) * signed(told["x"], 16)
        return out

    return step


def sequencer(outputs: int = 8, lists: int = 2) -> Model:
    left: list[list[int]] = [[] for _ in range(lists)]
    begun = [False] * lists

    def step(told: Told) -> Outputs:
        nonlocal left, begun
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
        return out

    return step


def lane(rows: int = 2, lists: int = 2, words: int = 2, pixels: int = 3) -> Model:
    sets: list[list[tuple[int, set[int]] | None]] = [[None] * rows, [None] * rows]  # a row, and words not sent yet
    active, filled = 0, 0
    come: Outputs = {}

    def step(told: Told) -> Outputs:
        nonlocal sets, active, filled, come
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
        return out

    return step


def list_array(pixels: int = 2, lanes: int = 2, lists: int = 2) -> Model:
    """Told what the stages see in a cycle: the entries a cycle after the output, the activation four after it."""
    seen: deque[Told] = deque(maxlen=5)
    words = 2
    sums: dict[int, list[int]] = {}  # of two sets of words, those of outputs that leave among them
    leaving = begun = frozenset[int]()
    second = 0
    totals = [0] * pixels

    def step(told: Told) -> Outputs:
        nonlocal leaving, begun, second
        seen.append(told)
        out: Outputs = {}
        added = begun
        if len(seen) == 5:
            out["read_begun"] = told["read_word"] in leaving
            if told["read_word"] in sums:
                out["sums"] = pack(sums[told["read_word"]], 48)
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
                word = (output // lists + second * (words // 2)) % words
                before = sums[word] if word in begun else [0] * pixels
                sums[word] = [before[p] + signed(totals[p] & 0xFFFFFF, 24) * x[p] for p in range(pixels)]
                added = begun | {word}
        if told["leave"]:
            leaving = added
        if told["clear"]:
            begun, second = frozenset(), told["set"]
        else:
            begun = added
        return out

    return step


def output_rows(lists: int = 2, rows: int = 4, columns: int = 2, outputs: int = 4, at_once: int = 2) -> Model:
    residuals: dict[int, int] = {}
    to_do: deque[tuple[int, list[int]]] = deque()
    stages: deque[Outputs | None] = deque([None] * 3)  # rows on their way
    coming: Told = {}  # what was told of the item whose lists run
    leaving: Told = {}

    def step(told: Told) -> Outputs:
        nonlocal to_do, coming, leaving
        come, busy = stages.popleft(), bool(to_do) or any(list(stages)[:2])
        out: Outputs = {"busy": busy, "valid": come is not None} | (come or {})
        stages.append(None)
        if to_do:
            output, own_rows = to_do.popleft()
            place = (output + leaving["set"] * (outputs // lists // 2 * lists)) % outputs
            out |= {"at": output, "read_word": place // lists}
            begun = told["begun"] >> output % lists & 1
            data = mask = 0
            for n, row in enumerate(own_rows):
                sums = begun * field(told["sums"], rows * (output % lists) + row, 40 * columns)
                x = residuals.get(place * rows + row, 0)
                one = finished(sums, told["rule"], told["rule"] >> 40, leaving, x)
                data, mask = data | one << 16 * columns * n, mask | (1 << 16 * columns) - 1 << 16 * columns * n
            present = (1 << len(own_rows)) - 1
            stages[-1] = {"channel": told["rule"] >> 46, "row": own_rows[0], "data": (data, mask), "present": present}
        if told["write_residual"]:
            first = told["write_at"] // at_once * at_once
            written = [n for n in range(at_once) if told["write_rows"] >> n & 1]
            residuals.update({first + n: field(told["write_data"], n, 16 * columns) for n in written})
        if told["start"]:
            leaving, own = coming, range(coming["output_first"], coming["output_end"])
            step_rows = at_once if told["several"] else 1
            to_do = deque(
                (o, list(range(r, min(r + step_rows, coming["rows"]))))
                for o in own
                for r in range(0, coming["rows"], step_rows)
            )
        if told["begins"]:
            coming = told
        if told["rst"]:
            to_do.clear()
            return {}
        return out

    return step
