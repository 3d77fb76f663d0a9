"""What a block may need for the gateware to hold it, proven before it runs."""

from __future__ import annotations

import numpy as np

from predfuse.arrays import Int64Array
from predfuse.errors import InputError
from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.passes import NO_COLUMN, Passes
from predfuse.hardware.cycle.archon.sequence.limits import PREDICTOR_BITS, SMALLER, require_limits, require_sizes
from predfuse.integer.arithmetic import round_half_up
from predfuse.integer.nodes import FusedBlock
from predfuse.integer.widths import product_shift


def require_fit(node: FusedBlock, work: BlockWork, machine: Machine) -> None:
    """Compare the sizes of a block with those of a machine.

    Raises:
        InputError: It needs something larger; the message says what.
    """
    if node.bits != machine.bits:
        what = f"has words of {node.bits} bits, those of the gateware have {machine.bits}"
        raise InputError(f"layer {node.name}", what, f"compile it with bits {machine.bits}")
    require_sizes(work, machine)
    predictor, mend = node.predictor, f"prepare it with {PREDICTOR_BITS} bits"
    limits = {
        "accumulator bits": (node.accumulator_bits, machine.accumulator, SMALLER),
        "hidden activations up to": (predictor.hidden_max, 15, mend),
        "predictor inputs up to": (max(predictor.input_max, -predictor.input_min - 1), 7, mend),
    }
    require_limits(node.name, limits)


def require_sums(node: FusedBlock, work: BlockWork, group: int, passes: Passes, bits: int) -> None:
    """Prove that no gates make the sum of a list wider than the tree: bias passes mix taps, so pass by pass.

    Args:
        node: The block.
        work: What it asks of the machine.
        group: Which group.
        passes: Its passes, all outputs in one slice.
        bits: Of the tree.

    Raises:
        InputError: A sum may need more.
    """
    for index in range(len(passes.indptr) - 1):
        entries = pass_entries(node, work, group, passes, index)
        reach = np.maximum(np.maximum(entries, 0).sum(axis=0), np.maximum(-entries, 0).sum(axis=0))
        if reach.max(initial=0) >= 1 << (bits - 1):
            what = f"has a pass whose sums need more than {bits} bits"
            raise InputError(f"layer {node.name}", what, "compile it with fewer sum bits")


def pass_entries(node: FusedBlock, work: BlockWork, group: int, passes: Passes, index: int) -> Int64Array:
    """``[members, Og]`` int64 what every member of a pass adds to the list of every output where its gate is on."""
    span, column = slice(passes.indptr[index], passes.indptr[index + 1]), int(passes.column[index])
    first = group * work.group_outputs
    outputs = slice(first, first + work.group_outputs)
    channel, tap = passes.channel[span].astype(np.int64), passes.tap[span].astype(np.int64)
    middle = group * work.group_middle + channel
    project = node.project[outputs][:, channel].T.astype(np.int64)
    if column == NO_COLUMN and (tap == work.taps).all():
        bias = node.depthwise_bias[middle].astype(np.int64)[:, None]
        entries = round_half_up(project * bias, node.depthwise_bias_shift[outputs])
    else:
        mixed = column == NO_COLUMN
        factor = (node.expand_bias[middle] if mixed else node.expand[middle, column]).astype(np.int64)[:, None]
        shift = (node.expand_bias_shift if mixed else node.weight_shift)[outputs]
        depthwise = node.depthwise.reshape(-1, work.taps)[middle, tap].astype(np.int64)[:, None]
        entries = round_half_up(round_half_up(project * factor, product_shift(16)) * depthwise, shift)
    bits = passes.outputs[span][:, None] >> np.arange(work.group_outputs, dtype=np.uint64)
    sent: Int64Array = np.where(bits & np.uint64(1), entries, 0)
    return sent
