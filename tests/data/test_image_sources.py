"""Images from everywhere, and refusals in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from predfuse.data.image_sources import load_images
from predfuse.errors import InputError

SHAPE = (1, 6, 6)


def _picture(path: Path, size: tuple[int, int] = (6, 6), grey: int = 40) -> Path:
    Image.new("L", size, grey).save(path)
    return path


def test_shipped_images_come_with_labels() -> None:
    found = load_images("fashion-mnist-1000", (1, 28, 28), limit=7)
    assert found.images.shape == (7, 1, 28, 28) and found.images.dtype == np.uint8
    assert found.labels is not None and found.labels.shape == (7,) and found.name == "fashion-mnist-1000"


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_arrays_with_and_without_labels(tmp_path: Path, dtype: type[np.generic]) -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, *SHAPE)).astype(dtype)
    save_file({"images": images, "labels": np.array([2, 0, 1], np.int32)}, tmp_path / "a.safetensors")
    found = load_images(str(tmp_path / "a.safetensors"), SHAPE, limit=2)
    np.testing.assert_array_equal(found.images, images[:2])
    assert found.images.dtype == dtype and found.labels is not None and found.labels.tolist() == [2, 0]
    save_file({"images": images}, tmp_path / "b.safetensors")
    assert load_images(str(tmp_path / "b.safetensors"), SHAPE).labels is None
    np.save(tmp_path / "c.npy", images)
    found = load_images(str(tmp_path / "c.npy"), SHAPE, limit=2)
    np.testing.assert_array_equal(found.images, images[:2])
    assert found.images.dtype == dtype and found.labels is None


def test_pictures_one_by_one_in_a_folder_and_by_class(tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    single = _picture(flat / "b.png", grey=9)
    _picture(flat / "a.png", grey=5)
    (flat / "notes.txt").write_text("no picture")
    assert load_images(str(single), SHAPE).images[0, 0, 0, 0] == 9
    found = load_images(str(flat), SHAPE)
    assert found.images[:, 0, 0, 0].tolist() == [5, 9] and found.labels is None
    assert load_images(str(single), (3, 6, 6)).images.shape == (1, 3, 6, 6)
    classes = tmp_path / "classes"
    for name in ("cat", "dog"):
        (classes / name).mkdir(parents=True)
        for index in range(2):
            _picture(classes / name / f"{index}.png")
    by_class = load_images(str(classes), SHAPE)
    assert by_class.labels is not None and sorted(set(by_class.labels.tolist())) == [0, 1]


def test_pictures_are_resampled_only_on_demand(tmp_path: Path) -> None:
    picture = _picture(tmp_path / "wide.png", (9, 7))
    with pytest.raises(InputError, match=r"wide\.png: is 9x7 pixels, expected 6x6; use .* of that size, or --size"):
        load_images(str(picture), SHAPE)
    assert load_images(str(picture), SHAPE, resize=True).images.shape == (1, *SHAPE)
    with pytest.raises(InputError, match="cannot make 6x5 pixels"):
        load_images(str(picture), (1, 6, 5), resize=True)


def test_unusable_images_are_refused(tmp_path: Path) -> None:
    def refused(source: Path | str, message: str) -> None:
        with pytest.raises(InputError) as caught:
            load_images(str(source), SHAPE)
        assert message in str(caught.value) and "\n" not in str(caught.value)

    refused("nothing-of-that-name", "is neither a data set nor a file")
    refused("fashion-mnist-1000", "holds images of 1x28x28, expected 1x6x6")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(empty, "holds no pictures")
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    refused(tmp_path / "broken.png", "is no readable picture")
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\x00" * 5)
    refused(path, "is no intact safetensors file")
    for tensors, message in (
        ({"pixels": np.zeros((1, *SHAPE), np.uint8)}, "has no tensor 'images'"),
        ({"images": np.zeros((1, *SHAPE), np.int32)}, "its images are int32"),
        ({"images": np.zeros(SHAPE, np.uint8)}, "its images are uint8 1x6x6"),
        ({"images": np.zeros((1, 1, 6, 7), np.uint8)}, "holds images of 1x6x7, expected 1x6x6"),
        ({"images": np.zeros((2, *SHAPE), np.uint8), "labels": np.zeros(3, np.int64)}, "its labels are int64 (3,)"),
        ({"images": np.zeros((1, *SHAPE), np.uint8), "labels": np.zeros(1, np.float32)}, "its labels are float32"),
    ):
        save_file(dict[str, Any](tensors), path)
        refused(path, message)
    np.save(tmp_path / "a.npy", np.zeros((1, *SHAPE), np.int32))
    refused(tmp_path / "a.npy", "its images are int32")
    np.save(tmp_path / "a.npy", np.array([None]), allow_pickle=True)
    refused(tmp_path / "a.npy", "is no intact .npy file of numbers")
    (tmp_path / "a.npy").write_bytes(b"")
    refused(tmp_path / "a.npy", "is no intact .npy file of numbers")
    for limit in (0, -1):
        with pytest.raises(InputError, match=f"limit: is {limit}"):
            load_images("fashion-mnist-1000", (1, 28, 28), limit)
