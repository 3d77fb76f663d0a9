"""Every public function is in the reference, and its docstring says shapes, units, errors and source."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from snippets import ROOT
from torch import Tensor

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
NUMBER = re.compile(r"^(?!.*Callable).*\b(int|float)\b")
UNIT = re.compile(
    r"0\.\.1|\b(share|unit|relative|per|times|volume|seed|bits?|pixels?|_?[pu]J|\w*[um]m2|ms|seconds?|bytes?|"
    r"(multiplic|addi)tions?|(cycle|image|point|part|worker|weight|channel|block|layer|group|step|epoch|lane|row|class|entr)(s|es|y|ies)?)\b",
    re.IGNORECASE,
)
"""What a number counts or is measured in; a new quantity is added here."""
SOURCE = re.compile(r"\bSource:\s+(.*?)(?=\n\s*\n|\Z)", re.DOTALL)
CITED = re.compile(
    r"(?P<page>(?:docs/[\w/-]+|CONTRIBUTING)\.md)(?:, (?P<section>[A-Z][^,.;:()]*))?"
    r"|(?P<code>predfuse(?:\.\w+)+)|arXiv \d"
)


class Function(NamedTuple):
    """A public function, and the class it belongs to."""

    call: Any
    owner: type | None = None


def of_class(name: str, owner: type) -> Iterator[tuple[str, Function]]:
    """The public methods and properties that a class itself defines."""
    for attribute, thing in vars(owner).items():
        call = getattr(thing, "fget", None) or getattr(thing, "func", None) or getattr(thing, "__func__", thing)
        if inspect.isfunction(call) and attribute[0] != "_":
            yield f"{name}.{attribute}", Function(call, owner)


def of(name: str, thing: Any) -> Iterator[tuple[str, Function]]:
    """A function, or what a class has of them."""
    if inspect.isclass(thing):
        yield from of_class(name, thing)
    elif inspect.isfunction(thing):
        yield name, Function(thing)


def surface() -> Iterator[tuple[str, Function]]:
    """Every function of the reference, by its full name."""
    for path in MODULES:
        module = importlib.import_module(path)
        for name, thing in vars(module).items():
            if name[0] != "_" and getattr(thing, "__module__", None) == path:
                yield from of(f"{path}.{name}", thing)
    for path in SINGLE:
        module_name, _, name = path.rpartition(".")
        yield from of(path, getattr(importlib.import_module(module_name), name))
    for name in VERBS:
        yield f"predfuse.{name}", Function(prune_model if name == "prune" else getattr(predfuse, name))


SURFACE = dict(surface())


def package_of(function: Function) -> str:
    """Which package of predfuse, or module beside them, a function stands in."""
    return str(function.call.__module__).split(".")[1]


def docstring(what: Any) -> str:
    return inspect.getdoc(what) or ""


def raises(call: Any, deep: bool = True) -> bool:
    """Whether its body, or a private helper of its module that it calls, raises an error made there."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(call)))
    if any(isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) for node in ast.walk(tree)):
        return True
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    helpers = (call.__globals__.get(name) for name in called if name.startswith("_"))
    return deep and any(raises(helper, deep=False) for helper in helpers if inspect.isfunction(helper))


def said_of(parameter: str, text: str) -> str:
    """What a docstring says of a parameter: its entry under ``Args``, else the paragraphs that name it."""
    entry = re.search(rf"^    {parameter}: .*(?:\n      .*)*", text, re.MULTILINE)
    return entry[0] if entry else "\n".join(part for part in text.split("\n\n") if f"``{parameter}``" in part)


def cited(text: str) -> str:
    """What stands after ``Source:``."""
    return " ".join(" ".join(SOURCE.findall(text)).split())


def test_every_verb_is_in_the_reference() -> None:
    listed = re.findall(r"\.\. (?:auto|py:)function:: predfuse\.(\w+)(?=\(|$)", REFERENCE, re.MULTILINE)
    assert sorted(listed) == sorted(VERBS) and len(listed) > 10
    for name in set(predfuse.__all__) - set(VERBS) - {"__version__"}:
        assert getattr(predfuse, name).__module__ in MODULES, name


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_says_what_all_its_arguments_are_and_shows_itself(name: str) -> None:
    verb = SURFACE[f"predfuse.{name}"].call
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


def faults(function: Function) -> Iterator[str]:
    """What the docstring of a function leaves out, and what it names as its source that is not there."""
    call, owner = function
    text, signature = docstring(call), inspect.signature(call)
    if not text:
        yield "has no docstring"
    if raises(call) and "Raises:" not in text:
        yield "raises, and does not say what"
    parameters = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    arrays = [one for one in parameters if ARRAY.search(str(one.annotation))]
    if (arrays or ARRAY.search(str(signature.return_annotation))) and not SHAPE.search(text):
        yield "does not say the shape of its arrays"
    for one in parameters:
        if "Args:" in text and f"    {one.name}: " not in text:
            yield f"does not say what {one.name} is"
        if NUMBER.search(str(one.annotation)) and not UNIT.search(one.name + " " + said_of(one.name, text)):
            yield f"does not say the unit of {one.name}"
    given = re.sub(r"^Args:\n(?:    .*\n?|\n)*", "", text, flags=re.MULTILINE)
    if NUMBER.search(str(signature.return_annotation)) and not UNIT.search(given):
        yield "does not say the unit of what it gives"
    yield from wrong_sources(cited(text) or cited(docstring(owner)))


def wrong_sources(text: str) -> Iterator[str]:
    """What is wrong with the words after ``Source:``: they name nothing, or what is not there."""
    found = list(CITED.finditer(text))
    if not found:
        yield f"names no page, module or paper as its source: {text!r}"
    for match in found:
        if match["page"]:
            page, section = ROOT / match["page"], (match["section"] or "").strip()
            headings = rf"^#+ {re.escape(section)}"
            text_of_page = page.read_text(encoding="utf-8").replace("`", "") if page.exists() else ""
            if not re.search(headings, text_of_page, re.MULTILINE):
                yield f"{match['page']} has no section {section!r}, or is not there"
        elif match["code"]:
            try:
                pkgutil.resolve_name(match["code"])
            except (ImportError, AttributeError) as reason:
                yield f"its source {match['code']} is not there: {reason}"


@pytest.mark.parametrize("package", sorted({package_of(function) for function in SURFACE.values()}))
def test_docstrings_say_shapes_units_errors_and_sources_that_exist(package: str) -> None:
    mine = {name: function for name, function in SURFACE.items() if package_of(function) == package}
    found = [f"{name}: {fault}" for name, function in mine.items() for fault in faults(function)]
    assert not found, "\n".join(found)


def test_the_checks_of_docstrings_find_what_is_left_out() -> None:
    def bad(images: Tensor, count: int) -> float:
        """Gives something.

        Args:
            images: What it is given.

        Source: docs/nowhere.md, Nothing; predfuse.nothing.
        """
        raise ValueError("no")

    assert list(faults(Function(bad))) == [
        "raises, and does not say what",
        "does not say the shape of its arrays",
        "does not say what count is",
        "does not say the unit of count",
        "does not say the unit of what it gives",
        "docs/nowhere.md has no section 'Nothing', or is not there",
        "its source predfuse.nothing is not there: module 'predfuse' has no attribute 'nothing'",
    ]
