"""What a block may need for the gateware to hold it, by its sizes."""

from __future__ import annotations

from collections.abc import Mapping

from predfuse.errors import InputError
from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.gateware import Machine

PREDICTOR_BITS = 4
"""Of the activations of the gateware's predictor."""
SMALLER = "make it smaller: no gateware has more"
_MEND = {
    "tap_words": "tap_memory_words",
    "project_rows": "project_memory_words",
    "column_words": "bank_expand_words",
    "slots": "bank_channels",
}


def require_sizes(work: BlockWork, machine: Machine) -> None:
    """Compare a block with a machine.

    Raises:
        InputError: It needs something larger; the message says what.
    """
    limits = {
        "a kernel": (work.kernel, machine.kernel, "enlarge design.structures.predictor_taps"),
        "a stride": (work.stride, 2, SMALLER),
        "outputs a group": (work.group_outputs, machine.outputs, "enlarge pe.psum_regfile_words"),
        "input channels a group": (
            work.group_channels, min(machine.columns, machine.held), "enlarge design.structures.predictor_inputs"
        ),
        "middle channels a group": (work.group_middle, machine.channels, "enlarge channels"),
        "predictor bits": (work.predictor_bits, PREDICTOR_BITS, f"prepare it with {PREDICTOR_BITS} bits"),
    }  # fmt: skip
    require_limits(work.name, limits)


def require_limits(layer: str, limits: Mapping[str, tuple[int, int, str]]) -> None:
    """Compare what a layer has with what the gateware holds.

    Args:
        layer: The block.
        limits: What it has, what the gateware holds, and how to mend it, by what it is.

    Raises:
        InputError: It has more.
    """
    for what, (wanted, most, mend) in limits.items():
        if wanted > most:
            raise InputError(f"layer {layer}", f"has {what} of {wanted}, the gateware holds {most}", mend)


def require_memories(layer: str, needs: Mapping[str, int], gate_words: int, machine: Machine) -> None:
    """Compare what a group has in every memory with its size.

    Args:
        layer: The block.
        needs: Records in the fullest bank, by the memory.
        gate_words: Of a tile in the fullest bank.
        machine: The gateware.

    Raises:
        InputError: A memory is too small; the message says which.
    """
    for name, wanted in needs.items():
        if wanted > (most := getattr(machine, name)):
            what = f"needs {wanted} {name.replace('_', ' ')} a bank, the gateware has {most}"
            mend = f"enlarge design.structures.{_MEND[name]}" if name in _MEND else f"enlarge {name}"
            raise InputError(f"layer {layer}", what, mend)
    if gate_words > machine.gate_words:
        what = f"has {gate_words} gate words in a bank, the gate memory holds {machine.gate_words}"
        raise InputError(f"layer {layer}", what, "enlarge the mask buffer: words in the DRAM are no gateware")
