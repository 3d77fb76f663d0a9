from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from predfuse.data import catalogue, cifar, load
from predfuse.data.checksums import KnownFile
from predfuse.errors import InputError

from .conftest import TinyCifar, pack


def write_all(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("form", ["npm tarball", "npm folder", "binary tarball", "binary folder", "files themselves"])
def test_every_form_decodes_to_the_same_images(
    form: str, split: str, tiny_cifar: TinyCifar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if form == "npm tarball":
        pack(tmp_path / cifar.NPM_TARBALL, "package", tiny_cifar.npm)
    elif form == "npm folder":
        write_all(tmp_path / "cifar10" / "package", tiny_cifar.npm)
    elif form == "binary tarball":
        path = tmp_path / "cifar-10-binary.tar.gz"
        pack(path, "cifar-10-batches-bin", tiny_cifar.binary)
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setitem(cifar.BINARY_TARBALLS, path.name, KnownFile(None, digest, "md5"))
    elif form == "binary folder":
        write_all(tmp_path / "cifar-10-batches-bin", tiny_cifar.binary)
    else:
        write_all(tmp_path, tiny_cifar.binary)
    data = load("cifar10", split, root=tmp_path)  # type: ignore[arg-type]
    images, labels = tiny_cifar.expected(split)
    np.testing.assert_array_equal(data.images, images)
    np.testing.assert_array_equal(data.labels, labels)
    assert data.shape == (3, 32, 32)
    assert data.classes[3] == "cat"


def test_decoded_copy_is_used_without_the_source_and_made_again_when_damaged(
    tiny_cifar: TinyCifar, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tarball = tmp_path / cifar.NPM_TARBALL
    pack(tarball, "package", tiny_cifar.npm)
    first = load("cifar10", "test", root=tmp_path)
    copy = catalogue.cache_path("cifar10", "test", tmp_path)
    hidden = tarball.rename(tmp_path / "hidden")
    np.testing.assert_array_equal(load("cifar10", "test", root=tmp_path).images, first.images)
    hidden.rename(tarball)
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    np.testing.assert_array_equal(load("cifar10", "test", root=tmp_path).labels, first.labels)
    assert "decoded copy is unusable" in caplog.text
    assert copy.read_bytes() != bytes(content)


def test_decoded_copy_that_cannot_be_written_is_no_error(tiny_cifar: TinyCifar, tmp_path: Path) -> None:
    write_all(tmp_path, tiny_cifar.npm)
    (tmp_path / "decoded").write_text("in the way")
    assert len(load("cifar10", "test", root=tmp_path)) == 3


@pytest.mark.parametrize("form", ["folder", "tarball"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_damaged_npm_file_is_named(damage: str, form: str, tiny_cifar: TinyCifar, tmp_path: Path) -> None:
    files = dict(tiny_cifar.npm)
    if damage == "truncated":
        files["data_batch_4.png"] = files["data_batch_4.png"][:-20]
    elif damage == "changed":
        files["data_batch_4.png"] = files["data_batch_4.png"][:-20] + bytes(20)
    else:
        del files["data_batch_4.png"]
    if form == "folder":
        write_all(tmp_path, files)
    else:
        pack(tmp_path / cifar.NPM_TARBALL, "package", files)
    wording = {"truncated": "is truncated", "changed": "is corrupt", "missing": "data_batch_4.png"}[damage]
    with pytest.raises(InputError, match=wording) as caught:
        load("cifar10", "train", root=tmp_path)
    assert "data_batch_4.png" in str(caught.value)
    assert not (tmp_path / "decoded").exists()


@pytest.mark.parametrize("keep", [0, 1, 20, 0.5])
def test_truncated_archive_is_named(keep: float, tiny_cifar: TinyCifar, tmp_path: Path) -> None:
    path = tmp_path / cifar.NPM_TARBALL
    pack(path, "package", tiny_cifar.npm)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep == 0.5 else int(keep)])
    with pytest.raises(InputError, match=cifar.NPM_TARBALL):
        load("cifar10", "train", root=tmp_path)


def test_official_archive_with_another_md5_is_refused(tiny_cifar: TinyCifar, tmp_path: Path) -> None:
    pack(tmp_path / "cifar-10-binary.tar.gz", "cifar-10-batches-bin", tiny_cifar.binary)
    with pytest.raises(InputError, match=r"cifar-10-binary\.tar\.gz: is corrupt or another file \(md5 differs\)"):
        load("cifar10", "test", root=tmp_path)


@pytest.mark.parametrize(
    ("name", "pickled"),
    [("cifar10", "cifar-10-python.tar.gz"), ("cifar10", "cifar-10-batches-py/"), ("cifar100", "cifar-100-python/")],
)
def test_pickled_version_is_refused_with_the_reason(name: str, pickled: str, tmp_path: Path) -> None:
    path = tmp_path / pickled
    path.mkdir() if pickled.endswith("/") else path.write_bytes(b"")
    with pytest.raises(InputError, match=r"can run any code .* get the binary version"):
        load(name, "train", root=tmp_path)


def test_cifar100_uses_the_fine_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(1).integers(0, 256, (4, 3, 32, 32), np.uint8)
    fine = [7, 99, 0, 42]
    content = b"".join(bytes([9, label]) + image.tobytes() for label, image in zip(fine, images, strict=True))
    write_all(tmp_path / "cifar-100-binary", {"test.bin": content, "fine_label_names.txt": b""})
    monkeypatch.setattr(cifar, "BINARY_KNOWN_100", {"test.bin": KnownFile(len(content), None)})
    data = load("cifar100", "test", root=tmp_path)
    assert data.labels.tolist() == fine
    np.testing.assert_array_equal(data.images, images)
    assert len(data.classes) == 100
    assert data.classes[42] == "leopard"


@pytest.mark.parametrize(
    ("content", "wording"),
    [(b"", "no whole number"), (bytes(3072), "no whole number"), (b"\x0a" + bytes(3072), "label above 9")],
)
def test_bad_records_are_refused(content: bytes, wording: str) -> None:
    with pytest.raises(InputError, match=wording):
        cifar.parse_records("batch.bin", content, 1, 10)


def test_real_cifar10_has_the_published_means() -> None:
    import os

    root = next((Path(place) for place in (os.environ.get("PREDFUSE_TEST_DATA"),) if place), None)
    if root is None:
        pytest.skip("set PREDFUSE_TEST_DATA to a folder with CIFAR-10 to check the real files")
    data = load("cifar10", "train", root=root)
    assert data.images.shape == (50_000, 3, 32, 32)
    assert np.bincount(data.labels).tolist() == [5_000] * 10
    np.testing.assert_allclose(data.images.mean((0, 2, 3)) / 255, data.mean, atol=1e-6)
    np.testing.assert_allclose(data.images.std((0, 2, 3)) / 255, data.std, atol=1e-6)
