from __future__ import annotations

import contextlib
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from predfuse.data import Dataset, fashion_mnist, load
from predfuse.data.checksums import KnownFile
from predfuse.errors import InputError

from .conftest import sha256

INSTALLED = fashion_mnist.DEBIAN_FOLDER.is_dir()
needs_real_files = pytest.mark.skipif(not INSTALLED, reason="package dataset-fashion-mnist is not installed")


def idx(array: np.ndarray) -> bytes:
    return b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray, np.ndarray]:
    """Five test images in gzipped IDX files, with the checksum table to match."""
    random = np.random.default_rng(3)
    images, labels = random.integers(0, 256, (5, 28, 28), np.uint8), np.array([9, 0, 3, 3, 1], np.uint8)
    known = {}
    for name, array in (("t10k-images-idx3-ubyte", images), ("t10k-labels-idx1-ubyte", labels)):
        content = idx(array)
        known[name] = KnownFile(len(content), sha256(content))
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(fashion_mnist, "KNOWN", known)
    return tmp_path, images, labels


def test_idx_files_load_gzipped_and_plain(tiny: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, images, labels = tiny
    data = load("fashion-mnist", "test", root=folder)
    np.testing.assert_array_equal(data.images[:, 0], images)
    assert data.labels.tolist() == labels.tolist()
    for path in folder.glob("*.gz"):
        (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    np.testing.assert_array_equal(load("fashion-mnist", "test", root=folder).images, data.images)


def test_environment_variable_names_the_place(
    tiny: tuple[Path, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("predfuse.data.catalogue.CATALOGUE", dict(_without_system_folders()))
    with pytest.raises(InputError, match="apt-get install dataset-fashion-mnist"):
        load("fashion-mnist", "test")
    monkeypatch.setenv("PREDFUSE_DATA", str(tiny[0]))
    assert len(load("fashion-mnist", "test")) == 5


def _without_system_folders() -> dict[str, object]:
    import dataclasses

    from predfuse.data import CATALOGUE

    return {name: dataclasses.replace(entry, system_folders=()) for name, entry in CATALOGUE.items()}


@pytest.mark.parametrize(
    ("damage", "wording"),
    [
        (lambda content: content[:-9], "is truncated"),
        (lambda content: b"no gzip", "is no intact gzip file"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-1]), r"is truncated \(3,935 of 3,936 bytes\)"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-1] + b"x"), r"is corrupt .*sha256"),
        (lambda content: gzip.compress(gzip.decompress(content) + b"x"), "is another file"),
    ],
)
def test_damaged_file_is_named(damage: object, wording: str, tiny: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path = tiny[0] / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(InputError, match=wording) as caught:
        load("fashion-mnist", "test", root=tiny[0])
    assert caught.value.where == str(path)


def test_missing_half_is_named(tiny: tuple[Path, np.ndarray, np.ndarray]) -> None:
    (tiny[0] / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz: does not exist"):
        load("fashion-mnist", "test", root=tiny[0])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_idx_round_trip(shape: list[int], seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(fashion_mnist.parse_idx("file", idx(array)), array)


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x00\x08", b"\x00\x00\x0d\x01\x00\x00\x00\x01x", b"\x00\x00\x08\x03\x00"]
)
def test_other_files_are_no_idx(content: bytes) -> None:
    with pytest.raises(InputError, match="is no IDX file"):
        fashion_mnist.parse_idx("file", content)


def test_idx_header_that_promises_too_much_is_refused() -> None:
    with pytest.raises(InputError, match="holds 2 values, its header says 3"):
        fashion_mnist.parse_idx("file", idx(np.zeros(3, np.uint8))[:-1])


@given(st.binary(max_size=200))
def test_garbage_never_raises_anything_else(content: bytes) -> None:
    with contextlib.suppress(InputError):
        fashion_mnist.parse_idx("file", content)


def test_shipped_subset_is_complete_and_balanced() -> None:
    data = load("fashion-mnist-1000", "test")
    assert data.images.shape == (1000, 1, 28, 28)
    assert np.bincount(data.labels).tolist() == [100] * 10
    assert 0.25 < data.images.mean() / 255 < 0.32
    assert (fashion_mnist.shipped_folder() / "LICENSE-fashion-mnist.txt").read_text().count("Zalando")
    assert load("fashion-mnist-1000", "test", limit=7).labels.tolist() == data.labels[:7].tolist()


def test_shipped_subset_has_no_training_images() -> None:
    with pytest.raises(InputError, match="has no train images; use fashion-mnist"):
        load("fashion-mnist-1000", "train")


def test_damaged_installation_is_named(tmp_path: Path) -> None:
    for path in fashion_mnist.shipped_folder().glob("fashion*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    sheet = tmp_path / "fashion-mnist-1000.png"
    sheet.write_bytes(sheet.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"fashion-mnist-1000\.png: is truncated"):
        fashion_mnist.read_shipped(tmp_path)
    (tmp_path / "fashion-mnist-1000.json").write_text("{}")
    with pytest.raises(InputError, match=r"\.json: is damaged .*; reinstall"):
        fashion_mnist.read_shipped(tmp_path)


@needs_real_files
def test_shipped_subset_equals_the_real_test_set() -> None:
    real, shipped = load("fashion-mnist", "test"), load("fashion-mnist-1000", "test")
    positions = sorted(int(i) for label in range(10) for i in np.flatnonzero(real.labels == label)[:100])
    np.testing.assert_array_equal(shipped.images, real.images[positions])
    np.testing.assert_array_equal(shipped.labels, real.labels[positions])


@needs_real_files
def test_training_images_have_the_stated_mean_and_deviation() -> None:
    data: Dataset = load("fashion-mnist", "train")
    assert data.images.shape == (60_000, 1, 28, 28)
    assert data.images.mean() / 255 == pytest.approx(data.mean[0], abs=1e-9)
    assert data.images.std() / 255 == pytest.approx(data.std[0], abs=1e-9)
