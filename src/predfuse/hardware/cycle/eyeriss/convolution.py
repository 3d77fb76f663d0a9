"""One convolution on the dense or sparse machine: of all ways to run it the one of least cycles times energy.

A way is a mapping of the layer, its sizes as they are or rounded up, some groups at once, with tiles that leave room to
load the next ones beside them or not, or of which only the weights that are not zero fit a PE. What a way costs at
least is known at once; the cycles of a sparse layer are counted, and its steps scheduled, only for ways that may still
be the best.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from predfuse.arrays import Array, Float64Array, Int32Array, Int64Array
from predfuse.errors import InputError
from predfuse.hardware.closed_form.mapping import Mapping, best_mapping, divisors, largest_divisor, mapping_of, sides
from predfuse.hardware.closed_form.nest_search import (
    ACTIONS,
    MachineSizes,
    buffer_words,
    least_energy,
    machine_sizes,
    window_sizes,
)
from predfuse.hardware.cycle.eyeriss.padding import rounded_up
from predfuse.hardware.cycle.eyeriss.ways import Layer, Moves, cost_ways, nonzeros_before, sparse_cycles
from predfuse.hardware.cycle.memory.buffer import Place, buffer_cycles
from predfuse.hardware.cycle.memory.schedule import schedule
from predfuse.hardware.cycle.memory.steps import Steps
from predfuse.hardware.cycle.plan import LayerPlan, StagePlan
from predfuse.hardware.energy import Actions, at_prices, prices_pj
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation

MOST_STEPS = 64
"""Steps a layer is scheduled in, at most; its passes are alike."""


@dataclass(frozen=True)
class Doubled:
    """Which memories hold a second set of data, so that it is loaded while the first is worked on."""

    buffer: bool
    weights: bool


EVERY_DOUBLED = (Doubled(True, True), Doubled(True, False), Doubled(False, True), Doubled(False, False))
LARGER_TILES = (1, 2, 3, 4)
"""Weights of a tile, zeros among them, over words of the memory it lies in; of those that are not zero all must fit.
Six and eight gave no machine fewer cycles."""


@dataclass(frozen=True, eq=False)
class Way:
    """One way to run a layer.

    Attributes:
        operation: The layer as it is.
        mapping: Of the layer, rounded up; its actions are those of the layer as it is, on this machine.
        at_once: Groups worked on at once.
        energy_pj: Of what it does.
        weight_bits: Weights fetched.
        doubled: Which memories hold two sets.
        place: Where its maps are.
        room_bits: Of the buffer beside these and the tiles it works on.
        cycles: Of the array and the buffer.
    """

    operation: Operation
    mapping: Mapping
    at_once: int
    energy_pj: float
    weight_bits: float
    doubled: Doubled
    place: Place
    room_bits: int
    cycles: int

    @property
    def actions(self) -> Actions:
        """What it does."""
        return self.mapping.actions

    @property
    def loads(self) -> tuple[tuple[int, bool], tuple[int, bool]]:
        """Bits of weights and of inputs, and whether each is loaded ahead: where a second set fits."""
        weights = round(self.weight_bits)
        inputs = round(self.actions.dram_read_bits) - weights
        return (weights, self.doubled.weights), (inputs, self.doubled.buffer)

    def steps(self, loads: Sequence[tuple[int, bool]]) -> Steps:
        """Equal steps with these loads."""
        operation, stored = self.operation, round(self.actions.dram_written_bits)
        count, reads_stores = min(self.mapping.passes, MOST_STEPS), not self.place.input_on_chip
        work = (stored, self.cycles, reads_stores, self.room_bits)
        return Steps.even(operation.layer, operation.stage, count, loads, *work)

    def end(self, dram_bits_per_cycle: int | None) -> int:
        """Cycles it takes by itself, loads and stores beside its work; what is loaded ahead divided as one."""
        early, late = (sum(bits for bits, ahead in self.loads if ahead is which) for which in (True, False))
        return schedule(self.steps(((early, True), (late, False))), dram_bits_per_cycle).end

    def row(self, spec: EyerissSpec) -> StagePlan:
        """The stage of a plan that runs this way."""
        mapping, at_once = self.mapping, self.at_once
        described = mapping.describe() if at_once == 1 else f"{at_once} groups at once, each {mapping.describe()}"
        pes = mapping.spatial.pes * at_once
        operation = self.operation
        return StagePlan(operation.stage, operation.macs, spec.array.pes, self.actions, described, pes, self.cycles)

    def plan(self, spec: EyerissSpec) -> LayerPlan:
        """Equal steps and actions."""
        return LayerPlan(self.operation.layer, self.steps(self.loads), (self.row(spec),))


class _Candidate(NamedTuple):
    """A way whose cycles are a bound; the least comes first.

    Attributes:
        bound: What cycles times energy is at least.
        number: In the order they were found.
        at_once: Groups worked on at once.
        size: Outputs, input channels and output columns, rounded up.
        nest: ``[len(NEST)]``.
        actions: What it does.
        energy_pj: Of them.
        weight_bits: Weights fetched.
        doubled: Which memories hold two sets.
        cycles: No more than it takes.
    """

    bound: float
    number: int
    at_once: int
    size: list[int]
    nest: Int64Array
    actions: Actions
    energy_pj: float
    weight_bits: float
    doubled: Doubled
    cycles: int


class Convolutions:
    """All convolutions of a network on one machine; what several have in common is found once.

    Args:
        spec: The machine.
    """

    def __init__(self, spec: EyerissSpec) -> None:
        self.spec = spec
        self._prices = prices_pj(spec)
        self._machine = machine_sizes(spec)
        self._best: dict[tuple[object, ...], Way] = {}
        self._nonzeros: dict[int, tuple[Array, Int32Array, int]] = {}
        self._searched: dict[tuple[object, ...], tuple[Int64Array, Float64Array]] = {}
        self._counted: dict[tuple[object, ...], tuple[int, int]] = {}
        compressed = spec.kind == "sparse" and spec.prices == "synthesised" and spec.edges == "idle"
        self._tiles = LARGER_TILES if compressed else LARGER_TILES[:1]

    def energy_pj(self, actions: Actions) -> float:
        """Energy of so many actions (pJ)."""
        return sum(at_prices(actions, self._prices).values())

    def best(self, operation: Operation, place: Place, residual: bool = False) -> Way:
        """The way of the least product of cycles and energy.

        Args:
            operation: The layer.
            place: Where its maps are.
            residual: Whether a map of the size of its output is added.

        Raises:
            InputError: A memory of the machine is too small for the layer.
        """
        nonzeros = id(self._weights(operation)[0]) if self.spec.kind == "sparse" else -1
        sizes = (operation.channels, operation.outputs, operation.groups, operation.rows, operation.columns)
        key = (*sizes, nonzeros, place, residual)
        if key not in self._best:
            self._best[key] = self._search(operation, place, residual)
        return replace(self._best[key], operation=operation)

    def _search(self, operation: Operation, place: Place, residual: bool) -> Way:
        spec = self.spec
        found = sorted(self._candidates(operation, place, residual))
        if not found:
            best_mapping(operation, self._least_machine(place.free_words))  # says what is missing
            raise AssertionError
        best: tuple[tuple[float, float, int], Way] | None = None
        for candidate in found:
            if best is not None and candidate.bound > best[0][0]:
                break
            way = self._way(candidate, operation, place)
            bounded = self._bound(way.actions, way.cycles, way.energy_pj)
            if best is None or bounded <= best[0][0]:
                rank = (way.end(spec.dram_bits_per_cycle) * way.energy_pj, bounded, candidate.number)
                if best is None or rank < best[0]:
                    best = rank, way
            if spec.edges == "perfect":
                break
        assert best is not None
        return best[1]

    def _bound(self, actions: Actions, cycles: int, energy_pj: float) -> float:
        """What cycles times energy is at least, when loads and stores hide behind work or work behind them."""
        moved = actions.dram_read_bits + actions.dram_written_bits
        return max(cycles, moved // (self.spec.dram_bits_per_cycle or math.inf)) * energy_pj

    def _candidates(self, operation: Operation, place: Place, residual: bool) -> Iterator[_Candidate]:
        """Every promising way, its cycles a bound. The same nest beside a second set of data is no worse."""
        spec, depthwise = self.spec, operation.is_depthwise
        m, c = sides(operation)
        windows = window_sizes(operation.rows), window_sizes(operation.columns)
        nonzeros = self._weights(operation)[2] if spec.kind == "sparse" else -1
        layer = Layer(m, c, 1 if depthwise else operation.groups, depthwise, *windows, nonzeros)
        on_chip = (place.input_on_chip, place.output_on_chip, residual, place.residual_on_chip)
        moves = Moves(*on_chip, spec.weight_index_bits, spec.global_buffer.width_bits)
        finished = operation.outputs * operation.out_pixels
        finishing = -(-finished // (spec.outputs_per_cycle or finished))
        number = 0
        for at_once, machine, sizes, limits in self._shares(operation, place):
            groups = layer.groups // at_once
            searches = [self._nests(layer, groups, machine, size, limits) for size in sizes.tolist()]
            nests, done = (np.stack(arrays) for arrays in zip(*searches, strict=True))
            if len(self._tiles) > 1:
                self._drop_too_full(operation, at_once, sizes, nests)
            new, costs, cycles = cost_ways(layer, moves, machine, at_once, sizes, nests, done)
            for size, memory in np.argwhere(new).tolist():
                actions = Actions(**dict(zip(ACTIONS, done[size, memory].tolist(), strict=True)))
                energy_pj, weight_bits = costs[size, memory].tolist()
                least = int(cycles[size, memory])
                if spec.edges == "idle":
                    least = max(least, buffer_cycles(actions, spec), finishing)
                yield _Candidate(
                    bound=self._bound(actions, least, energy_pj),
                    number=number,
                    at_once=at_once,
                    size=sizes[size].tolist(),
                    nest=nests[size, memory],
                    actions=actions,
                    energy_pj=energy_pj,
                    weight_bits=weight_bits,
                    doubled=EVERY_DOUBLED[memory // len(self._tiles)],
                    cycles=least,
                )
                number += 1

    def _shares(self, operation: Operation, place: Place) -> Iterator[tuple[int, MachineSizes, Int64Array, Int64Array]]:
        """Groups worked on at once, the machine one group has, sizes of the layer that suit it, and its memories.

        The array is cut into columns: a group of few channels would leave most of it idle.
        """
        spec, (m, c) = self.spec, sides(operation)
        if spec.edges == "perfect":
            limits = np.array([[spec.buffer_words, spec.pe.weight_sram_words]])
            yield 1, self._machine, np.array([[m, c, operation.columns.out]]), limits
            return
        pes, widths, prices = self._machine
        for at_once in (1,) if operation.is_depthwise else divisors(operation.groups):
            columns = spec.array.columns // at_once
            if columns:
                sizes = rounded_up(m, c, operation.columns.out, operation.columns.kernel, spec.array.rows, columns)
                memories = [self._memories(place.free_words // at_once, both) for both in EVERY_DOUBLED]
                limits = np.array([(words, most * tiles) for words, most in memories for tiles in self._tiles])
                yield at_once, ((pes[0], columns, *pes[2:]), widths, prices), sizes, limits

    def _nests(
        self, layer: Layer, groups: int, machine: MachineSizes, size: list[int], limits: Int64Array
    ) -> tuple[Int64Array, Float64Array]:
        """The best nests of a layer of this size, and what so many groups of it do."""
        m, c, q = size
        columns = (layer.columns[0], q, *layer.columns[2:])
        key = (m, c, groups, layer.depthwise, layer.rows, columns, machine[0][1], limits.tobytes())
        if key not in self._searched:
            self._searched[key] = least_energy(*key[:6], machine, limits, 0)[:2]
        return self._searched[key]

    def _drop_too_full(self, operation: Operation, at_once: int, sizes: Int64Array, nests: Int64Array) -> None:
        """Leave out nests ``[sizes, memories, len(NEST)]`` of larger tiles whose weights do not fit a PE."""
        for index, memory in np.argwhere(nests[:, :, 0] > 0).tolist():
            if memory % len(self._tiles):
                size, nest = sizes[index].tolist(), nests[index, memory]
                words = self._memories(0, EVERY_DOUBLED[memory // len(self._tiles)])[1]
                if self._passes(operation, size, nest, at_once)[1] > words:
                    nest[:] = 0

    def _passes(self, operation: Operation, size: list[int], nest: Int64Array, at_once: int) -> tuple[int, int]:
        """Cycles of a pixel on the sparse machine, and the most weights a PE holds."""
        weight, before, _ = self._weights(operation)
        m_columns, m_rows, c_rows, m0, _, _, c0, _, _, _, s_rows, _ = nest.tolist()
        key = (id(weight), *size[:2], at_once, m_columns * m_rows, c_rows, s_rows, m0, c0)
        if key not in self._counted:
            least = 0 if self.spec.edges == "perfect" else 1  # a pass without any weight has to begin, too
            groups = 1 if operation.is_depthwise else operation.groups
            self._counted[key] = sparse_cycles(before, groups, (size[0], size[1]), nest, at_once, least)
        return self._counted[key]

    def _way(self, candidate: _Candidate, operation: Operation, place: Place) -> Way:
        """A candidate with its cycles counted."""
        q = candidate.size[2]
        nest, at_once, actions = candidate.nest, candidate.at_once, candidate.actions
        groups = 1 if operation.is_depthwise else operation.groups
        columns = replace(operation.columns, out=q)
        mapping = mapping_of(nest, actions, operation.rows, columns, groups // at_once)
        cycles = candidate.cycles
        if self.spec.kind == "sparse":
            cycles = max(cycles, self._passes(operation, candidate.size, nest, at_once)[0] * mapping.pixel_passes)
        windows = window_sizes(operation.rows), window_sizes(columns)
        tile_words = at_once * buffer_words(nest, operation.is_depthwise, windows, self.spec)
        room_words = place.free_words - tile_words * (2 if candidate.doubled.buffer else 1)
        room_bits = max(0, room_words) * self.spec.bits
        costs = (candidate.energy_pj, candidate.weight_bits, candidate.doubled)
        return Way(operation, mapping, at_once, *costs, place, room_bits, cycles)

    def _weights(self, operation: Operation) -> tuple[Array, Int32Array, int]:
        """Weights, :func:`nonzeros_before` of them, and how many are not zero."""
        weight = operation.weight
        if weight is None:
            what = "give the sparse machine a network with weights"
            raise InputError(f"layer {operation.layer}", "has no weights", what)
        known = self._nonzeros.get(id(weight))  # kept alive beside
        if known is None:
            s_rows = largest_divisor(operation.columns.kernel, self.spec.array.rows)
            before = nonzeros_before(weight, s_rows)
            known = self._nonzeros[id(weight)] = weight, before, int(before[:, -1, -1].sum())
        return known

    def _memories(self, free_words: int, doubled: Doubled) -> tuple[int, int]:
        """Words of the buffer and of a weight memory for one set of data."""
        spec = self.spec
        depth = max(1, free_words // (spec.access_words * (2 if doubled.buffer else 1)))
        return depth * spec.access_words, max(1, spec.pe.weight_sram_words // (2 if doubled.weights else 1))

    def _least_machine(self, free_words: int) -> EyerissSpec:
        """The machine with all its columns and only so much of its buffer."""
        spec = self.spec
        if spec.edges == "perfect":
            return spec
        depth = self._memories(free_words, EVERY_DOUBLED[-1])[0] // spec.access_words
        buffer = spec.global_buffer.model_copy(update={"depth": depth})
        return spec.model_copy(update={"global_buffer": buffer})
