"""The log of a run: one JSON object per line, appended as it happens."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(stamped) + "\n")
