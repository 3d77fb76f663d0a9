"""Decoding picture files with Pillow into ``[C, H, W]`` uint8 arrays."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from predfuse.data.dataset import Images
from predfuse.errors import InputError

Mode = Literal["L", "RGB"]


def decode_picture(where: str, content: bytes, mode: Mode, size: int | None = None) -> Images:
    """Decode a picture to ``[1, H, W]`` (mode L) or ``[3, H, W]`` (mode RGB).

    Args:
        where: The file, for messages.
        content: The encoded bytes.
        mode: Greyscale or colour; transparent pixels are put on black.
        size: With a size, the largest centred square is cut out and resampled to ``size`` x ``size`` pixels.

    Raises:
        InputError: The bytes are no picture Pillow can read, or are cut short.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            opaque: Image.Image = picture
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                layer = picture.convert("RGBA")
                opaque = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
            converted = opaque.convert(mode)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(where, "is no readable picture", "repair or remove it") from error
    if size is not None:
        side = min(converted.size)
        left, top = (converted.width - side) // 2, (converted.height - side) // 2
        box = (left, top, left + side, top + side)
        converted = converted.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
    pixels = np.asarray(converted, np.uint8)
    return np.ascontiguousarray(pixels[np.newaxis] if mode == "L" else pixels.transpose(2, 0, 1))
