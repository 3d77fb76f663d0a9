"""Steps of work: what each loads, predicts, works and stores, one by one or many as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array


@dataclass(frozen=True)
class Step:
    """One unit of work.

    Attributes:
        layer: Name of the layer it belongs to.
        load_bits: Read from the DRAM before it.
        late_bits: Also read, but only once the step before is done (its place is still in use).
        store_bits: Written to the DRAM after it.
        predict_cycles: Of a predictor of its own, before the main work.
        main_cycles: Of the array.
        fill_cycles: To fill memories of the array before its main work, beside that of steps before: once it has
            loaded, and the main work ``fill_lag`` steps before has begun.
        load_lag: It may load once the main work so many steps before is done; 2 where two buffers take turns.
        predict_lag: It may predict once the main work so many steps before is done, and the prediction before.
        predict_behind: Its prediction ends at the earliest so many cycles after the main work of the step before begins
            (it takes up places that work frees one by one); 0 is no limit.
        waits: It needs the results of the step before (a new layer): nothing but loads may run ahead.
        reads_stores: Its loads read what earlier steps stored.
        room_bits: Of the buffer beside the maps that stay in it and what the layer needs there besides its loads; 0
            where loads run no further ahead than ``load_lag`` says.
        held_steps: What it loads stays in the buffer until so many steps are done, this one the first.
        stage: Of the layer.
    """

    layer: str
    load_bits: int = 0
    late_bits: int = 0
    store_bits: int = 0
    predict_cycles: int = 0
    main_cycles: int = 0
    fill_cycles: int = 0
    fill_lag: int = 1
    load_lag: int = 1
    predict_lag: int = 1
    predict_behind: int = 0
    waits: bool = False
    reads_stores: bool = False
    room_bits: int = 0
    held_steps: int = 1
    stage: str = "main"


@dataclass(frozen=True, eq=False)
class Steps:
    """Many steps in order, as arrays.

    Attributes:
        names: Layer, stage and number of steps that follow each other and have both in common.
        amounts: ``[steps, 7]`` load, late and store bits, cycles of prediction and main work, cycles that a prediction
            ends behind, cycles to fill.
        rules: ``[steps, 5]`` lags of loads and predictions, whether it waits and reads stores, lag of the fill.
        buffer: ``[steps, 2]`` room for loads (bits), and how many steps what it loads is held.
    """

    names: tuple[tuple[str, str, int], ...]
    amounts: Int64Array
    rules: Int64Array
    buffer: Int64Array

    def __len__(self) -> int:
        return len(self.amounts)

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Steps:
        """Steps stated one by one."""
        amounts = [
            (s.load_bits, s.late_bits, s.store_bits, s.predict_cycles, s.main_cycles, s.predict_behind, s.fill_cycles)
            for s in steps
        ]
        rules = [(s.load_lag, s.predict_lag, s.waits, s.reads_stores, s.fill_lag) for s in steps]
        buffer = [(s.room_bits, s.held_steps) for s in steps]
        names = ((*key, len(list(same))) for key, same in groupby((step.layer, step.stage) for step in steps))
        columns = ((amounts, 7), (rules, 5), (buffer, 2))
        arrays = (np.array(rows, np.int64).reshape(-1, width) for rows, width in columns)
        return cls(tuple(names), *arrays)

    @classmethod
    def even(
        cls,
        layer: str,
        stage: str,
        count: int,
        loads: Sequence[tuple[int, bool]],
        store_bits: int,
        main_cycles: int,
        reads_stores: bool,
        room_bits: int,
    ) -> Steps:
        """A layer in so many equal steps, two of which the buffers hold.

        Args:
            layer: Its name.
            stage: Of the layer.
            count: Of steps.
            loads: Bits of every kind of data, each divided among the steps by itself, and whether they are loaded ahead
                or once the step before is done.
            store_bits: Stored.
            main_cycles: Of the array.
            reads_stores: Whether it reads what was stored before.
            room_bits: Of the buffer, for its loads.
        """
        totals = [*((bits, 0 if ahead else 1) for bits, ahead in loads), (store_bits, 2), (main_cycles, 4)]
        amounts = _shares(np.array(totals), count)
        rules = np.full((count, 5), (2, 1, 0, 0, 1))
        rules[0, 2:4] = 1, reads_stores
        return cls(((layer, stage, count),), amounts, rules, np.full((count, 2), (room_bits, 1)))

    @classmethod
    def joined(cls, parts: Sequence[Steps]) -> Steps:
        """One after the other."""
        names = tuple(name for part in parts for name in part.names)
        arrays = ((part.amounts, part.rules, part.buffer) for part in (cls.of(()), *parts))
        return cls(names, *(np.concatenate(some) for some in zip(*arrays, strict=True)))

    def ends(self) -> Iterator[tuple[str, str, int]]:
        """Every stage of every layer in order, and the number of steps up to its last."""
        end = 0
        for (layer, stage), same in groupby(self.names, key=lambda name: name[:2]):
            end += sum(count for _, _, count in same)
            yield layer, stage, end


@njit(cache=True, nogil=True)
def _shares(totals: Int64Array, count: int) -> Int64Array:
    """``[steps, 7]`` amounts of equal steps: every total ``[kinds, 2]``, in its column, by :func:`divide`."""
    amounts = np.zeros((count, 7), np.int64)
    for kind in range(len(totals)):
        total, column = totals[kind]
        for step in range(count):
            amounts[step, column] += total * (step + 1) // count - total * step // count
    return amounts


def divide(total: int, parts: int) -> list[int]:
    """``total`` in ``parts`` whole shares that differ by at most 1."""
    return [end - start for start, end in pairwise(total * part // parts for part in range(parts + 1))]


def split_step(step: Step, most_bits: int) -> list[Step]:
    """A step whose data is used up as it arrives, in parts of at most ``most_bits`` so that two fit the buffer."""
    parts = max(1, -(-step.load_bits // most_bits))
    loads, works, stores = (divide(n, parts) for n in (step.load_bits, step.main_cycles, step.store_bits))
    return [
        replace(
            step,
            load_bits=loads[part],
            main_cycles=works[part],
            store_bits=stores[part],
            fill_cycles=step.fill_cycles if part == 0 else 0,
            predict_cycles=step.predict_cycles if part == 0 else 0,
            predict_lag=step.predict_lag if part == 0 else 1,
            predict_behind=step.predict_behind if part == 0 else 0,
            waits=step.waits and part == 0,
            reads_stores=step.reads_stores and part == 0,
        )
        for part in range(parts)
    ]
