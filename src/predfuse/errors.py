"""Exceptions whose message is one line: where it happened, what is wrong, how to mend it."""

from __future__ import annotations

LONGEST_NAME = 1000
"""Characters of a name that a message repeats."""


class PredfuseError(Exception):
    """Work that failed for a reason the message names; the command line exits with code 1.

    Source: CONTRIBUTING.md, What we look for in a change.
    """

    exit_code = 1

    def lines(self) -> list[str]:
        """What a terminal shows: one line, unless there is a list of reasons."""
        return [" ".join(str(self).split())]


class InputError(PredfuseError, ValueError):
    """Bad usage or bad input (file, config, shape, value); the command line exits with code 2.

    Args:
        where: The place: a file, a field, a layer, an option.
        what: What is wrong there.
        mend: What the user can do about it.
    """

    exit_code = 2

    def __init__(self, where: str, what: str, mend: str) -> None:
        where = printable(where)
        self.where, self.what, self.mend = where, what, mend
        super().__init__(f"{where}: {what}; {mend}")


def printable(text: str) -> str:
    """A name that comes from outside, without line breaks and controls of the terminal: those are written out.

    Of very long ones the beginning and the end are left.

    Source: what ``isprintable`` of Python's strings says; predfuse.errors.PredfuseError.
    """
    if len(text) > LONGEST_NAME:
        text = f"{text[: LONGEST_NAME // 2]}...{text[-LONGEST_NAME // 2 :]}"
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
