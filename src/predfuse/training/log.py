"""The log of a run: one JSON object per line, appended as it happens."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from predfuse.errors import InputError

MAKE_ROOM = "make room; the same command goes on"


class Log:
    """Appends entries with the time of writing and what they have in common (values that are None are left out).

    ``path`` None keeps nothing (all processes but the first).
    """

    def __init__(self, path: Path | None, common: Mapping[str, Any] | None = None) -> None:
        self._path = path
        self._common = {key: value for key, value in (common or {}).items() if value is not None}

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append one line, flushed at once so that a killed run keeps it."""
        if self._path is None:
            return
        stamped = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **entry, **self._common}
        with self._path.open("ab", buffering=0) as file:
            whole = file.tell()
            line = json.dumps(stamped).encode() + b"\n"
            try:
                written = file.write(line)
            except OSError as error:
                raise InputError(str(self._path), f"cannot be written ({error.strerror})", MAKE_ROOM) from error
            if written != len(line):  # the disk is full: half a line would make the log unreadable
                file.truncate(whole)
                raise InputError(str(self._path), "cannot be written (no space left)", MAKE_ROOM)
