"""Writing files so that nothing is ever left half-written."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from predfuse.errors import InputError


def user_cache() -> Path:
    """The folder of what can be made or fetched again, ``~/.cache/predfuse`` (``XDG_CACHE_HOME`` is honoured)."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "predfuse"


def require_writable(path: Path) -> None:
    """Fail early, before long work, when ``path`` cannot be written.

    Raises:
        InputError: The folder is missing or not writable, or the path is a folder.
    """
    parent = path.parent
    if path.is_dir():
        raise InputError(str(path), "is a folder, not a file", "name a file in it")
    if not parent.is_dir():
        raise InputError(str(path), f"the folder {parent} does not exist", "create it or choose another path")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(str(path), "cannot be written", "choose another path or change its permissions")
    try:  # permissions alone do not tell: the file system may be read-only or refuse new files
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=parent)
    except OSError as error:
        raise InputError(str(path), f"cannot be written ({error.strerror})", "choose another path") from error
    os.close(handle)
    Path(name).unlink()


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it into place.

    Raises:
        InputError: The target cannot be written. The target is untouched on any failure.
    """
    require_writable(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise InputError(str(path), f"cannot be written ({error.strerror})", "choose another path") from error
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except OSError as error:
        raise InputError(str(path), f"cannot be written ({error.strerror})", "choose another path") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, all of it or nothing."""
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file as lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
