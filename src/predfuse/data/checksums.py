"""Files of known checksums: read out of a folder or a tar archive, and refused where they are other ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from predfuse.data.dataset import Source
from predfuse.errors import InputError
from predfuse.readers.archives import read_tar_gz
from predfuse.readers.boundary import read_bytes

LARGEST_BYTES = 512 * 1024**2
"""Most a file of a data set holds, also when it is decompressed; CIFAR's archives decompress to a third of it."""
AGAIN = "fetch it again (predfuse data fetch NAME) or delete it"


@dataclass(frozen=True)
class KnownFile:
    """Size and digest a file must have.

    Attributes:
        size_bytes: Exact size.
        digest: Lower-case hexadecimal, or None where no digest of this file was ever published.
        algorithm: ``"sha256"`` or ``"md5"`` (where the publisher gives nothing better).
    """

    size_bytes: int | None
    digest: str | None
    algorithm: str = "sha256"

    def verify(self, where: str, content: bytes) -> bytes:
        """Return ``content``.

        Raises:
            InputError: It is not the known file; the message says whether it is too short.
        """
        if self.size_bytes is not None and len(content) != self.size_bytes:
            state = "is truncated" if len(content) < self.size_bytes else "is another file"
            raise InputError(where, f"{state} ({len(content):,} of {self.size_bytes:,} bytes)", AGAIN)
        if self.digest is not None and hashlib.new(self.algorithm, content, usedforsecurity=False).hexdigest() != (
            self.digest
        ):
            raise InputError(where, f"is corrupt or another file ({self.algorithm} differs)", AGAIN)
        return content


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: It is missing or cannot be read.
    """
    if not path.exists():
        raise InputError(str(path), "is missing", AGAIN)
    return read_bytes(path, LARGEST_BYTES, AGAIN)


def read_members(source: Source, known: Mapping[str, KnownFile], wanted: Iterable[str]) -> dict[str, bytes]:
    """Files of a folder or tar archive by base name, each checked against ``known``.

    An archive is read in memory, nothing is extracted, so member paths cannot reach outside.

    Raises:
        InputError: A file is missing, truncated or not the known one.
    """
    names = set(wanted)
    if source.path.is_dir():
        contents = {name: read_file(source.path / name) for name in sorted(names)}
    else:
        contents = _read_archive(source.path, names)
    return {name: known[name].verify(f"{source.path}/{name}", content) for name, content in contents.items()}


def _read_archive(path: Path, names: set[str]) -> dict[str, bytes]:
    contents = read_tar_gz(path, names, LARGEST_BYTES, AGAIN)
    for name in sorted(names - set(contents)):
        raise InputError(str(path), f"holds no {name}", AGAIN)
    return contents
