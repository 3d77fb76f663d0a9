"""Messages name only options and commands that exist, and long lists of reasons are shown one a line (fault B15)."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import predfuse
from predfuse import cli
from predfuse.graph.from_torch.ledger import LedgerEntry, UnsupportedError

NOT_OURS = {"--cc", "--exe", "--build", "--Mdir", "--root"}
"""Options of Verilator, and one that groups of commands have."""
PROSE = re.compile(r"version of predfuse|predfuse as|predfuse zoo lists")


def options(command: object) -> set[str]:
    """All options of a command and of the commands in it."""
    found = {
        name for parameter in getattr(command, "params", ()) for name in (*parameter.opts, *parameter.secondary_opts)
    }
    for inner in getattr(command, "commands", {}).values():
        found |= options(inner)
    return found


def messages() -> Iterator[tuple[str, str]]:
    """The texts of all exceptions raised in the sources, with their places."""
    root = Path(predfuse.__file__).parent
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and re.search("mend|what", target.id.lower()) for target in node.targets
            ):
                held: ast.AST = node.value
            elif isinstance(node, ast.Raise) and node.exc is not None:
                held = node.exc
            else:
                continue
            for part in ast.walk(held):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield f"{path.relative_to(root)}:{part.lineno}", part.value


def test_options_and_commands_in_messages_exist() -> None:
    commands = {name: cli.load(name) for name in cli.COMMANDS}
    everywhere = set().union(*map(options, commands.values())) | NOT_OURS
    wrong, seen = [], 0
    for place, text in messages():
        text = PROSE.sub("", text)
        for command, inner, rest in re.findall(r"\bpredfuse ([a-z][a-z0-9]+)(?: ([a-z]+))?((?: [^;,()]*)?)", text):
            seen += 1
            if command not in commands:
                wrong.append(f"{place}: predfuse {command}")
                continue
            known = options(commands[command])
            wrong += [
                f"{place}: predfuse {command} {one}" for one in re.findall(r"--[a-z][a-z-]*", rest) if one not in known
            ]
            if inner and hasattr(commands[command], "commands") and inner not in commands[command].commands:
                wrong.append(f"{place}: predfuse {command} {inner}")
        wrong += [
            f"{place}: {one}" for one in re.findall(r"(?<![\w-])--[A-Za-z][A-Za-z-]*", text) if one not in everywhere
        ]
    assert seen > 5 and not wrong, "\n".join(wrong)


def test_reasons_are_shown_one_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fields = dict.fromkeys(LedgerEntry.__dataclass_fields__, "")
    entries = [
        LedgerEntry(**{**fields, "name": f"layer{number}", "reason": reason})  # type: ignore[arg-type]
        for reason, count in (("a sigmoid has no 0/1 mask", 9), ("is a loop", 1))
        for number in range(count)
    ]
    error = UnsupportedError("Net", entries)
    assert "\n" not in str(error)

    def fail(_: list[str]) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["predfuse"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    first, *reasons = capsys.readouterr().err.splitlines()
    assert first.startswith("predfuse: error: model Net: 10 unsupported operations; replace them")
    assert reasons == [
        "  a sigmoid has no 0/1 mask: layer0, layer1, layer2, layer3, layer4, layer5 and 3 more",
        "  is a loop: layer0",
    ]


def test_names_too_long_for_a_file_end_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ["compile", "fusionet-s", "--images", "x" * 300, "-o", "y.safetensors"],
        ["run", "x" * 300, "fashion-mnist-1000"],
        ["train", "x" * 300, "-o", "run"],
        ["accelerators", "show", "x" * 300],
    ):
        monkeypatch.setattr(sys, "argv", ["predfuse", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr().err
        assert ended.value.code == 2 and told.count("\n") == 1 and told.startswith("predfuse: error: "), told


def test_verbose_may_be_said_before_or_after_the_command() -> None:
    wanted = ["--verbose", "run", "p", "i"]
    for given in (["-v", "run", "p", "i"], ["run", "-v", "p", "i"], ["run", "p", "i", "--verbose"], [*wanted, "-v"]):
        assert cli._verbose_first(given) == wanted
    assert cli._verbose_first(["run", "--", "-v"]) == ["run", "--", "-v"]
    assert cli._verbose_first(["run", "p", "-v", "--", "-v"]) == ["--verbose", "run", "p", "--", "-v"]
