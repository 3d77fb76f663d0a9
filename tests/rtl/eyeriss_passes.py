"""Passes of the PEs of the dense and sparse machines, slowly: what leaves them, how long they take, what is told.

The reference multiplies as a layer is defined, in integers, and counts cycles as the model of the machine does; it
knows nothing of lists, rings, halves of memories and rows that add up. What PEs are told is planned from the passes
alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from predfuse.arrays import Int64Array, Mask

TOGETHER = 4
"""Rows of a column that work on the same in the same cycle."""


@dataclass(frozen=True)
class Sizes:
    """Of the PEs of a column: how many, words of their memories, and whether zero weights are skipped."""

    sparse: bool
    weights: int
    inputs: int
    sums: int
    pes: int = 3

    @property
    def at(self) -> int:
        return (self.weights - 1).bit_length()

    @property
    def input(self) -> int:
        return (self.inputs - 1).bit_length()

    @property
    def sum(self) -> int:
        return (self.sums - 1).bit_length()


@dataclass(frozen=True, eq=False)
class Tile:
    """Weights that PEs hold at once, and the pixels they serve.

    Attributes:
        weights: ``[pes, inputs of a window, outputs]``.
        taken: Which of them a layer has, ``[inputs of a window, outputs]``: depthwise, each input has one output.
        x: ``[pes, words]`` of inputs.
        slide: Words the window moves on with a pixel.
        pixels: How many.
        begins: Sums begin with it, they do not go on.
        ends: Sums are finished with it.
    """

    weights: Int64Array
    taken: Mask
    x: Int64Array
    slide: int
    pixels: int
    begins: bool = True
    ends: bool = True

    def works(self, sparse: bool) -> Mask:
        """Weights that are multiplied, ``[pes, inputs of a window, outputs]``."""
        every = np.broadcast_to(self.taken, self.weights.shape)
        return every & (self.weights != 0) if sparse else every

    def cycles(self, sparse: bool) -> int:
        """Of a pixel: as long as the fullest PE takes, and no less than one."""
        return max(1, *(int(work.sum()) for work in self.works(sparse)))


def cycles(tiles: list[Tile], sparse: bool) -> int:
    """Of all pixels, none lost between any two."""
    return sum(tile.pixels * tile.cycles(sparse) for tile in tiles)


def finished(tiles: list[Tile], groups: list[range], sizes: Sizes) -> list[list[dict[int, int]]]:
    """Of every group of rows, pixel after pixel, each output that one of them has a weight of, and its sum over all."""
    found: list[list[dict[int, int]]] = [[] for _ in groups]
    for group, pixels in zip(groups, found, strict=True):
        for tile in tiles:
            work = tile.works(sizes.sparse)
            for pixel in range(tile.pixels):
                if tile.begins:
                    pixels.append({})
                for pe, place, output in np.argwhere(work):
                    if pe in group:
                        product = int(tile.weights[pe, place, output]) * int(tile.x[pe, pixel * tile.slide + place])
                        pixels[-1][int(output)] = pixels[-1].get(int(output), 0) + product
    return found


@dataclass(frozen=True)
class _Entry:
    """A weight of a list: its place in the window, its output, whether it is the last of its sum."""

    place: int
    output: int
    last: bool
    weight: int


@dataclass(frozen=True)
class Lists:
    """Of a tile.

    Attributes:
        length: Cycles of a pixel.
        entries: Of every PE.
        leave: Outputs in the order in which their sums leave, of every group.
    """

    length: int
    entries: list[list[_Entry]]
    leave: list[list[int]]


def lists(tiles: list[Tile], groups: list[range], sizes: Sizes) -> list[Lists]:
    """Of every tile; rows of a group give a sum away in the same cycle of a pixel.

    Dense lists go by inputs. In sparse ones the sums leave last, one a cycle: what else a PE multiplies stands before,
    or where it has no part in a sum.
    """
    made = []
    for number, tile in enumerate(tiles):
        before, behind = [tile], [tile]  # tiles of the same sums
        while not before[0].begins:
            before.insert(0, tiles[number - len(before)])
        while not behind[-1].ends:
            behind.append(tiles[number + len(behind)])
        if not sizes.sparse:
            at = [(int(place), int(output)) for place, output in np.argwhere(tile.taken)]
            final = {output: index for index, (_, output) in enumerate(at)} if tile.ends else {}
            entries = [
                [_Entry(*one, final.get(one[1]) == index, int(own[one])) for index, one in enumerate(at)]
                for own in tile.weights
            ]
            made.append(Lists(len(at), entries, [sorted(final, key=final.__getitem__)] * len(groups)))
            continue
        counts = tile.works(True).sum(axis=1)  # [pes, outputs]
        live = np.any([one.works(True).any(axis=1) for one in before], axis=0)
        later = np.any([one.works(True).any(axis=1) for one in behind[1:]] or [np.zeros_like(live)], axis=0)
        leave = []
        for group in groups:
            rows = slice(group.start, group.stop)
            some = counts[rows].any(axis=0) & ~later[rows].any(axis=0)
            leave.append(_order([int(one) for one in np.flatnonzero(some)], counts[rows]))
        orders = [leave[next(n for n, group in enumerate(groups) if pe in group)] for pe in range(sizes.pes)]
        length = max(1, *(_needed(counts[pe], live[pe], orders[pe]) for pe in range(sizes.pes)))
        entries = [_arranged(tile, pe, live[pe], orders[pe], length) for pe in range(sizes.pes)]
        made.append(Lists(length, entries, leave))
    return made


def _order(leaving: list[int], counts: Int64Array) -> list[int]:
    """Outputs that leave: last those of which all full PEs have many weights."""
    slack = counts.sum(axis=1).max() - counts.sum(axis=1)
    return sorted(leaving, key=lambda output: (int((counts[:, output] + slack).min()), output))


def _needed(counts: Int64Array, live: Mask, order: list[int]) -> int:
    """Cycles of a pixel that a PE needs where these sums leave one after the other at its end."""
    own = [max(int(counts[output]), int(live[output])) for output in order]
    rest = int(counts.sum()) - sum(int(counts[output]) for output in order)
    tails = [sum(own[: index + 1]) + len(own) - 1 - index for index in range(len(own))]
    return max(rest + sum(own), *tails, 0)


def _arranged(tile: Tile, pe: int, live: Mask, order: list[int], length: int) -> list[_Entry]:
    """The list of a PE: last weights in their cycles, others by the cycle they have to be in; then zeros."""
    work = tile.works(True)[pe]
    cycle_of = {output: length - len(order) + index for index, output in enumerate(order)}
    last: dict[int, _Entry] = {}
    others: list[tuple[int, _Entry]] = []
    for output in range(work.shape[1]):
        places = [int(place) for place in np.flatnonzero(work[:, output])]
        if output in cycle_of and (places or live[output]):
            place = places.pop() if places else 0
            weight = int(tile.weights[pe, place, output]) if work[place, output] else 0
            last[cycle_of[output]] = _Entry(place, output, True, weight)
        for place in places:
            until = cycle_of.get(output, length)
            others.append((until, _Entry(place, output, False, int(tile.weights[pe, place, output]))))
    others.sort(key=lambda one: one[0])
    entries = []
    for cycle in range(length):
        if cycle in last:
            entries.append(last[cycle])
        elif others:
            until, entry = others.pop(0)
            assert cycle < until
            entries.append(entry)
        else:
            entries.append(_Entry(0, 0, False, 0))
    assert not others
    return entries


@dataclass
class Told:
    """What PEs are told in a cycle, and what then has to be so.

    Attributes:
        tile: That is offered, if one is: its half, end, slide and pixels after the first.
        weights: Of a PE: address, and index and weight.
        index: The same of the one all share.
        inputs: Of a PE: address and word.
        works: Whether they multiply.
    """

    tile: tuple[int, int, int, int] | None = None
    weights: dict[int, tuple[int, int]] = field(default_factory=dict)
    index: tuple[int, int] | None = None
    inputs: dict[int, tuple[int, int]] = field(default_factory=dict)
    works: bool = False


def plan(tiles: list[Tile], made: list[Lists], sizes: Sizes, doubled: bool, rng: Generator) -> list[Told]:
    """Every cycle; cycle 0 is that of the reset. Of :data:`TOGETHER` rows those that follow do all a cycle later.

    Weights of the next tile are loaded beside the work where they have a half of the memory each, else behind it. An
    input is written in a cycle drawn between the last use of its place and the one before its own first use, one a
    cycle and PE.
    """
    told: dict[int, Told] = {}
    base, end = 0, 0
    free_half = [0, 0]  # cycles in which the halves were last read
    begins: list[list[tuple[int, int, int]]] = []  # of every tile and pixel: first cycle, base
    for number, (tile, own) in enumerate(zip(tiles, made, strict=True)):
        half, length = number % 2 if doubled else 0, own.length
        first = half * (sizes.weights // 2)
        from_cycle = 1 + (begins[-1][0][0] - 1 if doubled and begins else end)
        assert from_cycle > free_half[half]
        loads = [_words(entries, sizes) for entries in own.entries]
        assert length <= sizes.weights // (1 + doubled)
        for pe, words in enumerate(loads):
            for place, word in enumerate(words):
                _at(told, from_cycle + place + pe // TOGETHER).weights[pe] = first + place, word
        if not sizes.sparse:
            for place, entry in enumerate(own.entries[0]):
                _at(told, from_cycle + place).index = first + place, _index(entry, sizes)
        ready = from_cycle + max(map(len, loads)) - 1
        taken = max(ready, end)
        for cycle in range(ready, taken + 1):
            _at(told, cycle).tile = half, first + length - 1, tile.slide % sizes.inputs, tile.pixels - 1
        begins.append([])
        for pixel in range(tile.pixels):
            start = taken + 1 + pixel * length
            begins[-1].append((start, base, pixel * tile.slide))
            base = (base + tile.slide) % sizes.inputs
            for cycle in range(start, start + length):
                _at(told, cycle).works = True
        end = free_half[half] = taken + tile.pixels * length
    for pe in range(sizes.pes):
        _inputs(told, [own.entries[pe] for own in made], begins, tiles, sizes, pe, rng)
    return [told.get(cycle, Told()) for cycle in range(end + 3 + sizes.pes // TOGETHER)]


def _at(told: dict[int, Told], cycle: int) -> Told:
    return told.setdefault(cycle, Told())


def _index(entry: _Entry, sizes: Sizes) -> int:
    return (entry.last << sizes.sum | entry.output) << sizes.input | entry.place % sizes.inputs


def _words(entries: list[_Entry], sizes: Sizes) -> list[int]:
    """Of a list in memory."""
    words = [entry.weight & 0xFFFF for entry in entries]
    if sizes.sparse:
        words = [_index(entry, sizes) << 16 | word for entry, word in zip(entries, words, strict=True)]
    return words


def _inputs(
    told: dict[int, Told],
    lists: list[list[_Entry]],
    begins: list[list[tuple[int, int, int]]],
    tiles: list[Tile],
    sizes: Sizes,
    pe: int,
    rng: Generator,
) -> None:
    """Write every input that a PE uses."""
    uses: dict[tuple[int, int], list[int]] = {}  # of a tile and a word: place, first and last cycle
    for number, (entries, pixels) in enumerate(zip(lists, begins, strict=True)):
        for start, base, word in pixels:
            for index, entry in enumerate(entries):
                if not entry.weight:
                    continue
                held = uses.setdefault(
                    (number, word + entry.place), [(base + entry.place) % sizes.inputs, start + index, 0]
                )
                assert held[0] == (base + entry.place) % sizes.inputs
                held[2] = start + index
    latest = {first - 1 for _, first, _ in uses.values()}
    assert len(latest) == len(uses)  # one a cycle
    written: set[int] = set()
    left = [1] * sizes.inputs
    for (number, word), (place, first, last) in sorted(uses.items(), key=lambda one: one[1][1]):
        assert left[place] < first
        drawn = int(rng.integers(left[place], first))
        cycle = drawn if drawn not in latest | written else first - 1
        written.add(cycle)
        _at(told, cycle + pe // TOGETHER).inputs[pe] = place, int(tiles[number].x[pe, word]) & 0xFFFF
        left[place] = last


def partition(rng: Generator, rows: int) -> list[range]:
    """Rows in groups, whose sums are added up."""
    ends = [row for row in range(1, rows) if rng.integers(2)]
    return [range(first, end) for first, end in pairwise([0, *ends, rows])]


def drawn(
    rng: Generator, sizes: Sizes, groups: list[range], doubled: bool, every: bool = False
) -> tuple[list[Tile], list[Lists]]:
    """Random tiles and their lists, which fit the memories; if asked for, with a weight of every output in every PE."""
    tiles = [*sequences(rng, sizes, doubled)]
    if every:
        for tile in tiles:
            some = tile.taken & (np.cumsum(tile.taken, axis=0) == 1)
            tile.weights[:, some] += tile.weights[:, some] == 0
    while True:
        made = lists(tiles, groups, sizes)
        long = [tile for tile, own in zip(tiles, made, strict=True) if own.length > sizes.weights // (1 + doubled)]
        if not long:
            return tiles, made
        for tile in long:
            work = tile.works(True)
            fullest = int(work.sum(axis=(1, 2)).argmax())
            counts = work[fullest].sum(axis=0)
            if every and counts.max() == 1:
                raise AssertionError
            place, output = rng.choice(np.argwhere(work[fullest] & (counts == counts.max())))
            tile.weights[fullest, place, output] = 0


def sequences(rng: Generator, sizes: Sizes, doubled: bool) -> Iterator[Tile]:
    """Random tiles: convolutions and depthwise ones, sums over one tile or several; first one that leaves sums zero.

    Where zeros are skipped they take no room.
    """
    held = sizes.weights // (1 + doubled)
    room = held * int(rng.integers(1, 5)) if sizes.sparse else held
    clear = np.eye(1, dtype=np.int64).repeat(sizes.sums, 1)[None].repeat(sizes.pes, 0)
    yield Tile(clear, clear[0] != 0, np.zeros((sizes.pes, 1), np.int64), 1, 1)
    for _ in range(int(rng.integers(1, 4))):
        outputs = int(rng.integers(1, sizes.sums + 1))
        density = float(rng.choice([0.1, 0.3, 0.6, 1]))
        if rng.integers(2):  # depthwise: as many windows as outputs
            taps = int(rng.integers(1, max(1, room // outputs) + 1))
            window, together = outputs * taps, 1
            rows_first = window <= sizes.inputs
            channel = np.arange(window) % outputs if rows_first else np.arange(window) // taps
            taken = channel[:, None] == np.arange(outputs)
            slide = outputs * int(rng.integers(1, taps + 1)) if rows_first else window
        else:
            window = int(rng.integers(1, min(sizes.inputs, room // outputs) + 1))
            taken, together = np.ones((window, outputs), np.bool_), int(rng.integers(1, 4))
            slide = int(rng.integers(1, window + 1))
        for part in range(together):
            pixels = 1 if together > 1 else int(rng.integers(1, 7))
            weights = rng.integers(-(1 << 15), 1 << 15, (sizes.pes, *taken.shape))
            weights[rng.random(weights.shape) >= density] = 0
            for own in weights if sizes.sparse else ():
                full = np.argwhere(taken & (own != 0))
                for place, output in rng.permutation(full)[held:]:
                    own[place, output] = 0
            x = rng.integers(-(1 << 15), 1 << 15, (sizes.pes, window + slide * (pixels - 1)))
            yield Tile(weights, taken, x, slide, pixels, part == 0, part == together - 1)
