"""Find image files below a folder or by a list; read photographs and label maps; resize them.

Pillow checks every file: a missing or damaged one is a UserError. kornia-rs decodes 8-bit PNGs two
to four times as fast, and keeps the values of 16-bit RGB label maps (SYNTHIA), which Pillow halves.
"""

import contextlib
import io
import os
import posixpath
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
from kornia_rs.io import decode_image_png_u8, decode_image_png_u16
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch.nn import functional as F

from utils.errors import UserError, counted

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
UNREAD_EXTENSIONS = (".heic", ".heif", ".avif", ".gif", ".jp2", ".exr", ".tga")
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")  # JPEG includes MPO, which phones write

# Pixels of a PNG: the two bytes at 24 are the bits of a value and one of these kinds.
GRAY, RGB, PALETTE, RGBA = 0, 2, 3, 6
KORNIA_NAMES = {GRAY: "mono", RGB: "rgb", RGBA: "rgba"}

warnings.filterwarnings("ignore", module=r"PIL\.")  # of EXIF and other data that is not used


def files_below(folder: Path) -> set[str]:
    """Return the files below a folder that are not hidden, as posix paths within it.

    Links are followed, except to a folder they lie in. A folder that is not there holds no files.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            what = f"cannot read the folder {error.filename}: {error.strerror}"
            raise UserError(f"{what}\n  make it readable")

    found: set[str] = set()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        here = Path(place)
        shown = [here / name for name in folders if not name.startswith((".", "@eaDir"))]
        folders[:] = [f.name for f in shown if not here.resolve().is_relative_to(f.resolve())]
        prefix = "" if here == folder else here.relative_to(folder).as_posix() + "/"
        found.update(prefix + name for name in files if not name.startswith("."))
    return found


def find_images(folder: Path, suffix: str, root: Path, list_file: str | Path | None) -> list[str]:
    """Return images as paths within a folder: those in a list file, in its order, or all, sorted.

    All are those whose names end in ``suffix`` and the extension. Entries of the list may also be
    absolute, or paths within the data folder ``root``.
    """
    found, start = files_below(folder), os.path.abspath(folder) + os.sep
    names: dict[str, None] = {}
    for entry in read_list(Path(list_file)) if list_file else ():
        within_root = os.path.abspath(os.path.join(root, entry)).removeprefix(start)
        name = entry if entry in found else within_root.replace(os.sep, "/")
        if name not in found or name in names:
            problem = "twice" if name in names else f"which is not in {folder}"
            raise UserError(f"{list_file} names {entry}, {problem}\n  correct the list")
        names[name] = None
    if names:
        return list(names)
    unread = [name for name in found if name.lower().endswith(UNREAD_EXTENSIONS)]
    if unread:
        count, first = counted(len(unread), "picture"), folder / min(unread)
        print(f"warning: {count} left out, such as {first}; convert to PNG", file=sys.stderr)
    endings = tuple((suffix + end).lower() for end in IMAGE_EXTENSIONS)
    return sorted(name for name in found if name.lower().endswith(endings))


def read_list(path: Path) -> list[str]:
    """Return the lines of a text file, or the training images that GTA-5's ``split.mat`` names."""
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".mat":
            numbers = scipy.io.loadmat(io.BytesIO(data))["trainIds"].ravel().astype(int)
            lines = [f"{number:05d}.png" for number in numbers.tolist()]
        else:  # PowerShell writes UTF-16
            is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
            lines = data.decode("utf-16" if is_utf16 else "utf-8-sig").splitlines()
    except Exception as error:  # scipy raises a dozen kinds
        reason = getattr(error, "strerror", "") or "it is neither a text file nor GTA-5's split.mat"
        raise UserError(f"cannot read the list file {path}: {reason}\n  correct it") from None
    names = [line.strip().replace("\\", "/") for line in lines if line.strip()]
    if not names:
        raise UserError(f"the list file {path} is empty\n  write one image per line into it")
    return [posixpath.normpath(name) for name in names]


def read_image(path: Path, upright: bool = False) -> NDArray[np.uint8]:
    """Read a photograph of any kind as RGB, (H, W, 3); ``upright`` turns it as its EXIF says."""
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
    """Read the label ids of a PNG file, uint8 or uint16, (H, W).

    It is 8-bit gray or palette, or 16-bit with the class in the first channel.
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


def is_label_map(path: Path) -> bool:
    """Return whether a file has 2 to 40 colors or ids, as hardly a photograph has."""
    with _opened(path) as (data, picture):
        if picture.format == "PNG" and data[24] == 16:  # of which Pillow keeps the high byte
            return 2 <= len(np.unique(read_label_ids(path))) <= 40
        is_deep = picture.mode.startswith("I;16")
        return not is_deep and len(picture.convert("RGB").getcolors(40) or ()) > 1


def image_shape(path: Path, upright: bool = False) -> tuple[int, int]:
    """Return the height and width of an image without decoding it; see `read_image`."""
    with _opened(path) as (_, picture):
        is_turned = upright and picture.getexif().get(ExifTags.Base.Orientation, 1) > 4
        return picture.size if is_turned else picture.size[::-1]


def resize_image(
    image: NDArray[np.uint8], size: tuple[int, int], exact: bool = True
) -> NDArray[np.uint8]:
    """Resize (H0, W0, 3) to (3, H, W) bicubically with antialiasing; size is W, H.

    ``exact`` uses Pillow, as the original does. Otherwise PyTorch, five times as fast, does it at
    whole scales, where it is one level off in 2 of 100,000 values; at others in 4 of 1,000.
    """
    height, width = image.shape[:2]
    if exact or (width, height) == size or width % size[0] or height % size[1]:
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        return np.ascontiguousarray(image.transpose(2, 0, 1))
    pixels = torch.tensor(image).permute(2, 0, 1)[None]  # (1, 3, H0, W0)
    resized = F.interpolate(pixels, size=size[::-1], mode="bicubic", antialias=True)
    return resized[0].contiguous().numpy()


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
            reason = f"it is no image of {', '.join(FORMATS)}" if data else "it is empty"
        raise UserError(f"cannot read {path}: {reason}\n  replace it, or leave it out") from None
