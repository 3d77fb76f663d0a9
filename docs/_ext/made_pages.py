"""Reference pages made from the code before Sphinx reads: commands, training fields, specification fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from predfuse import cli
from predfuse.hardware.field_types import Part
from predfuse.hardware.spec import ArchonSpec, EyerissSpec
from predfuse.hardware.template import FOLLOW, TOGETHER
from predfuse.training.describe import fields_page

PAGES = Path(__file__).parents[1] / "reference" / "made"
HIDDEN = "\ue000"
"""Stands for a colon while Napoleon reads."""


def setup(app: Sphinx) -> Mapping[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", lambda _: write_pages(PAGES))
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)
    app.connect("autodoc-process-docstring", _show_source, priority=410)
    app.connect("autodoc-process-docstring", _show_colons, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _hide_colons(_app: Sphinx, what: str, _name: str, _thing: Any, _options: Any, lines: list[str]) -> None:
    """Napoleon takes the words before a colon in an attribute's docstring for its type; so it sees none."""
    if what in ("attribute", "data", "property"):
        lines[:] = [line.replace(":", HIDDEN) for line in lines]


def _show_source(_app: Sphinx, _what: str, _name: str, _thing: Any, _options: Any, lines: list[str]) -> None:
    """The sentence ``Source: ...`` becomes a section of its own, and pages it names become links."""
    text = re.sub(r"(?:^|(?<= ))Source:\s+((?:.+\n?)+)", r"\n\nSource:\n    \1", "\n".join(lines), flags=re.MULTILINE)
    opening, section, rest = text.rpartition("\nSource:\n")
    if section:
        source, gap, after = rest.partition("\n\n")  # an example that follows stays as it is
        source = re.sub(r"\bdocs/([\w/-]+)\.md", r":doc:`/\1`", source)
        source = re.sub(r"(?<![`\w/])predfuse(?:\.\w+)+", r"``\g<0>``", source)
        lines[:] = (opening + section + source + gap + after).splitlines()


def _show_colons(_app: Sphinx, what: str, _name: str, _thing: Any, _options: Any, lines: list[str]) -> None:
    if what in ("attribute", "data", "property"):
        lines[:] = [line.replace(HIDDEN, ":") for line in lines]


def write_pages(folder: Path) -> None:
    """Write all pages; one that is unchanged keeps its time, so that Sphinx does not read it again."""
    folder.mkdir(exist_ok=True)
    pages = {"commands.md": commands_page(), "training.md": training_page(), "specifications.md": specification_page()}
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def training_page() -> str:
    """Every field of a training configuration."""
    opening = (
        "Made from the models in `predfuse.training.config`. `predfuse train --template` prints the same as a file."
    )
    return f"# Training configuration\n\n{opening}\n\n" + fields_page()


def commands_page() -> str:
    """Every command with its arguments and options, as the command line itself declares them."""
    lines = ["# Commands", "", "Made from the command line itself; `predfuse COMMAND --help` says the same.", ""]
    for panel in dict.fromkeys(entry.panel for entry in cli.COMMANDS.values()):
        lines += [f"## {panel}", ""]
        for name in (name for name, entry in cli.COMMANDS.items() if entry.panel == panel):
            lines += _command(cli.load(name), f"predfuse {name}")
    return "\n".join(lines)


def _command(command: Any, path: str) -> Iterator[str]:
    below = getattr(command, "commands", {})
    if not below or command.invoke_without_command:
        pieces = command.collect_usage_pieces(command.context_class(command, info_name=path))
        yield from (f"### `{path}`", "", _plain(command.help), "", f"    {' '.join([path, *pieces])}", "")
        yield from _parameters(command.params)
    for name, inner in below.items():
        yield from _command(inner, f"{path} {name}")


def _parameters(parameters: list[Any]) -> Iterator[str]:
    shown = [parameter for parameter in parameters if not getattr(parameter, "hidden", False)]
    if shown:
        yield from ("| argument or option | default | meaning |", "| --- | --- | --- |")
    for parameter in shown:
        option = parameter.param_type_name == "option"
        name = (
            ", ".join([*parameter.opts, *parameter.secondary_opts])
            if option
            else (parameter.metavar or parameter.name.upper())
        )
        default = "required" if parameter.required else _default(parameter.default)
        yield f"| `{_cell(name)}` | {default} | {_cell(_plain(getattr(parameter, 'help', None)))} |"
    yield ""


def _default(value: Any) -> str:
    simple = isinstance(value, str | int | float | Path) and not isinstance(value, bool)
    return f"`{value}`" if simple and str(value) else ""


def specification_page() -> str:
    """Every field of an accelerator's specification, by the models that read it."""
    lines = ["# Accelerator specifications", "", "A specification is a YAML file with these fields, and no others.", ""]
    lines += ["`predfuse accelerators new --from NAME -o my.yaml` writes one with every field and its meaning.", ""]
    for title, model in (("Dense and sparse machines", EyerissSpec), ("Archon", ArchonSpec)):
        lines += [f"## {title}", "", "| field | default | meaning |", "| --- | --- | --- |", *_fields(model), ""]
    return "\n".join([*lines, FOLLOW, ""])


def _fields(model: type[Part], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind, dotted = field.annotation, prefix + name
        if isinstance(kind, type) and issubclass(kind, Part):
            yield from _fields(kind, f"{dotted}.")
            continue
        default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)}`"
        meaning = " ".join([field.description or "", TOGETHER.get(dotted, "")]).strip()
        yield f"| `{dotted}` | {_cell(default)} | {_cell(_plain(meaning))} |"


def _plain(text: str | None) -> str:
    """A docstring in Markdown, without what follows a form feed."""
    return " ".join((text or "").split("\f")[0].replace("``", "`").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
