"""Compare two JSON files key by key: every figure must be the same, or be named as renamed or allowed to differ.

    python tools/compare_json.py before.json after.json --rename old.key=new.key --ignore notes

Exit code 0 where all values agree, 1 where one differs or is missing, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number, text and null of a JSON document with its path, such as ``machines.0.total_cycles``."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def same(before: Any, after: Any, tolerance: float) -> bool:
    """Whether two leaves agree; floats to a relative tolerance, everything else exactly."""
    if isinstance(before, float) and isinstance(after, float | int):
        return math.isclose(before, after, rel_tol=tolerance, abs_tol=0.0) or before == after
    return type(before) is type(after) and before == after


def differences(
    before: Any, after: Any, renamed: dict[str, str], ignored: tuple[str, ...], tolerance: float
) -> Iterator[str]:
    """One line for every leaf of ``before`` that ``after`` lacks or has otherwise; new leaves are no difference."""
    found = dict(leaves(after))
    for path, value in leaves(before):
        if any(part in ignored for part in path.split(".")):
            continue
        place = ".".join(renamed.get(part, part) for part in path.split("."))
        place = renamed.get(path, place)
        if place not in found:
            yield f"{path}: {value!r} is missing"
        elif not same(value, found[place], tolerance):
            yield f"{path}: {value!r} became {found[place]!r}"


def main(arguments: list[str] | None = None) -> int:
    """Compare the two files named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--rename", action="append", default=[], metavar="OLD=NEW", help="Of a key, or a whole path.")
    parser.add_argument("--ignore", action="append", default=[], metavar="KEY", help="Leave out what lies below a key.")
    parser.add_argument("--tolerance", type=float, default=0.0, help="Relative, of floats; default: none.")
    given = parser.parse_args(arguments)
    renamed = dict(pair.split("=", 1) for pair in given.rename)
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (given.before, given.after))
    lines = list(differences(before, after, renamed, tuple(given.ignore), given.tolerance))
    for line in lines:
        print(line)
    print(f"{len(lines)} differences among {sum(1 for _ in leaves(before))} values")
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
