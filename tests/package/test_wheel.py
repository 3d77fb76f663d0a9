"""Wheel and sdist of a clean copy of the checkout; README and start page run with the wheel alone, as for newcomers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import HeaderParser
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
DATA = (
    "py.typed",
    "data/shipped/fashion-mnist-1000.png",
    "hardware/specs/archon.yaml",
    "zoo/results.csv",
    "zoo/fashion-mnist-fusionet-s/predicted-joint.safetensors",
)
SUFFIXES = {".sv", ".cpp", ".yaml", ".safetensors", ".png", ".csv", ".jsonl", ".json"}
EXTRAS = {"dev", "docs", "explore", "hub", "onnx", "peer", "rtl", "track"}
BUILD = "import sys; from hatchling import build; getattr(build, 'build_' + sys.argv[1])(sys.argv[2])"
RUN_ALL = """
import sys
for path in sys.argv[1:]:
    exec(compile(open(path, encoding="utf-8").read(), path, "exec"), {"__name__": "__main__"})
import predfuse
print(predfuse.__file__)
"""
FENCE = re.compile(r"^```\{?(python|code-cell|sh)\}?[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of the tracked files alone, built by the build backend itself."""
    clean, folder = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for name in _tracked():
        target = clean / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    for kind in ("wheel", "sdist"):
        subprocess.run([sys.executable, "-c", BUILD, kind, str(folder)], cwd=clean, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel, and of this one's packages those alone that the wheel says it needs."""
    target = tmp_path_factory.mktemp("newcomer") / "environment"
    venv.create(target, with_pip=False)
    (wheel,) = built.glob("*.whl")
    install = [sys.executable, "-m", "pip", "--python", str(target / "bin" / "python"), "install", "--no-deps"]
    subprocess.run([*install, "--no-index", "--quiet", str(wheel)], check=True)
    (site,) = target.glob("lib/python*/site-packages")
    for found in _needed(site).values():
        base = Path(str(found.locate_file("")))
        for top in {Path(str(file)).parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(base / top)
    return target


def test_every_file_of_the_package_is_in_the_wheel(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = {name.removeprefix("src/") for name in _tracked() if name.startswith("src/predfuse/")}
    assert tracked <= names
    assert {f"predfuse/{name}" for name in DATA} <= names
    assert {Path(name).suffix for name in tracked} >= SUFFIXES
    assert not [name for name in names if not name.startswith(("predfuse/", "predfuse-"))]


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    _unpack(sdist, tmp_path)
    (source,) = tmp_path.iterdir()
    assert {"LICENSE", "CHANGELOG.md", "pyproject.toml", "README.md", "CITATION.cff"} <= {
        p.name for p in source.iterdir()
    }
    subprocess.run([sys.executable, "-c", BUILD, "wheel", str(tmp_path)], cwd=source, check=True, capture_output=True)
    (wheel,), (again,) = built.glob("*.whl"), tmp_path.glob("*.whl")
    assert wheel.read_bytes() == again.read_bytes()


def test_the_version_is_one_everywhere(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    version = wheel.name.split("-")[1]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    name = f"predfuse-{version}.dist-info/METADATA"
    metadata = HeaderParser().parsestr(zipfile.ZipFile(wheel).read(name).decode("utf-8"))
    assert set(metadata.get_all("Provides-Extra") or ()) == EXTRAS


def test_a_newcomer_gets_what_readme_and_start_page_say(installed: Path, tmp_path: Path) -> None:
    """Every snippet verbatim: Python as a script, the page's cells in one, ``predfuse`` lines by the command."""
    snippets, commands = [], []
    for page in (ROOT / "README.md", ROOT / "docs" / "start.md"):
        cells = []
        for kind, text in FENCE.findall(page.read_text(encoding="utf-8")):
            if kind == "sh":
                commands += [line.split("#")[0].strip() for line in text.splitlines() if line.startswith("predfuse ")]
            elif kind == "code-cell":
                cells.append(text)
            else:
                snippets.append(text)
        snippets += ["\n".join(cells)] if cells else []
    assert len(snippets) >= 3
    assert commands
    scripts = [tmp_path / f"snippet{number}.py" for number in range(len(snippets))]
    for script, text in zip(scripts, snippets, strict=True):
        script.write_text(text, encoding="utf-8")
    out = _run([str(installed / "bin" / "python"), "-c", RUN_ALL, *map(str, scripts)], tmp_path)
    assert out.splitlines()[-1].startswith(str(installed))
    for command in (*commands, "predfuse demo --count 20 --json demo.json --report demo.html"):
        _run([str(installed / "bin" / "predfuse"), *command.split()[1:]], tmp_path)
    assert (tmp_path / "demo.html").stat().st_size > 10_000


def _unpack(sdist: Path, folder: Path) -> None:
    """Files alone, all below ``folder``: ``extractall(filter=)`` came with Python 3.11.4 only."""
    with tarfile.open(sdist) as archive:
        for member in archive:
            target, held = folder / member.name, archive.extractfile(member)
            assert held is not None and target.resolve().is_relative_to(folder.resolve()), member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(held.read())
            target.chmod(member.mode & 0o755)


def _run(command: list[str], folder: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
    return ran.stdout


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _needed(site: Path) -> dict[str, Distribution]:
    """The distributions of this environment that the wheel installed in ``site`` needs, with what these need."""
    (own,) = Distribution.discover(path=[str(site)], name="predfuse")
    found: dict[str, Distribution] = {}
    asked = [(text, True, "") for text in own.requires or ()]
    while asked:
        text, direct, extra = asked.pop()
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue
        if wanted.name.lower() in found and not wanted.extras:
            continue
        try:
            found[wanted.name.lower()] = has = distribution(wanted.name)
        except PackageNotFoundError:
            if direct:
                raise
            continue  # of another build of PyTorch
        assert wanted.specifier.contains(has.version, prereleases=True), f"{wanted.name} {has.version} is not {wanted}"
        asked += [(text, False, extra) for extra in ("", *wanted.extras) for text in has.requires or ()]
    return found
