"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from predfuse.errors import InputError
from predfuse.files import require_writable, sha256_of_file, write_atomically, write_text_atomically


def test_text_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text_atomically(path, "old")
    write_text_atomically(path, "new\n")
    assert path.read_text() == "new\n"
    assert [child.name for child in tmp_path.iterdir()] == ["a.txt"]
    assert sha256_of_file(path) == "7aa7a5359173d05b63cfd682e3c38487f3cb4f7f1d60659fe59fab1505977d4c"


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["a.txt"]


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        require_writable(tmp_path / "missing" / "a.txt")
    with pytest.raises(InputError, match="is a folder"):
        require_writable(tmp_path)
    with pytest.raises(InputError, match="cannot be written"):
        require_writable(Path("/proc/a.txt"))
    require_writable(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []
