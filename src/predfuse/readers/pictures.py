"""Decoding picture files with Pillow into ``[C, H, W]`` uint8 arrays."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import IO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from predfuse.errors import InputError
from predfuse.readers.boundary import reading

Mode = Literal["L", "RGB"]
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"))
MAX_PIXELS = 2**26
"""Largest picture that is decoded: 67 million pixels, 200 MB as colour."""
GREY_MODES = frozenset(("1", "L", "LA", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"))
"""Pillow's modes without colour."""
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # no others: EPS, for one, starts Ghostscript
_MEND = "repair or remove it"
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_FORMAT, _SIGNED = 258, 262, 339, 2


def picture_mode(path: Path) -> str:
    """Pillow's mode of a picture, from its header.

    Raises:
        InputError: The file is missing or no picture.
    """
    with (
        reading(str(path), "is no readable picture", _MEND),
        path.open("rb") as file,
        _open(str(path), file) as picture,
    ):
        return picture.mode


def decode_picture(where: str, content: bytes, mode: Mode, size: int | None = None) -> npt.NDArray[np.uint8]:
    """Decode a picture to ``[1, H, W]`` (mode L) or ``[3, H, W]`` (mode RGB).

    Grey values of 16 bits are scaled by the range of their type, not cut off: 65535 becomes 255. A picture taken
    with the camera on its side is turned as its EXIF data say.

    Args:
        where: The file, for messages.
        content: The encoded bytes.
        mode: Greyscale or colour; transparent pixels are put on black.
        size: With a size, the largest centred square is cut out and resampled to ``size`` x ``size`` pixels.

    Raises:
        InputError: The bytes are no picture Pillow can read, are cut short, hold too many pixels or several pictures,
            or have pixels whose range nothing tells (floats, 32-bit integers, signed ones).
    """
    with reading(where, "is no readable picture", _MEND), _open(where, io.BytesIO(content)) as picture:
        if getattr(picture, "is_animated", False) and picture.format != "MPO":  # a camera's: the first is the picture
            raise InputError(where, "holds several pictures", "save each as a file of its own")
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)
        converted = _eight_bit(where, picture).convert(mode)
    if size is not None:
        side = min(converted.size)
        left, top = (converted.width - side) // 2, (converted.height - side) // 2
        box = (left, top, left + side, top + side)
        converted = converted.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
    pixels = np.asarray(converted, np.uint8)
    return np.ascontiguousarray(pixels[np.newaxis] if mode == "L" else pixels.transpose(2, 0, 1))


def _open(where: str, content: IO[bytes]) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about what is refused below or decoded all the same
        picture = Image.open(content, formats=_FORMATS)
    if picture.width * picture.height > MAX_PIXELS:
        what = f"has {picture.width:,} x {picture.height:,} pixels, more than {MAX_PIXELS:,}"
        raise InputError(where, what, "give a smaller picture")
    return picture


def _eight_bit(where: str, picture: Image.Image) -> Image.Image:
    """The picture in a mode of 8 bits a channel, without transparency."""
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PPM", "PNG")):
        return _from_16_bit(picture)
    signed = _SIGNED in getattr(picture, "tag_v2", {}).get(_TIFF_FORMAT, ())
    if signed or picture.mode in ("I", "F", "LAB"):
        kinds = {"F": "floats", "LAB": "in CIELAB"}
        what = f"has pixels that are {kinds.get(picture.mode, '32-bit integers or signed')}"
        raise InputError(where, what, "convert it to 8 or 16 bits a channel")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    return picture


def _from_16_bit(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.uint32)
    transparent = picture.info.get("transparency")
    tags = getattr(picture, "tag_v2", {})
    bits = tags.get(_TIFF_BITS, (16,))
    largest = 2 ** int(bits[0] if isinstance(bits, tuple) else bits) - 1
    scaled = (np.minimum(values, largest) * 255 + largest // 2) // largest
    if tags.get(_TIFF_PHOTOMETRIC) == 0:  # white is zero
        scaled = 255 - scaled
    if isinstance(transparent, int):
        scaled[values == transparent] = 0
    return Image.fromarray(scaled.astype(np.uint8))
