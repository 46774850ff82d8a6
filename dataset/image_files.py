"""Read photographs and label maps from image files.

kornia-rs decodes 8-bit PNGs two to four times as fast as Pillow, gives the ids of palette label
maps (GTA-5), and keeps the values of 16-bit RGB label maps (SYNTHIA), which Pillow halves to 8
bits. Pillow checks every file first and reads everything else.

Every function raises UserError if a file is missing, damaged, or not an image.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from kornia_rs.io import decode_image_png_u8, decode_image_png_u16
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from utils.errors import UserError

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")  # JPEG includes MPO, which phones write

# Pixels of a PNG: the two bytes at 24 are the bits of a value and one of these kinds.
GRAY, RGB, PALETTE, RGBA = 0, 2, 3, 6
KORNIA_NAMES = {GRAY: "mono", RGB: "rgb", RGBA: "rgba"}

warnings.filterwarnings("ignore", module=r"PIL\.")  # of EXIF and other data that is not used


def read_image(path: Path, upright: bool = False) -> NDArray[np.uint8]:
    """Read a photograph.

    Args:
        path: an image file; gray, palette, RGBA, CMYK and 16-bit images are converted to 8-bit RGB.
        upright: whether to rotate it as its EXIF orientation says. Published data sets are read
            without, since their label maps are not rotated either.

    Returns:
        uint8, (H, W, 3), RGB.
    """
    with _opened(path) as (data, picture):
        if picture.format == "PNG" and data[24:26] == bytes((8, RGB)) and not upright:
            return decode_image_png_u8(data, picture.size[::-1], "rgb")
        tiff_bits = getattr(picture, "tag_v2", {}).get(258, (8,))
        bits = data[24] if picture.format == "PNG" else max(tiff_bits)
        if bits > 16:
            raise ValueError(f"it has {bits}-bit values; convert it to 8 bits")
        if upright:
            ImageOps.exif_transpose(picture, in_place=True)
        if picture.mode.startswith("I;16"):
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        image = np.asarray(picture.convert("RGB"))  # the high byte of 16-bit colors
        if bits > 8 and image.max() < 64:  # a camera's 10 to 14 bits would be nearly black
            raise ValueError("its 16-bit values are all below 16384; convert it to 8 bits")
        return image


def read_label_ids(path: Path) -> NDArray[Any]:
    """Read a label map: 8-bit gray or palette, or 16-bit with the class in the first channel.

    Args:
        path: a PNG file; one that holds colors instead of ids is a UserError.

    Returns:
        Label ids, uint8 or uint16, (H, W).
    """
    with _opened(path) as (data, picture):
        if picture.format != "PNG":
            raise ValueError(f"it is {picture.format}; label maps are PNG files")
        bits, kind, shape = data[24], data[25], picture.size[::-1]
        if bits == 8 and kind in (GRAY, PALETTE):
            return decode_image_png_u8(data, shape, "mono")[..., 0]
        if bits == 16 and kind in KORNIA_NAMES:
            return decode_image_png_u16(data, shape, KORNIA_NAMES[kind])[..., 0]
        if picture.mode not in ("1", "L", "P"):
            raise ValueError("it holds colors; a label map has one channel, of ids")
        return np.asarray(picture).astype(np.uint8)


def image_shape(path: Path) -> tuple[int, int]:
    """Return the height and width of an image without decoding it."""
    with _opened(path) as (_, picture):
        return picture.height, picture.width


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[bytes, Image.Image]]:
    """Yield a file's bytes and its picture, not yet decoded; errors in the block name the file."""
    data = b""
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            picture.verify()  # the checksums of a PNG: its decoders make up what is missing
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            yield data, picture
    except Exception as error:  # decoders raise a dozen kinds for damaged files
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            known = f"it is not an image of the formats {', '.join(FORMATS)}"
            reason = known if data else "it is empty"
        raise UserError(
            f"cannot read {path}: {reason}\n  replace the file, or leave it out with a list file"
        ) from None
