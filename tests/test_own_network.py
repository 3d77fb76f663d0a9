"""The page about a user's own network runs from its first line to its last, and fusion pays on its network."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from snippets import snippets
from typer.testing import CliRunner

from predfuse.cli import app

PAGE = "docs/tutorials/own_network.md"


def test_the_whole_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    scope: dict[str, object] = {}
    blocks = [snippet.code for snippet in snippets(PAGE)]
    assert len(blocks) == 5 and blocks[-1].startswith("%%bash\n")
    for code in blocks[:-1]:
        exec(compile(code, PAGE, "exec"), scope)
    printed = capsys.readouterr().out
    cycles = {name: int(count.replace(",", "")) for name, count in re.findall(r"([\w.-]+): ([\d,]+) cycles", printed)}
    fused = cycles.pop("archon-1.7")
    assert set(cycles) == {"eyeriss-sparse", "sparse-1.7", "sparse-depth-first-1.7"}
    assert fused < cycles["sparse-1.7"] and 3 * fused < cycles["eyeriss-sparse"]
    zeros = re.search(r"'pointwise': ([\d.]+), 'depthwise': ([\d.]+)", printed)
    assert zeros is not None and "refused={}" in printed
    assert [float(share) for share in zeros.groups()] == pytest.approx([0.8, 0.7], abs=1e-3)
    assert Path("own.onnx").is_file()
    for line in blocks[-1].splitlines()[1:]:
        command, *arguments = shlex.split(line)
        assert command == "predfuse"
        ran = CliRunner().invoke(app, arguments)
        assert ran.exit_code == 0, f"{line}\n{ran.output}\n{ran.exception}"
    assert Path("fused.onnx").is_file()
