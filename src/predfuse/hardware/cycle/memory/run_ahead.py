"""Loads that run ahead: as far as the global buffer has room for what is loaded and not used up yet.

The lag of a load says after how many steps its place is free. Where a layer says how much room it leaves, the lag
grows to what fits, also into layers before: then the buffer holds, beside the maps that stay there, everything loaded
for steps that are not done, and everything their steps store.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array
from predfuse.hardware.cycle.memory.steps import Steps


def run_ahead(steps: Steps) -> Steps:
    """The same steps with the longest load lags that the room allows, none shorter than before.

    A step that reads what was stored before keeps its lag, and so do those that no step before leaves room for.

    Source: docs/explanation/accelerators.md, What both fidelities share.
    """
    lags = _lags(steps.amounts, steps.rules, steps.buffer)
    rules = steps.rules.copy()
    rules[:, 0] = np.maximum(rules[:, 0], lags)
    return replace(steps, rules=rules)


@njit(cache=True, nogil=True)
def _lags(amounts: Int64Array, rules: Int64Array, buffer: Int64Array) -> Int64Array:
    """``[steps]`` how many steps before each the last one is that has to be done before its load."""
    count = len(amounts)
    lags, released = np.ones(count, np.int64), np.zeros(count, np.int64)  # bits, by the last step that holds them
    for step in range(count):
        released[min(step + buffer[step, 1], count) - 1] += amounts[step, 0] + amounts[step, 1]
    kept = 0  # of earlier steps, for this one or later ones
    for step in range(count):
        if amounts[step, 0] > 0 and not rules[step, 3]:
            room, held, first = buffer[step, 0], kept + amounts[step, 0] + amounts[step, 1], step
            while first > 0:
                room = min(room, buffer[first - 1, 0])
                held += released[first - 1] + amounts[first - 1, 2]
                if held > room:
                    break
                first -= 1
            lags[step] = step - first + 1
        kept += amounts[step, 0] + amounts[step, 1] - released[step]
    return lags
