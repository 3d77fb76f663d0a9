"""What the pages show is true: snippets run verbatim, links lead somewhere, drawings are what the code draws."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from snippets import ROOT, commands, snippets
from typer.testing import CliRunner

from predfuse.cli import COMMANDS, app, load

PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if "made" not in path.parts)
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_the_snippets_run_verbatim(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = snippets(page)
    assert len([snippet for snippet in found if snippet.kind == "python"]) >= 2
    scope: dict[str, object] = {}
    for snippet in found:
        if snippet.kind == "python":
            exec(compile(snippet.code, page, "exec"), scope)
    for words in commands(page):
        ran = CliRunner().invoke(app, words)
        assert ran.exit_code == 0, f"predfuse {' '.join(words)}\n{ran.output}\n{ran.exception}"


@pytest.mark.parametrize("page", [name for name in NAMES if name != "README.md" and "\n```python\n" in text_of(name)])
def test_python_on_other_pages_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for snippet in snippets(page):
        if snippet.kind == "python":
            exec(compile(snippet.code, page, "exec"), scope)


@pytest.mark.parametrize("page", NAMES)
def test_code_can_be_checked_and_commands_exist(page: str) -> None:
    text = text_of(page)
    assert not re.search(r"^    (?:from [\w.]+ )?import ", text, re.MULTILINE), "Python stands in a fence, to be run"
    for line in re.findall(r"^(?:    |! ?)?predfuse ([a-z].*)$", text, re.MULTILINE):
        words = shlex.split(line, comments=True)
        if words and words[0] in COMMANDS:
            unknown = list(unknown_options(load(words[0]), words[1:]))
            assert not unknown, f"{page}: predfuse {line}: {unknown}"


def unknown_options(command: Any, words: list[str]) -> Iterator[str]:
    """Options among the words of a command that it does not have."""
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        option = word.split("=")[0]
        if re.fullmatch(r"--?[a-z][a-z-]*", option) and option not in known | {"--help"}:
            yield option


def test_the_first_page_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_local_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for target in targets:
        path = target.partition("#")[0]
        if path and "://" not in path and "made/" not in path:
            assert (page.parent / path).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_tables_of_what_was_measured_are_made_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    terms, costs = (importlib.import_module(name) for name in ("write_equal_terms", "write_cost_table"))
    for page, text in {**terms.pages(), **costs.pages()}.items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name}: run the tools that write it"


def test_the_committed_drawings_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    spec = importlib.util.spec_from_file_location("draw_figures", ROOT / "tools" / "draw_figures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, drawing in module.drawings().items():
        committed = (ROOT / "docs" / "figures" / name).read_text(encoding="utf-8")
        assert committed == drawing.svg(), f"docs/figures/{name} is old: run python tools/draw_figures.py"
    rows = list(module.headline_rows())
    assert len(rows) > 3 and rows == sorted(rows, key=lambda row: row[1]), "the worst row of the headline comes first"
