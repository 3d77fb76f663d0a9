"""Writing files and folders so that nothing is ever left half-written, and nothing left behind."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from predfuse.errors import InputError

_SUFFIX = ".tmp"
_RANDOM = r"[a-z0-9_]{8}" + re.escape(_SUFFIX)
"""How the names of temporary files end."""


def user_cache() -> Path:
    """The folder of what can be made or fetched again, ``~/.cache/predfuse`` (``XDG_CACHE_HOME`` is honoured)."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "predfuse"


def require_writable(path: Path) -> None:
    """Fail early, before long work, when ``path`` cannot be written.

    Raises:
        InputError: The folder is missing or not writable, or the path is a folder.
    """
    with _writing(path):
        if path.is_dir():
            raise InputError(str(path), "is a folder, not a file", "name a file in it")
        _require_parent(path)
        if path.exists() and not os.access(path, os.W_OK):
            raise InputError(str(path), "cannot be written", "choose another path or change its permissions")
        if _is_stream(path):
            return
        with _temporary(Path(os.path.realpath(path))):  # the file system may be read-only or refuse new files
            pass


def require_new_folder(folder: Path) -> None:
    """Fail early where a new folder cannot be made.

    Raises:
        InputError: Something is there already, or the folder it would be in is missing or not writable.
    """
    with _writing(folder):
        if os.path.lexists(folder):
            raise InputError(str(folder), "exists already", "name a new folder")
        _require_parent(folder)
        with _temporary(folder):
            pass


def _require_parent(path: Path) -> None:
    if not path.parent.is_dir():
        folder = path.parent
        what = f"{folder} is a file, not a folder" if folder.exists() else f"the folder {folder} does not exist"
        raise InputError(str(path), what, "create it or choose another path")


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it into place.

    A link is followed; a device or pipe is written to. What earlier writers of the same file left when they were killed
    is removed.

    Raises:
        InputError: The target cannot be written. The target is untouched on any failure.
    """
    require_writable(path)
    target = Path(os.path.realpath(path))
    stream = _is_stream(path)
    with _writing(path), _temporary(Path(tempfile.gettempdir()) / target.name if stream else target) as temporary:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
            if stream:
                with path.open("wb") as out:
                    shutil.copyfileobj(written, out)
                return
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)


def write_folder_atomically(folder: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary folder, then rename it to ``folder``: it appears whole or not at all.

    Raises:
        InputError: The folder is there already, or cannot be written.
    """
    require_new_folder(folder)
    with _writing(folder), _temporary(folder, is_folder=True) as temporary:
        write(temporary)
        temporary.chmod(0o755)
        temporary.rename(folder)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    if "\0" in str(path):
        raise InputError(repr(str(path)), "is no name a file can have", "choose another path")
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InputError(str(path), f"cannot be written ({reason})", "choose another path or make room") from error


@contextlib.contextmanager
def _temporary(target: Path, is_folder: bool = False) -> Iterator[Path]:
    """A new file or folder beside ``target``, held locked as long as it is written, removed if it is left over.

    The system releases the lock of a process that dies: what is there without a lock was abandoned.
    """
    prefix = f".{target.name[:60]}."  # a name may be as long as the file system allows
    remove_abandoned(target.parent, re.compile(re.escape(prefix) + _RANDOM))
    path, descriptor = None, -1
    try:
        while path is None:
            if is_folder:
                path = Path(tempfile.mkdtemp(_SUFFIX, prefix, target.parent))
                descriptor = os.open(path, os.O_RDONLY)
            else:
                descriptor, name = tempfile.mkstemp(_SUFFIX, prefix, target.parent)
                path = Path(name)
            with contextlib.suppress(OSError):  # a file system without locks: nothing there is ever swept
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not path.exists():  # another writer took it for an abandoned one before it was locked
                os.close(descriptor)
                path, descriptor = None, -1
        yield path
    finally:
        if path is not None:
            _remove(path)
        if descriptor >= 0:
            os.close(descriptor)


def remove_abandoned(folder: Path, names: re.Pattern[str] = re.compile(r"\..*" + _RANDOM)) -> None:
    """Remove what writers that were killed have left in a folder: it has no lock any more."""
    for name in filter(names.fullmatch, os.listdir(folder)):  # noqa: PTH208 - thrice as fast where many files are
        with contextlib.suppress(OSError):
            descriptor = os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder / name)
            finally:
                os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    """Whether ``path`` is there and is a device or pipe, which cannot be replaced by a file."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write ``content``, all of it or nothing."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_atomically(path, write)


def write_text_atomically(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, all of it or nothing."""
    write_bytes_atomically(path, text.encode("utf-8"))


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file as lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV; what is nested gets dotted headings."""
    flat = [dict(_flat(row)) for row in rows]
    headings = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, headings, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, json.dumps(value) if isinstance(value, list | tuple) else value
