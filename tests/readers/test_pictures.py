"""Pictures of every Pillow mode against values worked out here (fault A3), and what is refused."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from predfuse.data.folder import load_part
from predfuse.errors import InputError
from predfuse.readers import pictures
from predfuse.readers.pictures import decode_picture

ROWS, COLUMNS = 3, 5


def encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def rounded(value: int, largest: int) -> int:
    """255 * value / largest, rounded half up."""
    return int(Fraction(255 * value, largest) + Fraction(1, 2))


@given(st.integers(0, 2**32 - 1), st.sampled_from(["PNG", "TIFF", "PPM"]), st.sampled_from(["L", "RGB"]))
def test_16_bit_grey_is_scaled_by_the_range_of_its_type(seed: int, form: str, mode: str) -> None:
    values = np.random.default_rng(seed).integers(0, 65536, (ROWS, COLUMNS), np.uint16)
    values.flat[:4] = (0, 255, 256, 65535)
    found = decode_picture("p", encoded(Image.fromarray(values), form), mode)  # type: ignore[arg-type]
    for row, column in np.ndindex(ROWS, COLUMNS):
        # Pillow's PGM reader scales by itself, from the file's largest value
        assert set(found[:, row, column].tolist()) == {rounded(int(values[row, column]), 65535)}


def test_big_endian_and_white_is_zero_tiffs() -> None:
    values = np.array([[0, 255, 256, 65535]], np.uint16)
    big = Image.frombytes("I;16B", (4, 1), values.astype(">u2").tobytes())
    assert decode_picture("p", encoded(big, "TIFF"), "L").ravel().tolist() == [0, 1, 1, 255]
    inverted = bytearray(encoded(Image.fromarray(values), "TIFF"))
    inverted[inverted.index(b"\x06\x01\x03\x00\x01\x00\x00\x00") + 8] = 0  # the tag: white is zero
    assert decode_picture("p", bytes(inverted), "L").ravel().tolist() == [255, 254, 254, 0]


@pytest.mark.parametrize("largest", [1, 3, 15, 255, 1023, 4095, 65535])
def test_pgm_of_any_largest_value(largest: int) -> None:
    values = sorted({0, 1, largest // 2, largest})
    width = 1 if largest < 256 else 2
    content = b"P5 %d 1 %d\n" % (len(values), largest) + b"".join(v.to_bytes(width, "big") for v in values)
    found = decode_picture("p", content, "L").ravel().tolist()
    for got, value in zip(found, values, strict=True):
        assert abs(got - Fraction(255 * value, largest)) <= 1


def test_16_bit_transparency_goes_to_black() -> None:
    values = np.array([[1000, 65535]], np.uint16)
    picture = Image.fromarray(values)
    assert decode_picture("p", encoded(picture, "PNG", transparency=65535), "L").ravel().tolist() == [4, 0]


@given(st.integers(0, 2**32 - 1), st.sampled_from(["1", "L", "P", "RGB", "RGBA", "LA", "CMYK"]))
def test_8_bit_modes_against_their_formulas(seed: int, mode: str) -> None:
    random = np.random.default_rng(seed)
    bands = {"RGB": 3, "RGBA": 4, "LA": 2, "CMYK": 4}.get(mode, 1)
    values = random.integers(0, 256, (ROWS, COLUMNS, bands), np.uint8)
    if mode == "1":
        values = values // 128 * 255
        picture = Image.fromarray(values[:, :, 0]).convert("1")
        wanted = np.repeat(values, 3, 2)
    elif mode == "P":
        palette = random.integers(0, 256, (256, 3), np.uint8)
        picture = Image.fromarray(values[:, :, 0])
        picture.putpalette(palette.tobytes())
        wanted = palette[values[:, :, 0]]
    else:
        picture = Image.frombytes(mode, (COLUMNS, ROWS), values.tobytes())
        whole = values.astype(int)
        if mode == "CMYK":
            wanted = np.clip(255 - whole[:, :, :3] - whole[:, :, 3:], 0, 255)
            wanted = np.rint((255 - whole[:, :, :3]) * (255 - whole[:, :, 3:]) / 255)
        elif mode in ("RGBA", "LA"):
            colours = whole[:, :, :-1] if mode == "RGBA" else np.repeat(whole[:, :, :1], 3, 2)
            wanted = colours * whole[:, :, -1:] / 255  # on black
        else:
            wanted = np.repeat(whole, 3, 2) if mode == "L" else whole
    found = decode_picture("p", encoded(picture, "TIFF" if mode == "CMYK" else "PNG"), "RGB").transpose(1, 2, 0)
    assert np.abs(found - np.asarray(wanted, float)).max() <= 1


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_pixels_of_no_known_range_are_refused(mode: str) -> None:
    with pytest.raises(InputError, match=r"has pixels that are .*; convert it to 8 or 16 bits a channel"):
        decode_picture("p", encoded(Image.new(mode, (2, 2)), "TIFF"), "L")


def test_a_folder_of_16_bit_pictures_is_grey(tmp_path: Path) -> None:
    for name, value in (("a", 0), ("b", 257 * 40)):
        (tmp_path / name).mkdir()
        for place in range(2):
            Image.fromarray(np.full((2, 2), value, np.uint16)).save(tmp_path / name / f"{place}.png")
    images, labels = load_part(tmp_path, "all", "L")
    assert images.shape == (4, 1, 2, 2)
    assert images[:, 0, 0, 0].tolist() == (40 * labels).tolist()


def test_too_many_pixels_and_other_formats_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.new("L", (5, 5)), "PNG")
    monkeypatch.setattr(pictures, "MAX_PIXELS", 24)
    with pytest.raises(InputError, match="has 5 x 5 pixels, more than 24"):
        decode_picture("p", content, "L")
    with pytest.raises(InputError, match=r"p: is no readable picture .*; repair"):
        decode_picture("p", encoded(Image.new("RGB", (2, 2)), "EPS"), "L")


def test_a_picture_taken_on_its_side_is_turned() -> None:
    """Exif orientation 6: the first row of the picture is the last column of the file."""
    values = np.arange(ROWS * COLUMNS, dtype=np.uint8).reshape(ROWS, COLUMNS) * 9
    for orientation, turned in ((1, values), (3, values[::-1, ::-1]), (6, np.rot90(values, -1)), (8, np.rot90(values))):
        exif = Image.Exif()
        exif[0x0112] = orientation
        found = decode_picture("p", encoded(Image.fromarray(values), "PNG", exif=exif), "L")
        np.testing.assert_array_equal(found[0], turned)
        deep = decode_picture("p", encoded(Image.fromarray(values.astype(np.uint16) * 257), "PNG", exif=exif), "L")
        np.testing.assert_array_equal(deep[0], turned)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG"])
def test_a_file_of_several_pictures_is_refused(form: str) -> None:
    frames = [Image.new("L", (8, 8), grey) for grey in (10, 200)]
    assert decode_picture("p", encoded(frames[0], form), "L").shape == (1, 8, 8)
    with pytest.raises(InputError, match="p: holds several pictures"):
        decode_picture("p", encoded(frames[0], form, save_all=True, append_images=frames[1:]), "L")


def test_of_a_cameras_file_the_first_picture_is_taken() -> None:
    """Phones put a preview or a map of depth behind it (multi-picture objects, called .jpg)."""
    content = encoded(Image.new("L", (8, 8), 90), "MPO", save_all=True, append_images=[Image.new("L", (8, 8), 10)])
    assert np.unique(decode_picture("p", content, "L")).tolist() == [90]


def test_signed_8_bit_tiffs_are_refused() -> None:
    content = encoded(Image.new("L", (2, 2), 255), "TIFF", tiffinfo={339: 1})
    assert decode_picture("p", content, "L").max() == 255
    with pytest.raises(InputError, match="has pixels that are 32-bit integers or signed"):
        decode_picture("p", encoded(Image.new("L", (2, 2), 255), "TIFF", tiffinfo={339: 2}), "L")
