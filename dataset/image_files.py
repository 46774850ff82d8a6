"""Read photographs and label maps from image files.

PNGs of 8 bits, and label maps of 16, are decoded by kornia-rs: three times faster than Pillow, it
gives the ids of palette label maps, as GTA-5 publishes them, and it keeps the values of 16-bit RGB
label maps, as SYNTHIA's, which Pillow halves to 8 bits. Pillow reads everything else.

Every function raises UserError if a file is missing, damaged, too large, or not an image.
"""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from kornia_rs.io import decode_image_png_u8, decode_image_png_u16
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from utils.errors import UserError
from utils.files import read_input

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

# What Pillow may read, whatever a file's name: its decoders of rare formats are less guarded. JPEG
# includes MPO, which phones write.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")

# Types of pixels of a PNG -> number of channels, and what kornia-rs calls those of 16-bit ids.
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
MODES = {GRAY: "mono", RGB: "rgb", RGBA: "rgba"}

# Of each pass of an interlaced PNG: first column, first row, steps to the next ones.
ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip

MOST_PIXELS, MOST_BYTES = 178_956_970, 1_200_000_000  # Pillow's limit, which 16-bit RGB fits
Image.MAX_IMAGE_PIXELS = None  # `_opened` checks, for every decoder
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
        if picture.format == "PNG":
            if data[24:26] == b"\x08\x02" and not upright:  # 8 bits, RGB
                return decode_image_png_u8(data, picture.size[::-1], "rgb")
            _check_png(data, picture.size)
        if upright:
            ImageOps.exif_transpose(picture, in_place=True)
        if picture.mode.startswith("I;16"):
            gray = (np.asarray(picture) >> 8).astype(np.uint8)
            return np.repeat(gray[..., None], 3, axis=2)
        return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


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
        if bits == 16 and kind in MODES:
            return decode_image_png_u16(data, shape, MODES[kind])[..., 0]
        if picture.mode not in ("1", "L", "P"):
            raise ValueError("it holds colors; a label map has one channel, of ids")
        _check_png(data, picture.size)
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
            f"cannot read {path}: {reason}\n  replace the file, or leave it out with a list file"
        ) from None


def _check_png(data: bytes, size: tuple[int, int]) -> None:
    """Check the checksums and the number of rows of a PNG: Pillow makes up what is missing."""
    place, compressed = 8, []
    while place < len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 8 + length
        if zlib.crc32(data[place + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise ValueError("it is damaged: a checksum is wrong")
        if name == b"IDAT":
            compressed.append(data[place + 8 : end])
        place = end + 4 if name != b"IEND" else len(data)
    needed, bits = 0, data[24] * CHANNELS[data[25]]
    for left, top, right, down in ADAM7 if data[28] else ((0, 0, 1, 1),):
        columns, rows = len(range(left, size[0], right)), len(range(top, size[1], down))
        needed += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    if len(zlib.decompressobj().decompress(b"".join(compressed), needed)) < needed:
        raise ValueError("it is damaged or cut short: rows are missing")
