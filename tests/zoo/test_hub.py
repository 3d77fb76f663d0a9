"""Pushing and pulling runs: against a folder, and against the hub's client with its two calls replaced by a folder."""

from __future__ import annotations

import inspect
import json
import shutil
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import pytest
from typer.testing import CliRunner

import predfuse
from predfuse import zoo
from predfuse.cli import app
from predfuse.errors import InputError, PredfuseError
from predfuse.files import sha256_of_file
from predfuse.zoo.hub import TRANSFERRED, pull, push

RUN = "fashion-mnist-mobilenetv2-s"
PLACE = "hf://somebody/small"


@pytest.fixture
def pushed(tmp_path: Path) -> Path:
    """A run, pushed into a folder."""
    return Path(push(RUN, str(tmp_path / "pushed")))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the hub's repositories; calls must fit the client's signatures."""
    place = tmp_path / "hub"
    send, receive = huggingface_hub.HfApi.upload_folder, huggingface_hub.snapshot_download

    def upload(self: object, **given: object) -> None:
        bound = inspect.signature(send).bind(self, **given).arguments
        _copy_allowed(Path(str(bound["folder_path"])), place / str(bound["repo_id"]), bound["allow_patterns"])

    def download(repo_id: str, **given: object) -> None:
        bound = inspect.signature(receive).bind(repo_id, **given).arguments
        if not (place / repo_id).is_dir():
            raise OSError("404 Client Error.\n\nRepository Not Found")
        _copy_allowed(place / repo_id, Path(str(bound["local_dir"])), bound["allow_patterns"])

    def create(self: object, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        assert private and exist_ok
        (place / repo_id).mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return place


def _copy_allowed(source: Path, target: Path, patterns: list[str]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if any(fnmatch(path.name, pattern) for pattern in patterns):
            shutil.copyfile(path, target / path.name)


def test_what_was_pushed_is_pulled_the_same(tmp_path: Path, pushed: Path) -> None:
    (pushed / "payload.py").write_text("raise SystemExit")
    (pushed / "weights.pkl").write_bytes(b"\x80\x04.")
    entries = pull(str(pushed), tmp_path / "pulled")
    names = {path.name for path in (tmp_path / "pulled").iterdir()}
    assert {entry.file for entry in entries} - {None} <= names <= set(TRANSFERRED)
    for name in names - {"README.md"}:
        assert (tmp_path / "pulled" / name).read_bytes() == (zoo.root() / RUN / name).read_bytes()
    assert predfuse.load(tmp_path / "pulled" / "vanilla.safetensors").name == "mobilenetv2-s"
    card = (pushed / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: predfuse\n")
    assert all(f"{entry.test_accuracy:.2%}" in card for entry in entries)


def test_the_hub_gets_and_gives_the_listed_files_alone(tmp_path: Path, hub: Path) -> None:
    assert push(RUN, PLACE) == PLACE
    (hub / "somebody" / "small" / "modeling.py").write_text("raise SystemExit")
    ran = CliRunner().invoke(app, ["zoo", "pull", PLACE, "-o", str(tmp_path / "pulled")])
    assert ran.exit_code == 0, ran.output
    assert {path.name for path in (tmp_path / "pulled").iterdir()} <= set(TRANSFERRED)


def test_a_repository_that_is_not_there_is_one_line(tmp_path: Path, hub: Path) -> None:
    with pytest.raises(PredfuseError, match=r"^hf://no/body: 404 Client Error\.; check the name") as caught:
        pull("hf://no/body", tmp_path / "pulled")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("harm", ["flipped", "missing", "renamed", "no card", "no checkpoint"])
def test_what_is_not_as_its_card_says_is_refused_and_leaves_nothing(tmp_path: Path, pushed: Path, harm: str) -> None:
    file, card = pushed / "vanilla.safetensors", pushed / "card.json"
    entries = json.loads(card.read_text())
    if harm == "flipped":
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    elif harm == "missing":
        file.unlink()
    elif harm == "renamed":
        card.write_text(json.dumps([{**entry, "file": "../../escaped.safetensors"} for entry in entries]))
    elif harm == "no card":
        card.unlink()
    else:  # the checksum fits, the loader still refuses it
        file.write_bytes(b"\x80\x04.")
        digest = sha256_of_file(file)
        card.write_text(json.dumps([{**e, "sha256": digest} if e["stage"] == "vanilla" else e for e in entries]))
    with pytest.raises(InputError):
        pull(str(pushed), tmp_path / "pulled")
    assert {path.name for path in tmp_path.iterdir()} == {"pushed"}


def test_nothing_that_exists_is_overwritten(tmp_path: Path, pushed: Path) -> None:
    with pytest.raises(InputError, match="exists"):
        push(RUN, str(pushed))
    with pytest.raises(InputError, match="exists"):
        pull(str(pushed), tmp_path)
