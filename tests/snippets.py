"""The snippets of a page: blocks of Python and of shell, and the cells of a notebook, in their order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(python|sh|\{code-cell\})[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Snippet(NamedTuple):
    """One block: ``kind`` is ``python`` (cells of notebooks too) or ``sh``."""

    kind: str
    code: str


def snippets(page: str) -> list[Snippet]:
    """All snippets of a page, verbatim.

    Args:
        page: Its path from the root of the repository, ``README.md`` for instance.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Snippet("sh" if kind == "sh" else "python", code) for kind, code in FENCE.findall(text)]


def commands(page: str) -> Iterator[list[str]]:
    """The words of every ``predfuse`` command in the shell snippets of a page."""
    for snippet in snippets(page):
        if snippet.kind == "sh":
            for line in snippet.code.splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["predfuse"]:
                    yield words[1:]
