"""The machines on the front of a search as specifications of their own: what differs from the machine it began with."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from predfuse.explore.report import FORMATS
from predfuse.explore.result import Row, SearchResult
from predfuse.explore.space import plain
from predfuse.hardware.spec import names
from predfuse.readers.documents import put


def machine_files(result: SearchResult, folder: Path) -> dict[str, str]:
    """A specification for every point on the front, by name of its file.

    Each is read by :func:`predfuse.hardware.spec.load_spec` as the very machine the search evaluated.

    Args:
        result: What the search found.
        folder: Where the files will lie: a machine that is not shipped is named relative to it.

    Returns:
        Texts by file name; none where the search varied no field of a machine.

    Source: docs/how-to/explore.md.
    """
    rows = result.front_rows()
    if not any(field.startswith("machine.") for field in result.space.values):
        return {}
    return {f"{_name(result, row)}.yaml": _text(result, row, folder) for row in rows}


def stale_machine_files(result: SearchResult, folder: Path) -> list[Path]:
    """Specifications that this search wrote into ``folder`` before it went on, of points no longer on the front.

    Source: docs/how-to/explore.md.
    """
    own = re.compile(re.escape(result.space.machine.name) + r"-\d+\.yaml")
    current = machine_files(result, folder)
    return [path for path in folder.iterdir() if own.fullmatch(path.name) and path.name not in current]


def _name(result: SearchResult, row: Row) -> str:
    return f"{result.space.machine.name}-{row.number}"


def _text(result: SearchResult, row: Row, folder: Path) -> str:
    space = result.space
    spec, network = space.split(row.point)
    document: dict[str, Any] = {
        "name": _name(result, row),
        "description": f"Point {row.number} of a search that began with {space.machine.name}.",
        "extends": space.base if space.base in names() else os.path.relpath(Path(space.base).absolute(), folder),
    }
    for field, value in row.point.items():
        part, _, rest = field.partition(".")
        if part == "machine":
            put(document, rest, plain(value), field)
    # An Archon's array follows from its tile and lists; stated, it is a size, so that prices follow from sizes too.
    document["array"] = spec.array.model_dump(mode="json")
    found = (FORMATS[name][1].format(value) + f" {FORMATS[name][0]}" for name, value in row.outcome.metrics.items())
    facts = [
        f"# Point {row.number} of {len(result.rows):,} ({space.sampler}, seed {space.seed}), on the front in",
        f"# {', '.join(space.objectives)}.",
        f"# {network.name}: {', '.join(found)}.",
        "",
    ]
    return "\n".join(facts) + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
