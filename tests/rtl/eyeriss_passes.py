"""Passes of the PEs of the dense and sparse machines, slowly: what leaves them, how long they take, what is told.

The reference multiplies as a layer is defined, in integers, and counts cycles as the model of the machine does; it
knows nothing of lists, rings and halves of memories. What PEs are told is planned from the passes alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from predfuse.arrays import Int64Array, Mask


@dataclass(frozen=True)
class Sizes:
    """Of PEs in step: how many, words of their memories, and whether zero weights are skipped."""

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


def finished(tiles: list[Tile], sizes: Sizes) -> list[list[dict[int, int]]]:
    """Of every PE, pixel after pixel, each output that it has a weight of and its sum."""
    found: list[list[dict[int, int]]] = [[] for _ in range(sizes.pes)]
    for pe, pixels in enumerate(found):
        for tile in tiles:
            work = tile.works(sizes.sparse)[pe]
            for pixel in range(tile.pixels):
                if tile.begins:
                    pixels.append({})
                for output in range(work.shape[1]):
                    for place in range(work.shape[0]):
                        if work[place, output]:
                            product = int(tile.weights[pe, place, output]) * int(tile.x[pe, pixel * tile.slide + place])
                            pixels[-1][output] = pixels[-1].get(output, 0) + product
    return found


@dataclass(frozen=True)
class _Entry:
    """A weight of a list: its place in the window, its output, whether it is the last of its sum."""

    place: int
    output: int
    last: bool
    weight: int


def _lists(tiles: list[Tile], sizes: Sizes) -> list[list[list[_Entry]]]:
    """Of every tile and PE its list, by inputs."""
    made: list[list[list[_Entry]]] = []
    for number, tile in enumerate(tiles):
        behind: list[Tile] = []  # tiles that go on with its sums
        while not (tiles[number] if not behind else behind[-1]).ends:
            behind.append(tiles[number + len(behind) + 1])
        made.append([])
        for pe in range(sizes.pes):
            work = tile.works(sizes.sparse)[pe]
            held = [(int(place), int(output)) for place, output in np.argwhere(work)]
            own = []
            for index, (place, output) in enumerate(held):
                again = any(other == output for _, other in held[index + 1 :])
                again |= any(one.works(sizes.sparse)[pe][:, output].any() for one in behind)
                own.append(_Entry(place, output, not again, int(tile.weights[pe, place, output])))
            made[-1].append(own)
    return made


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


def plan(tiles: list[Tile], sizes: Sizes, doubled: bool, rng: Generator) -> list[Told]:
    """Every cycle; cycle 0 is that of the reset.

    Weights of the next tile are loaded beside the work where they have a half of the memory each, else behind it. An
    input is written in a cycle drawn between the last use of its place and the one before its own first use, one a
    cycle and PE.
    """
    told: dict[int, Told] = {}
    lists, base, end = _lists(tiles, sizes), 0, 0
    free_half = [0, 0]  # cycles in which the halves were last read
    begins: list[list[tuple[int, int, int]]] = []  # of every tile and pixel: first cycle, base
    for number, (tile, own) in enumerate(zip(tiles, lists, strict=True)):
        half, length = number % 2 if doubled else 0, tile.cycles(sizes.sparse)
        first = half * (sizes.weights // 2)
        from_cycle = 1 + (begins[-1][0][0] - 1 if doubled and begins else end)
        assert from_cycle > free_half[half]
        loads = [_words(entries, length, sizes) for entries in own]
        for pe, words in enumerate(loads):
            for place, word in enumerate(words):
                _at(told, from_cycle + place).weights[pe] = first + place, word
        if not sizes.sparse:
            for place, entry in enumerate(own[0]):
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
        _inputs(told, [own[pe] for own in lists], begins, tiles, sizes, pe, rng)
    return [told.get(cycle, Told()) for cycle in range(end + 3)]


def _at(told: dict[int, Told], cycle: int) -> Told:
    return told.setdefault(cycle, Told())


def _index(entry: _Entry, sizes: Sizes) -> int:
    return (entry.last << sizes.sum | entry.output) << sizes.input | entry.place % sizes.inputs


def _words(entries: list[_Entry], length: int, sizes: Sizes) -> list[int]:
    """Of a list in memory; a zero ends one that is not the longest."""
    words = [entry.weight & 0xFFFF for entry in entries]
    if sizes.sparse:
        words = [_index(entry, sizes) << 16 | word for entry, word in zip(entries, words, strict=True)]
        words += [0] * (len(words) < length)
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
        _at(told, cycle).inputs[pe] = place, int(tiles[number].x[pe, word]) & 0xFFFF
        left[place] = last


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
