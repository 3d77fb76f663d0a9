"""Every public function is in the reference, and its docstring says what it takes, gives and refuses."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from types import ModuleType
from typing import Any

import pytest
from snippets import ROOT

import predfuse
from predfuse.pruning.prune import prune_model

REFERENCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs/reference/api").glob("*.md")))
MODULES = re.findall(r"\.\. automodule:: (\S+)", REFERENCE)
SINGLE = re.findall(r"\.\. auto(?:function|class|data):: (predfuse\.\w+\.\S+)", REFERENCE)
PACKAGES = [f"predfuse.{found.name}" for found in pkgutil.iter_modules(predfuse.__path__)]
VERBS = [name for name in predfuse.__all__ if inspect.isroutine(getattr(predfuse, name)) or name == "prune"]
ARRAY = re.compile(r"\b(Array|Images|Tensor|NDArray)\b")
SHAPE = re.compile(r"\[[A-Z0-9][^\]]*\]|\([A-Z], [A-Z]|any shape")
ARRAYS = ("images", "example", "calibration", "x", "mask1", "mask2")


def functions(module: ModuleType) -> dict[str, Any]:
    """The public functions that a module itself defines."""
    found = {name: thing for name, thing in vars(module).items() if inspect.isfunction(thing) and name[0] != "_"}
    return {name: function for name, function in found.items() if function.__module__ == module.__name__}


def single_functions() -> dict[str, Any]:
    """The functions that the reference names one by one."""
    parted = ((path, *path.rpartition(".")[::2]) for path in SINGLE)
    found = {path: getattr(importlib.import_module(module), name) for path, module, name in parted}
    return {path: thing for path, thing in found.items() if inspect.isfunction(thing)}


def docstring(what: Any) -> str:
    return inspect.getdoc(what) or ""


def raises_by_itself(what: Any) -> bool:
    """Whether its own body raises one of our errors."""
    tree = ast.parse(inspect.getsource(what))
    return any(isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) for node in ast.walk(tree))


def test_every_verb_is_in_the_reference() -> None:
    listed = re.findall(r"\.\. (?:auto|py:)function:: predfuse\.(\w+)(?=\(|$)", REFERENCE, re.MULTILINE)
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


@pytest.mark.parametrize("package", PACKAGES)
def test_what_packages_offer_is_in_the_reference(package: str) -> None:
    module = importlib.import_module(package)
    listed = {name for owner in MODULES for name in getattr(importlib.import_module(owner), "__all__", ())}
    for name in getattr(module, "__all__", ()):
        thing = getattr(module, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            known = thing.__module__ in MODULES or name in listed
            assert known or f"{thing.__module__}.{name}" in SINGLE, f"{package}.{name} is not in the reference"


@pytest.mark.parametrize("module", [*MODULES, "one by one"])
def test_functions_of_the_reference_say_what_they_take_and_refuse(module: str) -> None:
    of_module = module in MODULES
    for name, function in (functions(importlib.import_module(module)) if of_module else single_functions()).items():
        text, signature = docstring(function), inspect.signature(function)
        assert text, f"{module}.{name} has no docstring"
        if raises_by_itself(function):
            assert "Raises:" in text, f"{module}.{name} raises, and does not say what"
        if "Args:" in text:
            for parameter in signature.parameters:
                assert f"    {parameter}: " in text, f"{module}.{name} does not say what {parameter} is"
        shaped = [one for one in signature.parameters.values() if ARRAY.search(str(one.annotation))]
        if shaped or ARRAY.search(str(signature.return_annotation)):
            assert SHAPE.search(text), f"{module}.{name} does not say the shape of its arrays"
