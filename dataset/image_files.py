"""Read photographs and label maps from image files.

8-bit PNGs are decoded by kornia-rs: three times faster than Pillow, and it gives the ids of palette
label maps, as GTA-5 publishes them. OpenCV decodes the other PNGs: it keeps the values of 16-bit
RGB label maps, which Pillow halves to 8 bits. Pillow reads everything else.

Every function raises UserError if a file is missing, damaged, too large, or not an image.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from kornia_rs.io import decode_image_png_u8
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from utils.errors import UserError, printable
from utils.files import read_input

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

# What Pillow may read, whatever a file's name: its decoders of rare formats are less guarded. JPEG
# includes MPO, which phones write.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")

MOST_PIXELS, MOST_BYTES = 178_956_970, 1_200_000_000  # Pillow's limit, which 16-bit RGB fits
Image.MAX_IMAGE_PIXELS = None  # `_opened` checks, for every decoder
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors are ours to tell
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
        if picture.mode.startswith("I;16") and picture.format != "PNG":
            gray = (np.asarray(picture) >> 8).astype(np.uint8)
            return np.repeat(gray[..., None], 3, axis=2)
        if picture.format != "PNG":
            if upright:
                ImageOps.exif_transpose(picture, in_place=True)
            return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
        if data[24:26] == b"\x08\x02" and not upright:  # 8 bits, RGB
            return decode_image_png_u8(data, picture.size[::-1], "rgb")
        orientation = 0 if upright else cv2.IMREAD_IGNORE_ORIENTATION
        return _decode_png(data, picture, cv2.IMREAD_COLOR_RGB | orientation)


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
        if data[24:26] in (b"\x08\x00", b"\x08\x03"):  # 8 bits, gray or palette
            return decode_image_png_u8(data, picture.size[::-1], "mono")[..., 0]
        if picture.mode in ("P", "1"):
            return np.asarray(picture).astype(np.uint8)
        ids = _decode_png(data, picture, cv2.IMREAD_UNCHANGED)
        if ids.ndim == 3 and ids.dtype == np.uint8:
            raise ValueError("it holds colors; a label map has one channel, of ids")
        return ids if ids.ndim == 2 else ids[..., 2]  # OpenCV's channel order is BGR


def image_shape(path: Path) -> tuple[int, int]:
    """Return the height and width of an image without decoding it."""
    with _opened(path) as (_, picture):
        return picture.height, picture.width


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[bytes, Image.Image]]:
    """Yield a file's bytes and its picture, not yet decoded; errors in the block name the file."""
    data = b""
    try:
        data = read_input(path, MOST_BYTES)
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            pixels = picture.width * picture.height
            if pixels > MOST_PIXELS:
                size, most = pixels / 1e6, MOST_PIXELS / 1e6
                raise ValueError(f"it has {size:,.1f} megapixels; at most {most:,.1f} are read")
            yield data, picture
    except Exception as error:  # decoders raise a dozen kinds for damaged files
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            known = f"it is not an image of the formats {', '.join(FORMATS)}"
            reason = known if data else "it is empty"
        raise UserError(
            f"cannot read {printable(path)}: {reason}\n"
            "  replace the file, or leave it out with a list file"
        ) from None


def _decode_png(data: bytes, picture: Image.Image, flags: int) -> NDArray[Any]:
    picture.verify()  # the checksums: OpenCV would print its own message on a damaged file
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if decoded is None:
        raise ValueError("it is damaged or cut short")
    return decoded
