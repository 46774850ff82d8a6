"""Read photographs and label maps from image files, or say what is wrong with them.

8-bit PNGs are decoded by kornia-rs: three times faster than Pillow, and it gives the ids of palette
label maps, as GTA-5 publishes them. OpenCV decodes the other PNGs: it keeps the values of 16-bit
RGB label maps, which Pillow halves to 8 bits. Everything else is Pillow's.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from kornia_rs.io import decode_image_png_u8
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from utils.errors import UserError

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""What Pillow may read, whatever a file is called: its decoders of rare formats are less guarded.
JPEG takes in MPO, the kind that phones write."""

_PNG_CHANNELS = {"rgb": (2,), "mono": (0, 3)}  # PNG's color types: 2 RGB, 0 gray, 3 palette


def read_image(path: Path, upright: bool = False) -> NDArray[np.uint8]:
    """Read a photograph.

    Args:
        path: an image file; gray, palette, RGBA, CMYK and 16-bit images are converted to 8-bit RGB.
        upright: whether to turn it as its EXIF orientation says, which cameras write. Without, as
            for the data sets, it stays as its label map is.

    Returns:
        uint8, (H, W, 3), RGB.

    Raises:
        UserError: the file is missing, damaged, or not an image.
    """
    with _opened(path) as (data, picture):
        if picture.mode.startswith("I;16") and picture.format != "PNG":
            gray = (np.asarray(picture) >> 8).astype(np.uint8)
            return np.repeat(gray[..., None], 3, axis=2)
        if picture.format != "PNG":
            turned = ImageOps.exif_transpose(picture) if upright else picture
            return np.asarray(turned.convert("RGB"))
        if _is_8_bit(data, "rgb") and not upright:
            return _decode_8_bit_png(data, picture.size, "rgb")
        orientation = 0 if upright else cv2.IMREAD_IGNORE_ORIENTATION
        return _decode_png(data, cv2.IMREAD_COLOR_RGB | orientation)


def image_shape(path: Path) -> tuple[int, int]:
    """Height and width of a photograph, without decoding it.

    Raises:
        UserError: the file is missing, damaged, or not an image.
    """
    with _opened(path) as (_, picture):
        return picture.height, picture.width


def image_mode(path: Path) -> str:
    """Pillow's name of an image's mode, and a PNG's 16 bits, which it does not tell of colors.

    Raises:
        UserError: the file is missing, damaged, or not an image.
    """
    with _opened(path) as (data, picture):
        deep = picture.format == "PNG" and data[24] == 16
        return f"{picture.mode} of 16 bits" if deep else picture.mode


def read_label_ids(path: Path) -> NDArray[Any]:
    """Read a label map: 8-bit gray or palette, or 16-bit with the class in the first channel.

    Args:
        path: a PNG file.

    Returns:
        Label ids, uint8 or uint16, (H, W).

    Raises:
        UserError: the file is missing, damaged, or holds colors instead of ids.
    """
    with _opened(path) as (data, picture):
        if picture.format != "PNG":
            raise ValueError(f"it is {picture.format}; label maps are PNG files")
        if _is_8_bit(data, "mono"):
            return _decode_8_bit_png(data, picture.size, "mono")[..., 0]
        if picture.mode in ("P", "1"):
            return np.asarray(picture).astype(np.uint8)
        ids = _decode_png(data, cv2.IMREAD_UNCHANGED)
        if ids.ndim == 3 and ids.dtype == np.uint8:
            raise ValueError("it holds colors; a label map has one channel, of ids")
        return ids if ids.ndim == 2 else ids[..., 2]  # OpenCV's channel order is BGR


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[bytes, Image.Image]]:
    """A file's bytes and its picture, not yet decoded; any error from here on names the file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            yield data, picture
    except Exception as error:  # of a damaged file decoders raise a dozen kinds
        raise _unreadable(path, data, error) from None


def _is_8_bit(data: bytes, mode: str) -> bool:
    """Whether a PNG file holds 8 bits a channel, and colors (rgb) or one channel (mono)."""
    depth, color_type = data[24:26]
    return depth == 8 and color_type in _PNG_CHANNELS[mode]


def _decode_8_bit_png(data: bytes, size: tuple[int, int], mode: str) -> NDArray[np.uint8]:
    try:
        return decode_image_png_u8(data, size[::-1], mode)  # (H, W, 3 or 1)
    except Exception as error:  # it raises no narrower kind
        raise ValueError(f"it is damaged or cut short ({error})") from None


def _decode_png(data: bytes, flags: int) -> NDArray[Any]:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if decoded is None:
        raise ValueError("it is damaged or cut short")
    return decoded


def _unreadable(path: Path, data: bytes, error: Exception) -> UserError:
    reason = str(error) or type(error).__name__
    if not data:
        reason = "it is empty"
    elif isinstance(error, UnidentifiedImageError):
        reason = f"it is not an image of the formats {', '.join(FORMATS)}"
    return UserError(f"cannot read {path}: {reason}\n  replace the file, or leave it out")
