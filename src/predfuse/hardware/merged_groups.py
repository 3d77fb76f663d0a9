"""Groups of a block taken together: the same block with fewer, larger groups, zeros between those that were apart.

A machine that works on a group at a time spends some cycles between groups; where a group has few channels these are
a good part of its time.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from predfuse.arrays import Item
from predfuse.errors import InputError
from predfuse.hardware.block_work import BlockWork
from predfuse.integer.nodes import FusedBlock

HELD_WORKS = 64
"""Plans are kept by what they are for: made again, a block would be planned again for every machine of a search."""


@lru_cache(maxsize=HELD_WORKS)
def merged_work(work: BlockWork, count: int) -> BlockWork:
    """The work of a block whose groups are taken together, as many as ``count`` that follow each other.

    Raises:
        InputError: ``count`` does not divide the groups.
    """
    _require_divisor(work.name, work.groups, count)
    return replace(
        work,
        groups=work.groups // count,
        expand=_wide_rows(work.expand, work.groups, count),
        project=_wide_rows(work.project, work.groups, count),
        merged_groups=work.merged_groups * count,
    )


def merged_block(node: FusedBlock, count: int) -> FusedBlock:
    """A compiled block whose groups are taken together: for every input the outputs of ``node``, bit for bit.

    Raises:
        InputError: ``count`` does not divide the groups.
    """
    _require_divisor(node.name, node.groups, count)
    return replace(
        node,
        groups=node.groups // count,
        expand=_wide_rows(node.expand, node.groups, count),
        project=_wide_rows(node.project, node.groups, count),
        predictor=replace(node.predictor, expand=_wide_rows(node.predictor.expand, node.groups, count)),
    )


def _require_divisor(name: str, groups: int, count: int) -> None:
    if count < 1 or groups % count:
        raise InputError(f"layer {name}", f"has {groups} groups, no multiple of {count}", "take a divisor together")


def _wide_rows(values: npt.NDArray[Item], groups: int, count: int) -> npt.NDArray[Item]:
    """``[rows, count * columns]`` of ``[rows, columns]``, rows group by group: each has its columns, and zeros at those
    of the groups it is taken together with."""
    rows, columns = values.shape
    wide = np.zeros((groups // count, count, rows // groups, count, columns), values.dtype)
    each = np.arange(count)
    wide[:, each, :, each] = values.reshape(groups // count, count, rows // groups, columns).swapaxes(0, 1)
    return wide.reshape(rows, count * columns)
