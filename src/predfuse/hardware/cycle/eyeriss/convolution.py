"""One convolution on the dense or sparse machine: of all ways to run it the one of least cycles times energy.

A way is a mapping of the layer, its sizes as they are or rounded up, some groups at once, with tiles that leave room to
load the next ones beside them or not. What a way costs at least is known at once; the cycles of a sparse layer are
counted, and its steps scheduled, only for ways that may still be the best.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from predfuse.arrays import Array, Float64Array, Mask
from predfuse.errors import InputError
from predfuse.hardware.closed_form.eyeriss import nonzeros_per_tile, skip_zeros
from predfuse.hardware.closed_form.mapping import Mapping, best_mapping, divisors, find_mapping, needed_words
from predfuse.hardware.cycle.eyeriss.padding import pad_weight, padded, without_edges
from predfuse.hardware.cycle.memory.buffer import Place, buffer_cycles, on_chip
from predfuse.hardware.cycle.memory.schedule import Step, even_steps, timeline
from predfuse.hardware.cycle.plan import LayerPlan, StagePlan, divide
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


@dataclass(eq=False)
class Way:
    """One way to run a layer.

    Attributes:
        operation: The layer as it is.
        candidate: The layer, rounded up; without weights.
        mapping: Of the candidate.
        at_once: Groups worked on at once.
        actions: What it does.
        energy_pj: Of them.
        weight_bits: Weights fetched.
        doubled: Which memories hold two sets.
        place: Where its maps are.
        cycles: Of the array and the buffer; before :meth:`Convolutions.counted`, no more than those.
    """

    operation: Operation
    candidate: Operation
    mapping: Mapping
    at_once: int
    actions: Actions
    energy_pj: float
    weight_bits: float
    doubled: Doubled
    place: Place
    cycles: int

    @property
    def bits(self) -> tuple[int, int, int]:
        """What is loaded ahead, late (weights where the PEs hold one set, inputs where the buffer does), and stored."""
        weights = round(self.weight_bits)
        inputs = round(self.actions.dram_read_bits) - weights
        early = weights * self.doubled.weights + inputs * self.doubled.buffer
        return early, weights + inputs - early, round(self.actions.dram_written_bits)

    @property
    def count(self) -> int:
        """Steps it is scheduled in."""
        return min(self.mapping.passes, MOST_STEPS)

    def row(self, spec: EyerissSpec) -> StagePlan:
        """The stage of a plan that runs this way."""
        mapping, at_once = self.mapping, self.at_once
        described = mapping.describe() if at_once == 1 else f"{at_once} groups at once, each {mapping.describe()}"
        pes = mapping.spatial.pes * at_once
        operation = self.operation
        return StagePlan(operation.stage, operation.macs, spec.array.pes, self.actions, described, pes, self.cycles)

    def plan(self, spec: EyerissSpec) -> LayerPlan:
        """Equal steps and actions."""
        count, weights = self.count, round(self.weight_bits)
        inputs = divide(round(self.actions.dram_read_bits) - weights, count)
        weights_of, stores = divide(weights, count), divide(self.bits[2], count)
        works = divide(self.cycles, count)
        steps = tuple(
            Step(
                layer=self.operation.layer,
                load_bits=weights_of[index] * self.doubled.weights + inputs[index] * self.doubled.buffer,
                late_bits=weights_of[index] * (not self.doubled.weights) + inputs[index] * (not self.doubled.buffer),
                store_bits=stores[index],
                main_cycles=works[index],
                load_lag=2,
                waits=index == 0,
                reads_stores=index == 0 and not self.place.input_on_chip,
                stage=self.operation.stage,
            )
            for index in range(count)
        )
        return LayerPlan(self.operation.layer, steps, (self.row(spec),))


class Convolutions:
    """All convolutions of a network on one machine; what several have in common is found once.

    Args:
        spec: The machine.
    """

    def __init__(self, spec: EyerissSpec) -> None:
        self.spec = spec
        self._prices = prices_pj(spec)
        self._mappings: dict[tuple[object, ...], list[tuple[int, int, Mapping | None, tuple[int, int]]]] = {}
        self._nonzeros: dict[int, tuple[Array, Mask, int]] = {}
        self._counted: dict[tuple[object, ...], int] = {}

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
        spec = self.spec
        if spec.edges == "perfect":
            both = Doubled(True, True)
            return self.counted(
                self._way(operation, operation, best_mapping(operation, spec), both, place, residual, 1)
            )
        bandwidth = spec.dram_bits_per_cycle or math.inf

        def bound(way: Way) -> float:
            moved = way.actions.dram_read_bits + way.actions.dram_written_bits
            return max(way.cycles, moved // bandwidth) * way.energy_pj

        ways = [(bound(way), number, way) for number, way in enumerate(self._ways(operation, place, residual))]
        if not ways:
            best_mapping(
                operation, self._part(spec.array.columns, *self._memories(place.free_words, EVERY_DOUBLED[-1]))
            )
            raise AssertionError  # the line above says what is missing
        best: tuple[tuple[float, float, int], Way] | None = None
        for least, number, way in sorted(ways, key=lambda ranked: ranked[:2]):
            if best is not None and least > best[0][0]:
                break
            self.counted(way)
            bounded = bound(way)
            if best is not None and bounded > best[0][0]:
                continue
            steps = even_steps(*way.bits, way.cycles, way.count, not place.input_on_chip)
            rank = (timeline(*steps, spec.dram_bits_per_cycle).end * way.energy_pj, bounded, number)
            if best is None or rank < best[0]:
                best = rank, way
        assert best is not None
        return best[1]

    def counted(self, way: Way) -> Way:
        """Replace the bound on a way's cycles by the cycles, counted."""
        if self.spec.kind == "sparse":
            mapping, operation, spatial = way.mapping, way.operation, way.mapping.spatial
            weight, nonzero, _ = self._weights(operation)
            sizes = (way.candidate.outputs, way.candidate.channels, operation.groups, way.at_once)
            sides = (spatial.m_columns * spatial.m_rows, spatial.c_rows, spatial.s_rows)
            tiles = (mapping.m0, mapping.c0, mapping.m1 * mapping.m2, mapping.c1 * mapping.c2)
            key = (id(weight), sizes, sides, tiles)
            passes = self._counted.get(key)
            if passes is None:
                groups = 1 if operation.is_depthwise else operation.groups
                size = way.candidate.outputs // groups, way.candidate.group_channels
                filled = replace(way.candidate, weight=pad_weight(nonzero, operation, *size))
                passes = self._counted[key] = sparse_cycles(filled, mapping, self.spec, way.at_once)
            way.cycles = max(way.cycles, passes * mapping.pixel_passes)
        return way

    def _weights(self, operation: Operation) -> tuple[Float64Array, Mask, int]:
        """Weights, which of them are not zero, and how many that are."""
        weight = operation.weight
        if weight is None:
            what = "give the sparse machine a network with weights"
            raise InputError(f"layer {operation.layer}", "has no weights", what)
        known = self._nonzeros.get(id(weight))  # kept alive beside
        if known is None:
            nonzero = np.asarray(weight != 0)
            known = self._nonzeros[id(weight)] = weight, nonzero, int(np.count_nonzero(nonzero))
        return known

    def _ways(self, operation: Operation, place: Place, residual: bool) -> Iterator[Way]:
        """Every promising way, its cycles a bound."""
        shape = replace(operation, weight=None)
        for at_once, columns, candidate in self._shares(shape):
            sizes = (candidate.channels // at_once, candidate.outputs // at_once, candidate.groups // at_once)
            part = Operation("layer", candidate.stage, *sizes, candidate.rows, candidate.columns)
            # The largest memories first: what fits smaller ones need not be searched again.
            mappings = {
                doubled: self._mapping(part, columns, place.free_words // at_once, doubled)
                for doubled in reversed(EVERY_DOUBLED)
            }
            found: list[Mapping] = []
            for doubled in EVERY_DOUBLED:
                mapping = mappings[doubled]
                # The same mapping beside a second set of data is no worse.
                if mapping is not None and all(mapping is not other and mapping != other for other in found):
                    found.append(mapping)
                    yield self._way(operation, candidate, mapping, doubled, place, residual, at_once)

    def _shares(self, operation: Operation) -> Iterator[tuple[int, int, Operation]]:
        """Groups worked on at once, the columns each has, and the layer with sizes that suit them.

        The array is cut into columns: a group of few channels would leave most of it idle.
        """
        array = self.spec.array
        for at_once in (1,) if operation.is_depthwise else divisors(operation.groups):
            columns = array.columns // at_once
            if columns:
                for candidate in padded(operation, array.rows, columns):
                    yield at_once, columns, candidate

    def _mapping(self, shape: Operation, columns: int, free_words: int, doubled: Doubled) -> Mapping | None:
        """The best mapping of a layer of this shape; None if there is none.

        The best one of larger memories that needs no more than these is the best here too.
        """
        depth, weights = self._memories(free_words, doubled)
        words = depth * self.spec.access_words
        sizes = (shape.channels, shape.outputs, shape.groups, shape.rows, shape.columns, columns)
        known = self._mappings.setdefault(sizes, [])
        for most_depth, most_weights, mapping, need in known:
            fits = most_depth >= depth and most_weights >= weights
            if fits and (mapping is None or (need[0] <= words and need[1] <= weights)):
                return mapping
        found = find_mapping(shape, self._part(columns, depth, weights))
        need = needed_words(shape, found, self.spec) if found is not None else (0, 0)
        known.append((depth, weights, found, need))
        return found

    def _memories(self, free_words: int, doubled: Doubled) -> tuple[int, int]:
        """Words of the buffer and of a weight memory for one set of data."""
        spec = self.spec
        words = spec.access_words * (2 if doubled.buffer else 1)
        return max(1, free_words // words), max(1, spec.pe.weight_sram_words // (2 if doubled.weights else 1))

    def _part(self, columns: int, depth: int, weights: int) -> EyerissSpec:
        """The machine with so many columns and only so much of its memories."""
        spec = self.spec
        return spec.model_copy(
            update={
                "array": spec.array.model_copy(update={"columns": columns}),
                "pe": spec.pe.model_copy(update={"weight_sram_words": weights}),
                "global_buffer": spec.global_buffer.model_copy(update={"depth": depth}),
            }
        )

    def _way(
        self,
        operation: Operation,
        candidate: Operation,
        mapping: Mapping,
        doubled: Doubled,
        place: Place,
        residual: bool,
        at_once: int,
    ) -> Way:
        spec = self.spec
        dense = mapping.actions.scaled(at_once) if at_once > 1 else mapping.actions
        actions, cycles = without_edges(dense, candidate, operation, spec), mapping.cycles
        if spec.kind == "sparse":
            nonzeros = self._weights(operation)[2]
            actions = skip_zeros(actions, operation, mapping, nonzeros, spec)
            cycles = least_cycles(nonzeros, mapping, at_once)
        # Weights among what is read are what the PEs take in, copies left out; the rest are inputs.
        weight_bits = actions.weight_sram_writes / mapping.spatial.q_columns * spec.bits
        input_bits = (actions.dram_read_bits - weight_bits) * place.input_on_chip
        output_bits = operation.outputs * operation.out_pixels * spec.bits
        actions = on_chip(actions, input_bits, output_bits * place.output_on_chip, spec)
        if residual:
            actions += _residual(output_bits, spec, place)
        if spec.edges == "idle":
            cycles = max(cycles, buffer_cycles(actions, spec))
        energy = self.energy_pj(actions)
        return Way(operation, candidate, mapping, at_once, actions, energy, weight_bits, doubled, place, cycles)


def _residual(bits: int, spec: EyerissSpec, place: Place) -> Actions:
    """Another map read and added to the output."""
    near, width = spec.array_words_per_access, spec.global_buffer.width_bits
    fetched = 0 if place.residual_on_chip else bits
    return Actions(
        global_buffer_reads=bits / spec.bits / near,
        global_buffer_writes=fetched / width,
        psum_regfile_writes=bits / spec.bits,
        dram_read_bits=fetched,
    )


def sparse_cycles(candidate: Operation, mapping: Mapping, spec: EyerissSpec, at_once: int = 1) -> int:
    """Cycles of the array for one pixel pass; a pass without any weight still takes the time to begin it, one cycle.

    Args:
        candidate: The layer, rounded up with weights that are zero.
        mapping: Of ``candidate``.
        spec: The machine.
        at_once: Groups worked on at once, each by its share of the array, which takes its groups one after the other.
    """
    counts = nonzeros_per_tile(candidate, mapping)
    least = 1 if spec.edges == "idle" else 0
    return int(counts.max(axis=1).clip(min=least).reshape(at_once, -1).sum(axis=1).max())


def least_cycles(nonzeros: int, mapping: Mapping, at_once: int = 1) -> int:
    """Cycles of the array if all its PEs had equally many of so many non-zero weights: no less can be needed."""
    spatial = mapping.spatial
    tiles = spatial.m_columns * spatial.m_rows * spatial.c_rows * spatial.s_rows * at_once
    return -(-nonzeros // tiles) * mapping.pixel_passes
