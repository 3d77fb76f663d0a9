"""What Verilator, Yosys and nextpnr made, kept by content: made once, whole or not at all."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from predfuse.files import user_cache


def cache_folder() -> Path:
    """Where it is kept. Source: docs/explanation/rtl.md."""
    return user_cache() / "rtl"


def kept(folder: str, *content: str) -> Path:
    """Where what follows from ``content`` is kept, without the ending of its name; the folder is there.

    Source: docs/explanation/hardware.md.
    """
    place = cache_folder() / folder
    place.mkdir(parents=True, exist_ok=True)
    return place / hashlib.sha256("\0\0".join(content).encode()).hexdigest()[:32]


def built_once(path: Path, make: Callable[[Path], Path]) -> Path:
    """A file, made if it is not there: whole or not at all, whoever else makes it meanwhile.

    Args:
        path: The file.
        make: Given an empty folder beside it, leaves the file there and says where.

    Source: docs/explanation/rtl.md.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as name:
            make(Path(name)).replace(path)
    return path
