"""The house stays in order: layers import downwards only, no circle, no long file, a first line in every module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "predfuse"
LAYERS = (
    ("errors", "arrays"),
    ("files", "provenance"),
    ("input_checks",),
    ("readers",),
    ("tensor_file",),
    ("graph",),
    ("fusion", "pruning.choose", "pruning.masks"),
    ("graph.from_torch",),
    ("data",),
    ("models",),
    ("exporters", "predictor"),
    ("pruning", "integer"),
    ("hardware",),
    ("zoo.catalogue",),
    ("training",),
    ("zoo", "sources"),
    ("rtl",),
    ("explore.evaluation",),
    ("explore.networks", "explore.cluster"),
    ("experiments",),
    ("report",),
    ("explore", "api"),
    ("cli",),
    ("__main__",),
)
"""From the bottom upwards; a module imports from its own row's package and from rows below."""
LONGEST = 400
"""Lines of a module."""


def modules() -> dict[str, Path]:
    """Every module by its dotted name without ``predfuse.``; packages by their own."""
    names = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


def imports(name: str) -> Iterator[str]:
    """Modules of the project that a module imports, inside functions too; not those for type checkers alone."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    for_checkers = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_checkers:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "predfuse":
            base = (node.module or "").removeprefix("predfuse").removeprefix(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".removeprefix(".")
                yield inner if inner in MODULES else base
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("predfuse.") for alias in node.names if alias.name.startswith("predfuse.")
            )


def layer(name: str) -> tuple[int, str]:
    """Row and package of a module."""
    found = [
        (len(package), row, package)
        for row, packages in enumerate(LAYERS)
        for package in packages
        if name == package or name.startswith(package + ".")
    ]
    assert found, f"predfuse.{name} stands in no layer: add its package to LAYERS"
    _, row, package = max(found)
    return row, package


def test_layers_import_downwards_only() -> None:
    wrong = []
    for name in filter(None, MODULES):
        row, package = layer(name)
        for target in filter(None, imports(name)):
            below, other = layer(target)
            if other != package and below >= row:
                wrong.append(f"{name} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_by_way_of_others() -> None:
    """A depth-first walk that meets a module it is still inside has found a circle."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in filter(None, imports(name)):
                if target != name:
                    walk(target, [*path, name])
            done.add(name)

    for name in MODULES:
        walk(name, [])


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_module_says_what_it_holds_and_is_short(name: str) -> None:
    text = MODULES[name].read_text(encoding="utf-8")
    first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    assert len(first) >= 20, f"predfuse.{name} does not say what it holds: {first!r}"
    assert text.count("\n") <= LONGEST, f"predfuse.{name} has {text.count(chr(10))} lines, more than {LONGEST}"


def test_the_map_of_contributing_names_every_package_and_no_other() -> None:
    text = (SOURCE.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = {place.rstrip("/") for row in rows for place in re.findall(r"`([^`]+)`", row)} - {"tests", "tools"}
    here = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists() or path.suffix == ".py"}
    assert named == here - {"__init__.py", "__main__.py"}
