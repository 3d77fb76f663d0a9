"""What the tools that write tables share: the measured comparisons, kinds of machines, and writing pages."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from predfuse.errors import InputError
from predfuse.readers.documents import read_json

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "docs" / "measured"
MEND = "write it with predfuse compare --run ... --json"


def comparisons() -> dict[str, dict[str, Any]]:
    """The measured comparisons by data set.

    Raises:
        InputError: A file is no comparison of trained networks.
    """
    found = {}
    for path in sorted(MEASURED.glob("*.json")):
        document = read_json(path)
        missing = {"image_source", "same_network", "different_networks", "bounds", "costs"} - document.keys()
        if missing:
            raise InputError(str(path), f"has no {min(missing)}", MEND)
        found[path.stem] = document
    return found


def kind(machine: str) -> str:
    """A searched machine without its area and what it was searched for."""
    return re.sub(r"-[0-9.]+(-[a-z-]+)?$", "", machine)


def write(pages: Callable[[], Mapping[Path, str]]) -> None:
    """Write pages; a mistake of the user is one line and exit code 2."""
    try:
        for path, text in pages().items():
            path.write_text(text, encoding="utf-8")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
