"""Sizes of memories that the user of a command gives instead of a specification."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from predfuse.errors import InputError
from predfuse.hardware.cycle.archon.gateware import Machine

GROUP_SIZES = ("slots", "channels", "parts", "passes", "codes", "column_words")
"""What may be given (``--words``)."""


def with_sizes(machine: Machine, told: Iterable[str]) -> Machine:
    """The same gateware with other memories.

    Args:
        machine: The gateware.
        told: NAME=WORDS each, a name of ``GROUP_SIZES`` and at least 2 words.

    Raises:
        InputError: One is something else.

    Source: docs/explanation/hardware.md.
    """
    sizes, mend = {}, f"write NAME=WORDS, 2 to 65536 of {', '.join(GROUP_SIZES)}"
    for one in told:
        name, _, words = one.partition("=")
        if name not in GROUP_SIZES or not words.isdecimal() or not 2 <= int(words) <= 1 << 16:
            raise InputError("--words", f"is {one}", mend)
        sizes[name] = int(words)
    return replace(machine, **sizes)
