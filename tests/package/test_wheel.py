"""The wheel and the sdist hold what an installed predfuse needs, and nothing that belongs to the checkout alone."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ("py.typed", "hardware/specs/archon.yaml", "data/shipped/fashion-mnist-1000.png", "zoo/results.csv")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built from this checkout by the build backend itself."""
    folder = tmp_path_factory.mktemp("dist")
    script = "import sys; from hatchling import build; build.build_wheel(sys.argv[1]); build.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(folder)], cwd=ROOT, check=True, capture_output=True)
    return folder


def test_every_file_of_the_package_is_in_the_wheel(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(["git", "ls-files", "src/predfuse"], cwd=ROOT, capture_output=True, text=True, check=True)
    missing = [path for path in tracked.stdout.split() if path.removeprefix("src/") not in names]
    assert not missing
    assert {f"predfuse/{name}" for name in DATA} <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "runs/"))]


def test_the_sdist_builds_and_has_the_licence(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = [name.split("/", 1)[1] for name in archive.getnames() if "/" in name]
    assert {"LICENSE", "pyproject.toml", "README.md", "src/predfuse/__init__.py"} <= set(names)


def test_the_wheel_runs_where_the_checkout_is_not(built: Path, tmp_path: Path) -> None:
    """Installed without its dependencies, which this environment has, into an environment and folder of its own."""
    (wheel,) = built.glob("*.whl")
    target = tmp_path / "environment"
    venv.create(target, with_pip=True, system_site_packages=False)
    python = target / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--no-deps", "--quiet", str(wheel)], check=True, cwd=tmp_path)
    here = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{_installed(target)}:{here}", "HOME": str(tmp_path)}
    for arguments in (["--version"], ["zoo"], ["accelerators"]):
        ran = subprocess.run(
            [python, "-m", "predfuse", *arguments], capture_output=True, text=True, cwd=tmp_path, env=environment
        )
        assert ran.returncode == 0, ran.stderr
    where = subprocess.run(
        [python, "-c", "import predfuse; print(predfuse.__file__)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert str(target) in where.stdout


def _installed(environment: Path) -> Path:
    (folder,) = environment.glob("lib/python*/site-packages")
    return folder
