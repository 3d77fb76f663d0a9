"""Reading gzip and tar archives in memory: nothing is extracted, and what they decompress to is limited."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from predfuse.errors import InputError
from predfuse.readers.boundary import AGAIN, reading, require_size

_STEP = 1024**2


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_gzip(path: Path, limit_bytes: int, mend: str = AGAIN) -> bytes:
    """The decompressed bytes of a gzip file.

    Raises:
        InputError: It is missing, truncated, no gzip file, or holds more than ``limit_bytes`` decompressed.
    """
    where = str(path)
    require_size(path, limit_bytes)
    with reading(where, "is no intact gzip file", mend), gzip.open(path) as file:
        return _limited(where, file, limit_bytes)


def read_tar_gz(path: Path, names: Collection[str], limit_bytes: int, mend: str = AGAIN) -> dict[str, bytes]:
    """The files of these base names in a tar.gz archive.

    Nothing is extracted, so paths of members cannot reach outside.

    Args:
        path: The archive.
        names: Base names of files wanted; of several of one name the last counts.
        limit_bytes: Most each may hold, and all of the archive eight times as much.
        mend: What to do about a damaged one.

    Raises:
        InputError: It is missing, truncated, no such archive, or holds too much.
    """
    where, found = str(path), {}
    require_size(path, limit_bytes)
    with (
        reading(where, "is truncated or no intact tar.gz archive", mend),
        gzip.open(path) as unzipped,
        tarfile.open(fileobj=cast(IO[bytes], _Limited(where, unzipped, 8 * limit_bytes)), mode="r|") as archive,
    ):
        for member in archive:
            name = PurePosixPath(member.name).name
            if name in names and member.isfile():
                file = archive.extractfile(member)
                found[name] = _limited(f"{where}/{name}", file, limit_bytes) if file else b""
    return found


def _limited(where: str, file: _Readable, limit_bytes: int) -> bytes:
    parts, size = [], 0
    while part := file.read(_STEP):
        size += len(part)
        if size > limit_bytes:
            raise InputError(where, f"decompresses to more than {limit_bytes:,} bytes", "give a smaller file")
        parts.append(part)
    return b"".join(parts)


class _Limited(io.RawIOBase):
    """A stream that fails once more than so many bytes were read."""

    def __init__(self, where: str, file: _Readable, limit_bytes: int) -> None:
        self._where, self._file, self._left, self._limit = where, file, limit_bytes, limit_bytes

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(size if size >= 0 else _STEP)
        self._left -= len(part)
        if self._left < 0:
            raise InputError(self._where, f"decompresses to more than {self._limit:,} bytes", "give a smaller file")
        return part
