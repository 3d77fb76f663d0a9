"""Every line of the table of commands names a command that loads, and says in short what that one does."""

from __future__ import annotations

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
