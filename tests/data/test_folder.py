from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from predfuse.data import load
from predfuse.data.folder import list_folder, load_part
from predfuse.errors import InputError
from predfuse.readers.pictures import decode_picture


def picture(path: Path, value: object, size: tuple[int, int] = (6, 6), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)  # type: ignore[arg-type]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Two classes of ten grey pictures each; the grey value tells which picture it is."""
    for label, name in enumerate(("cat", "dog")):
        for place in range(10):
            picture(tmp_path / name / f"{place}.png", 100 * label + place)
    return tmp_path


def test_every_fifth_picture_is_for_testing(plain: Path) -> None:
    train, test = load(f"folder:{plain}", "train"), load(f"folder:{plain}", "test")
    assert train.classes == ("cat", "dog")
    assert sorted(test.images[:, 0, 0, 0].tolist()) == [4, 9, 104, 109]
    values = set(train.images[:, 0, 0, 0].tolist())
    assert len(values) == 16
    assert not values & set(test.images[:, 0, 0, 0].tolist())
    assert (train.labels == train.images[:, 0, 0, 0] // 100).all()
    assert test.mean == train.mean
    assert train.mean[0] == pytest.approx(train.images.mean() / 255)
    assert train.std[0] == pytest.approx(train.images.std() / 255)


def test_all_of_a_folder_is_loaded_with_the_statistics_of_its_training_pictures(plain: Path) -> None:
    both = load(f"folder:{plain}", "all")
    assert sorted(both.images[:, 0, 0, 0].tolist()) == [*range(10), *range(100, 110)]
    assert both.mean == load(f"folder:{plain}", "train").mean
    with pytest.raises(InputError, match="fashion-mnist-1000: has no split 'all'; use train or test"):
        load("fashion-mnist-1000", "all")


def test_limit_takes_the_classes_in_turn(plain: Path) -> None:
    assert load(f"folder:{plain}", "train", limit=4).labels.tolist() == [0, 1, 0, 1]


def test_train_and_test_folders_are_honoured(tmp_path: Path) -> None:
    for split, base in (("train", 0), ("val", 50)):
        for label, name in enumerate(("a", "b")):
            picture(tmp_path / split / name / "x.png", base + label)
    assert load(f"folder:{tmp_path}", "train").images[:, 0, 0, 0].tolist() == [0, 1]
    assert load(f"folder:{tmp_path}", "test").images[:, 0, 0, 0].tolist() == [50, 51]
    picture(tmp_path / "val" / "c" / "x.png", 1)
    with pytest.raises(InputError, match="class c is in only one of train and test"):
        load(f"folder:{tmp_path}", "train")


def test_size_resamples_and_one_colour_picture_makes_all_colour(plain: Path) -> None:
    picture(plain / "cat" / "wide.jpg", (200, 10, 10), (40, 12), "RGB")
    with pytest.raises(InputError, match=r"wide\.jpg: is 40x12 pixels, expected 6x6; give a size"):
        load(f"folder:{plain}", "train")
    data = load(f"folder:{plain}", "train", size=8)
    assert data.shape == (3, 8, 8)
    assert len(data.mean) == 3


def test_unreadable_picture_is_named(plain: Path) -> None:
    broken = plain / "dog" / "2.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(InputError, match=r"2\.png: is no readable picture"):
        load(f"folder:{plain}", "train")
    (plain / "dog" / "2.png").write_text("text")
    with pytest.raises(InputError, match=r"2\.png: is no readable picture"):
        load(f"folder:{plain}", "test")


def test_empty_and_classless_folders_are_named(tmp_path: Path) -> None:
    def message() -> str:
        with pytest.raises(InputError) as caught:
            load(f"folder:{tmp_path / 'root'}", "train")
        return str(caught.value)

    assert "root: does not exist" in message()
    (tmp_path / "root").mkdir()
    assert "root: is empty" in message()
    picture(tmp_path / "root" / "loose.png", 0)
    assert "holds no class folders" in message()
    picture(tmp_path / "root" / "a" / "0.png", 0)
    assert "holds 1 class folders" in message()
    (tmp_path / "root" / "b").mkdir()
    assert "root/b: holds no pictures" in message()
    picture(tmp_path / "root" / "b" / "0.png", 0)
    assert "root/a: holds a single picture" in message()


@pytest.mark.parametrize("keyword", [{"limit": 0}, {"size": 0}])
def test_impossible_limit_and_size(plain: Path, keyword: dict[str, int]) -> None:
    with pytest.raises(InputError, match="is 0"):
        load(f"folder:{plain}", "train", **keyword)  # type: ignore[arg-type]


def test_decoding_puts_transparent_pixels_on_black_and_cuts_the_centre(tmp_path: Path) -> None:
    pixels = np.zeros((4, 8, 4), np.uint8)
    pixels[:, 2:6] = (255, 0, 0, 255)
    pixels[:, :2] = (255, 255, 255, 0)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    content = (tmp_path / "p.png").read_bytes()
    whole = decode_picture("p.png", content, "RGB")
    assert whole.shape == (3, 4, 8)
    assert whole[:, 0, 0].tolist() == [0, 0, 0]
    assert decode_picture("p.png", content, "RGB", 4)[:, :, :].reshape(3, -1).mean(1).tolist() == [255, 0, 0]


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING"])
@pytest.mark.parametrize("test", ["test", "Test", "val", "valid", "validation", "VALIDATION", "testing"])
def test_split_folders_are_known_in_any_case(tmp_path: Path, train: str, test: str) -> None:
    """Fault A4: these became classes of their own."""
    for base, split in ((0, train), (50, test)):
        for label, name in enumerate(("a", "b")):
            picture(tmp_path / split / name / "x.png", base + label)
    assert load(f"folder:{tmp_path}", "train").images[:, 0, 0, 0].tolist() == [0, 1]
    found = load(f"folder:{tmp_path}", "test")
    assert found.images[:, 0, 0, 0].tolist() == [50, 51]
    assert found.classes == ("a", "b")


def test_half_a_split_is_refused_and_classes_may_be_called_train(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / "one" / "train" / name / "x.png", 1)
        picture(tmp_path / "one" / "other" / name / "x.png", 1)
        picture(tmp_path / "two" / "Validation" / name / "x.png", 1)
    with pytest.raises(InputError, match="holds train but no folder test or testing or val"):
        load(f"folder:{tmp_path / 'one'}", "train")
    with pytest.raises(InputError, match="holds Validation but no folder train"):
        load(f"folder:{tmp_path / 'two'}", "test")
    for name in ("train", "validation"):
        for place in range(2):
            picture(tmp_path / "flat" / name / f"{place}.png", place)
    with pytest.raises(InputError, match="holds train and validation without class folders"):
        load(f"folder:{tmp_path / 'flat'}", "train")
    for place in range(2):
        picture(tmp_path / "flat" / "bus" / f"{place}.png", place)
    assert load(f"folder:{tmp_path / 'flat'}", "train").classes == ("bus", "train", "validation")


@pytest.mark.parametrize("names", [("trn", "tst"), ("a", "b", "c")])
def test_splits_of_unknown_names_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        for label in ("cat", "dog"):
            for i in range(2):
                picture(tmp_path / name / label / f"{i}.png", 9 * i)
    with pytest.raises(InputError, match=f"holds cat and dog in {' and in '.join(names)}; call the halves"):
        list_folder(tmp_path)
    picture(tmp_path / names[0] / "direct.png", 0)  # now it is a class that has pictures of its own
    assert list_folder(tmp_path).classes == names


def test_a_folder_that_is_cut_says_so(plain: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(f"folder:{plain}", "test")
    assert "has no folders train and test" in caplog.text
    assert "using the 4 test pictures of 20" in caplog.text
    caplog.clear()
    images, labels = load_part(plain, "all", "L")
    assert len(images) == len(labels) == 20 and not caplog.text
    assert sorted(images[:, 0, 0, 0].tolist()) == [*range(10), *range(100, 110)]
    assert (images[:, 0, 0, 0] // 100 == labels).all()


def test_a_constant_channel_has_deviation_one(tmp_path: Path) -> None:
    """Fault A5: floats gave 7e-18, and one pixel step became 5.7e14."""
    for name in ("a", "b"):
        for place in range(7):
            picture(tmp_path / name / f"{place}.png", (46, 200, place), (9, 7), "RGB")
    found = load(f"folder:{tmp_path}", "train")
    assert found.std[:2] == (1.0, 1.0)
    scaled = found.images / 255
    assert found.mean == pytest.approx(scaled.mean((0, 2, 3)), rel=1e-12)
    assert found.std[2] == pytest.approx(scaled[:, 2].std(), rel=1e-12)
    with pytest.raises(InputError, match=r"std .*3\.9e-06 or more"):
        dataclasses.replace(found, std=(1.0, 7e-18, 1.0))


def test_a_limit_decodes_only_what_is_used(plain: Path) -> None:
    """Fault C23: every picture was decoded into float64."""
    for name in ("cat", "dog"):
        (plain / name / "7.png").write_bytes(picture_header_only(plain / name / "7.png"))
    data = load(f"folder:{plain}", "train", limit=4)
    assert data.images[:, 0, 0, 0].tolist() == [0, 100, 1, 101]
    assert data.mean[0] == pytest.approx(data.images.mean() / 255)


def picture_header_only(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: content.index(b"IDAT") + 6]
