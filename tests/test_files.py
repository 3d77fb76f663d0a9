"""Files are written whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from predfuse.errors import InputError
from predfuse.files import (
    remove_abandoned,
    require_new_folder,
    require_writable,
    sha256_of_file,
    write_atomically,
    write_folder_atomically,
    write_text_atomically,
)


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
    (tmp_path / "file").write_text("x")
    for require in (require_writable, require_new_folder):
        with pytest.raises(InputError, match="file is a file, not a folder"):
            require(tmp_path / "file" / "a.txt")


def names(folder: Path) -> list[str]:
    return sorted(child.name for child in folder.iterdir())


HANGING = """
import sys, time
from pathlib import Path
from predfuse.files import write_atomically, write_folder_atomically
def write(path):
    (path / "part" if path.is_dir() else path).write_text("half")
    print("writing", flush=True)
    time.sleep(60)
(write_folder_atomically if sys.argv[1] == "folder" else write_atomically)(Path(sys.argv[2]), write)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_living_one_is_not_disturbed(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.out"
    with subprocess.Popen(
        [sys.executable, "-c", HANGING, kind, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        (temporary,) = names(tmp_path)
        write_text_atomically(path, "of another")
        remove_abandoned(tmp_path)
        assert names(tmp_path) == sorted([temporary, "a.out"])
        process.send_signal(signal.SIGKILL)
    users = tmp_path / ".a.out.of-the-user.tmp"
    users.touch()
    assert (tmp_path / temporary).exists()
    write_text_atomically(path, "again")
    assert names(tmp_path) == [users.name, "a.out"] and path.read_text() == "again"


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail(temporary: Path) -> None:
        (temporary / "part").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"new: cannot be written \(No space left on device\); "):
        write_folder_atomically(tmp_path / "new", fail)
    assert names(tmp_path) == []
    write_folder_atomically(tmp_path / "new", lambda folder: (folder / "part").touch())
    assert names(tmp_path) == ["new"] and names(tmp_path / "new") == ["part"]
    with pytest.raises(InputError, match="exists already"):
        write_folder_atomically(tmp_path / "new", lambda folder: None)


def test_links_are_followed_and_streams_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "link").symlink_to("target")
    write_text_atomically(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "text"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text_atomically(tmp_path / "pipe", "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    write_text_atomically(Path(os.devnull), "gone")
    assert Path(os.devnull).is_char_device()
    with pytest.raises(InputError, match="No space left"):
        write_text_atomically(Path("/dev/full"), "text")
    assert names(tmp_path) == ["link", "pipe", "target"]


def test_names_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / ("x" * 255), "text")
    with pytest.raises(InputError, match="File name too long"):
        write_text_atomically(tmp_path / ("x" * 256), "text")
    with pytest.raises(InputError, match="is no name a file can have"):
        write_text_atomically(tmp_path / "x\0y", "text")
    assert names(tmp_path) == ["x" * 255]
