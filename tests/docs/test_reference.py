"""Every public function is in the reference, and its docstring says what it takes, gives and refuses."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from types import ModuleType
from typing import Any

import pytest
from snippets import ROOT

import predfuse
from predfuse.pruning.prune import prune_model

REFERENCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs/reference/api").glob("*.md")))
MODULES = re.findall(r"\.\. automodule:: (\S+)", REFERENCE)
VERBS = [name for name in predfuse.__all__ if inspect.isroutine(getattr(predfuse, name)) or name == "prune"]
ARRAYS = ("images", "example", "calibration", "x", "mask1", "mask2")


def functions(module: ModuleType) -> dict[str, Any]:
    """The public functions that a module itself defines."""
    found = {name: thing for name, thing in vars(module).items() if inspect.isfunction(thing) and name[0] != "_"}
    return {name: function for name, function in found.items() if function.__module__ == module.__name__}


def docstring(what: Any) -> str:
    return inspect.getdoc(what) or ""


def raises_by_itself(what: Any) -> bool:
    """Whether its own body raises one of our errors."""
    tree = ast.parse(inspect.getsource(what))
    return any(isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) for node in ast.walk(tree))


def test_every_verb_is_in_the_reference() -> None:
    listed = re.findall(r"\.\. (?:auto|py:)function:: predfuse\.(\w+)", REFERENCE)
    assert sorted(listed) == sorted(VERBS) and len(listed) > 10
    for name in set(predfuse.__all__) - set(VERBS) - {"__version__"}:
        assert getattr(predfuse, name).__module__ in MODULES, name


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_says_shapes_errors_source_and_shows_itself(name: str) -> None:
    verb = prune_model if name == "prune" else getattr(predfuse, name)
    text = docstring(verb)
    for parameter in inspect.signature(verb).parameters:
        assert re.search(rf"^    {parameter}: ", text, re.MULTILINE), f"{name} does not say what {parameter} is"
    for part in ("Args:", "Raises:", "Example:", "Source:"):
        assert part in text, f"{name} has no {part}"
    if set(ARRAYS) & set(inspect.signature(verb).parameters):
        assert re.search(r"[(\[]N, C, H, W[)\]]", text), f"{name} does not say the shape of its images"


@pytest.mark.parametrize("module", MODULES)
def test_functions_of_the_reference_say_what_they_take_and_refuse(module: str) -> None:
    for name, function in functions(importlib.import_module(module)).items():
        text = docstring(function)
        assert text, f"{module}.{name} has no docstring"
        if raises_by_itself(function):
            assert "Raises:" in text, f"{module}.{name} raises, and does not say what"
        if "Args:" in text:
            for parameter in inspect.signature(function).parameters:
                assert f"    {parameter}: " in text, f"{module}.{name} does not say what {parameter} is"
