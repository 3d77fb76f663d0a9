"""The commit a result was made with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from predfuse import provenance


def test_the_commit_is_that_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "src" / "package"
    package.mkdir(parents=True)
    module = package / "provenance.py"
    module.write_text("first\n")
    monkeypatch.setattr(provenance, "__file__", str(module))
    assert provenance.source_commit() is None

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert provenance.source_commit() is None  # no commit yet
    git("add", ".")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    found = provenance.source_commit()
    assert found is not None and commit.startswith(found) and len(found) == 12
    module.write_text("second\n")
    assert provenance.source_commit() == f"{found}-dirty"
