"""Every line of the table of commands names a command that loads, and says in short what that one does."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from typer.testing import CliRunner

from predfuse.cli import COMMANDS, app, load


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_loads_and_has_help(name: str) -> None:
    command = load(name)
    assert command.name == name and command.help
    ran = CliRunner().invoke(app, [name, "--help"])
    assert ran.exit_code == 0, ran.output


def test_the_help_lists_every_command_with_its_panel() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    for name, entry in COMMANDS.items():
        assert f" {name} " in shown and f" {entry.panel} " in shown


TABLES = {"--json", "--csv", "--report"}
NO_TABLE = {
    "export",
    "rtl generate",
    "accelerators new",
    "zoo check",
    "zoo table",
    "zoo ablations",
    "zoo add",
    "zoo push",
    "zoo pull",
    "data fetch",
    "data check",
}
"""Commands that show no table: they write what they were asked for, or say in one line how it went."""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, sub-commands and groups that list among them."""
    for name in COMMANDS:
        command = load(name)
        inner = getattr(command, "commands", {})
        if not inner or command.invoke_without_command:
            yield name, command
        yield from ((f"{name} {key}", one) for key, one in inner.items())


def options() -> Iterator[tuple[str, Any]]:
    """Every option of every command."""
    for name, command in commands():
        yield from ((name, one) for one in command.params if one.param_type_name == "option")


def test_what_shows_a_table_gives_it_as_json_csv_and_page_too() -> None:
    without = set()
    for name, command in commands():
        found = {option for one in command.params for option in one.opts} & TABLES
        assert found in (set(), TABLES), name
        if not found:
            without.add(name)
    assert without == NO_TABLE


def test_the_same_option_has_the_same_names_and_type_everywhere() -> None:
    seen: dict[str, tuple[object, ...]] = {}
    for command, option in options():
        annotation = option.type_descriptor.annotation
        value = get_args(annotation)[0] if get_origin(annotation) is list else annotation  # given once or several times
        kind = (tuple(option.opts), tuple(option.secondary_opts), value)
        for name in option.opts:
            assert seen.setdefault(name, kind) == kind, f"{name} of {command}"


def test_every_option_says_what_it_is() -> None:
    for command, option in options():
        assert option.help, f"{option.opts} of {command}"


@pytest.mark.parametrize("command", ["accelerators", "data", "zoo"])
def test_a_dash_is_standard_output_and_nothing_else_goes_there(command: str) -> None:
    def shown(option: str) -> str:
        ran = CliRunner().invoke(app, [command, option, "-"])
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    figures = json.loads(shown("--json"))
    rows = list(csv.reader(io.StringIO(shown("--csv"))))
    page = shown("--report")
    assert len(rows) == len(figures) + 1 and page.startswith("<!DOCTYPE html>") and page.rstrip().endswith("</html>")
