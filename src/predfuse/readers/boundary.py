"""What turns every failure of reading into one line, and the limits on what is read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from predfuse.errors import InputError, PredfuseError

AGAIN = "make or fetch it again"
DOCUMENT_BYTES = 256 * 1024
"""Most a YAML document may hold: ten times the largest we know; its parser takes seconds for more."""
JSON_BYTES = 64 * 1024 * 1024
"""Most a JSON document may hold: the facts in a large network's file."""
FILE_BYTES = 8 * 1024**3
"""Most any file may hold."""
_SHOWN = 160
_STEP = 1024**2
"""Bytes read at once: Python allocates all that is asked for, however small the file."""


@contextmanager
def reading(where: str, what: str, mend: str = AGAIN) -> Iterator[None]:
    """Whatever goes wrong inside becomes one :class:`InputError` that names ``where`` and what it should have been.

    Args:
        where: The file, for messages.
        what: What is said of a malformed one, as in "is no readable picture".
        mend: What the user can do.

    Raises:
        InputError: Anything failed; a :class:`PredfuseError` raised inside is passed on.
    """
    try:
        yield
    except PredfuseError:
        raise
    except MemoryError as error:
        raise InputError(where, "needs more memory than there is", "give a smaller file") from error
    except RecursionError as error:
        raise InputError(where, f"{what} (nested too deeply)", mend) from error
    except FileNotFoundError as error:
        raise InputError(where, "does not exist", "check the path") from error
    except EOFError as error:
        raise InputError(where, f"{what} (it is truncated)", mend) from error
    except OSError as error:
        if error.errno is None:  # raised by a parser, about the content
            raise InputError(where, what + _reason(error), mend) from error
        raise InputError(where, f"cannot be read ({error.strerror})", "check the path and its permissions") from error
    except Exception as error:  # a parser of someone else's may raise anything on malformed input
        raise InputError(where, what + _reason(error), mend) from error


@contextmanager
def located(path: str | Path) -> Iterator[None]:
    """Put the file in front of the place an :class:`InputError` inside names."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error.where}", error.what, error.mend) from error


def _reason(error: Exception) -> str:
    text = re.sub(r" ?(<[^>]* at 0x[0-9a-f]+>|in \"<unicode string>\",)", "", " ".join(str(error).split()))
    return f" ({text if len(text) <= _SHOWN else text[:_SHOWN] + '...'})" if text else f" ({type(error).__name__})"


def as_path(path: str | Path) -> Path:
    """A path, of whatever a user gave for one.

    Raises:
        InputError: It is no path.
    """
    try:
        return Path(path)
    except TypeError as error:
        raise InputError("path", f"is a {type(path).__name__}", "give text or a pathlib.Path") from error


def is_file(path: str | Path) -> bool:
    """Whether there is a file of this name; a name no file can have (too long, with a null) is the name of none."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises for such names


def is_folder(path: str | Path) -> bool:
    """Whether a path is a folder; one that cannot be looked at is none."""
    return os.path.isdir(path)  # noqa: PTH112


def read_bytes(path: Path, limit_bytes: int = FILE_BYTES, mend: str = AGAIN) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: It is missing, a folder, cannot be read, or holds more than ``limit_bytes``.
    """
    require_size(path, limit_bytes)
    with reading(str(path), "is no readable file", mend), path.open("rb") as file:
        parts, size = [], 0
        while part := file.read(_STEP):  # a device or pipe has no size to know beforehand
            size += len(part)
            if size > limit_bytes:
                raise _too_large(path, limit_bytes)
            parts.append(part)
        return b"".join(parts)


def read_text(path: Path, limit_bytes: int = DOCUMENT_BYTES, mend: str = AGAIN) -> str:
    """The text of a file in UTF-8.

    Raises:
        InputError: As :func:`read_bytes`; or it is no UTF-8.
    """
    content = read_bytes(path, limit_bytes, mend)
    with reading(str(path), "is no text in UTF-8", "store it as UTF-8"):
        return content.decode("utf-8-sig")


def require_size(path: Path, limit_bytes: int = FILE_BYTES) -> int:
    """Size of a file in bytes.

    Raises:
        InputError: It is missing, no regular file, or holds more than ``limit_bytes``.
    """
    with reading(str(path), "is no readable file"):
        if path.is_dir():
            raise InputError(str(path), "is a folder, not a file", "name a file in it")
        if path.is_fifo() and not str(path).startswith("/dev/"):  # those of a shell's <(...) are being written
            raise InputError(str(path), "is a pipe, not a file", "name a file")
        size = path.stat().st_size
    if size > limit_bytes:
        raise _too_large(path, limit_bytes)
    return size


def _too_large(path: Path, limit_bytes: int) -> InputError:
    return InputError(str(path), f"holds more than {limit_bytes:,} bytes", "give a smaller file")
