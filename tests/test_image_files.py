"""Every kind of image file that a data folder may hold, and the ones that cannot be read."""

import itertools
import os
import re
import struct
import subprocess
import sys
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from dataset import image_files
from dataset.image_files import image_shape, read_image, read_label_ids
from tests.runs import ROOT, make_special
from utils.errors import UserError

SIZE = (23, 31)  # height, width


@pytest.fixture
def rgb(rng):
    return rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture
def ids(rng):
    return rng.integers(0, 35, SIZE, dtype=np.uint8)


def with_palette(ids, palette):
    image = Image.fromarray(ids).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(palette.tobytes())
    return image


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize("extension", ["png", "bmp", "tif", "webp"])
def test_rgb_is_read_exactly(tmp_path, rgb, extension):
    options = {"lossless": True} if extension == "webp" else {}
    image = read_image(save(tmp_path / f"a.{extension}", rgb, **options))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, rgb)


@pytest.mark.parametrize("kind", ["alpha", "transparent color", "gamma"])
def test_other_chunks_of_a_png_change_no_value(tmp_path, rgb, kind):
    gamma = PngInfo()
    gamma.add(b"gAMA", (100_000).to_bytes(4, "big"))
    color = tuple(rgb[0, 0].tolist())
    options = {"transparent color": {"transparency": color}, "gamma": {"pnginfo": gamma}}
    pixels = np.concatenate([rgb, rgb[..., :1]], -1) if kind == "alpha" else rgb
    image = read_image(save(tmp_path / "a.png", pixels, **options.get(kind, {})))
    np.testing.assert_array_equal(image, rgb)


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "JPEG"), ("CMYK", "JPEG"), ("RGB", "MPO")])
def test_jpeg_is_read_as_rgb(tmp_path, mode, kind):
    """Also of four inks, and of several pictures in one file, as phones write them."""
    flat = np.full((*SIZE, 3), (200, 80, 30), np.uint8)
    picture = Image.fromarray(flat).convert(mode)
    more = {"save_all": True, "append_images": [picture]} if kind == "MPO" else {}
    picture.save(tmp_path / "a.jpg", kind, quality=95, **more)
    with Image.open(tmp_path / "a.jpg") as saved:
        assert (saved.mode, saved.format) == (mode, kind)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (*SIZE, 3)
    assert np.abs(image.astype(int) - flat).max() <= 3


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_gray_image_becomes_three_equal_channels(tmp_path, rgb, extension):
    path = save(tmp_path / f"a.{extension}", rgb[..., 0], quality=100)
    image = read_image(path)
    assert image.shape == (*SIZE, 3)
    assert np.ptp(image, axis=-1).max() == 0
    assert np.abs(image[..., 0].astype(int) - rgb[..., 0]).max() <= (extension == "jpg")


def test_palette_image_becomes_its_colors(tmp_path, rng, ids):
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    with_palette(ids, palette).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), palette[ids])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_16_bit_image_keeps_its_brightness(tmp_path, rng, channels, extension):
    values = rng.integers(0, 65536, (*SIZE, channels), dtype=np.uint16)
    path = tmp_path / f"a.{extension}"
    cv2.imwrite(str(path), values)
    image = read_image(path)
    assert image.dtype == np.uint8
    assert np.abs(image - values[..., ::-1] / 257).max() <= 1  # by rounding or by the high byte


def test_raw_synthia_label_holds_the_class_in_its_first_channel(tmp_path, ids):
    instance, blue = ids.astype(np.uint16) * 300, np.full(SIZE, 7, np.uint16)
    bgr = np.stack([blue, instance, ids.astype(np.uint16)], -1)
    cv2.imwrite(str(tmp_path / "a.png"), bgr)
    np.testing.assert_array_equal(read_label_ids(tmp_path / "a.png"), ids)


@pytest.mark.parametrize(("kind", "reason"), [("PNG", "colors"), ("JPEG", "PNG files")])
def test_label_map_of_colors_or_with_losses_is_refused(tmp_path, rgb, ids, kind, reason):
    path = save(tmp_path / "label.png", rgb if kind == "PNG" else ids, format=kind)
    with pytest.raises(UserError, match=rf"{re.escape(str(path))}: .*{reason}.*\n  "):
        read_label_ids(path)


@pytest.mark.parametrize("read", [read_image, read_label_ids])
@pytest.mark.parametrize("content", [None, b"", b"hello\n", b"\x89PNG\r\n\x1a\n", bytes(1000)])
def test_what_is_no_image_is_named(tmp_path, read, content):
    path = tmp_path / "0001.png"
    if content is not None:
        path.write_bytes(content)
    for bad in (path, tmp_path):
        with pytest.raises(UserError, match=rf"cannot read {re.escape(str(bad))}: .*\n  "):
            read(bad)


@pytest.mark.parametrize("read", [read_image, read_label_ids, image_shape])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_refused_at_once(tmp_path, read, kind):
    path = tmp_path / "a\n\033[2J.png"
    make_special(path, kind)
    with pytest.raises(UserError) as caught:
        read(path)
    start = rf"cannot read {tmp_path}/a\n\x1b[2J.png: "
    assert str(caught.value).startswith(start)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("width", [20_000, 60_000])  # Pillow itself warns, or raises its own error
@pytest.mark.parametrize("read", [read_image, read_label_ids, image_shape])
def test_too_many_pixels_are_refused(tmp_path, monkeypatch, ids, read, width):
    path = save(tmp_path / "a.png", ids)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", width, 9000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "large.png").write_bytes(content)
    message = rf"large\.png: it has {width * 0.009:.1f} megapixels; at most 179\.0 are read\n  "
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match=message):
            read(tmp_path / "large.png")
    monkeypatch.setattr(image_files, "MOST_PIXELS", ids.size)
    read(path)
    monkeypatch.setattr(image_files, "MOST_PIXELS", ids.size - 1)
    with pytest.raises(UserError, match="megapixels"):
        read(path)


DAMAGED = """
import sys
from pathlib import Path
from dataset.image_files import read_image
from utils.errors import UserError
read_image(Path("exif.jpg"), upright=True)
try:
    read_image(Path("alpha.png"))
except UserError as error:
    print(error)
"""


def test_decoders_print_nothing_of_their_own(tmp_path, rgb):
    """Neither warnings about data that is not used, nor what the message says already."""
    cut_short = b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x10\0\0\xff\xff"
    save(tmp_path / "exif.jpg", rgb, exif=cut_short)
    save(tmp_path / "alpha.png", np.concatenate([rgb, rgb[..., :1]], -1))
    damaged = bytearray((tmp_path / "alpha.png").read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / "alpha.png").write_bytes(damaged)
    command = [sys.executable, "-c", DAMAGED]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    assert result.stdout.startswith("cannot read alpha.png: ")


def write_png(path, array, passes, rows=0):
    """Write a PNG with each pass's rows as they are, but for the last ``rows``."""
    height, width = array.shape[:2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[array[0, 0].size]
    header = struct.pack(">IIBBBBB", width, height, 8 * array.itemsize, kind, 0, 0, len(passes) > 1)
    array = array.astype(array.dtype.newbyteorder(">"))
    lines = [
        b"\0" + array[y, left::right].tobytes()
        for left, top, right, down in passes if left < width
        for y in range(top, height, down)
    ]  # fmt: skip
    content = zlib.compress(b"".join(lines[: len(lines) - rows]))
    data = b"\x89PNG\r\n\x1a\n"
    for name, chunk in ((b"IHDR", header), (b"IDAT", content), (b"IEND", b"")):
        checksum = zlib.crc32(name + chunk)
        data += struct.pack(">I", len(chunk)) + name + chunk + struct.pack(">I", checksum)
    path.write_bytes(data)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("passes", [((0, 0, 1, 1),), image_files.ADAM7])
@pytest.mark.parametrize("size", [SIZE, (3, 1)])
def test_a_png_without_all_rows_is_not_read(tmp_path, rng, capfd, dtype, channels, passes, size):
    """Its checksums are right: Pillow would make up the rows, OpenCV print its own message."""
    shape = (*size, channels) if channels > 1 else size
    pixels = rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype)
    write_png(path := tmp_path / "a.png", pixels, passes)
    colors = pixels.reshape(*size, channels)[..., : 3 if channels > 2 else 1]
    expected = np.broadcast_to(colors >> (8 if dtype == np.uint16 else 0), (*size, 3))
    np.testing.assert_array_equal(read_image(path), expected)
    readers = [read_image, lambda path: read_image(path, upright=True)]
    if channels == 1 or (dtype == np.uint16 and channels != 2):
        label = read_label_ids(path)
        assert label.dtype == dtype
        np.testing.assert_array_equal(label, colors[..., 0])
        readers.append(read_label_ids)
    write_png(path, pixels, passes, rows=1)
    for read in readers:
        with pytest.raises(UserError, match=re.escape(f"cannot read {path}: ")):
            read(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("format", ["GIF", "AVIF"])
def test_other_formats_are_refused_whatever_their_name(tmp_path, rgb, format):
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    path = save(tmp_path / "0001.png", rgb, format=format)
    with pytest.raises(UserError, match=re.escape(f"cannot read {path}: it is not an image of")):
        read_image(path)


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        *itertools.product(("png", "jpg", "label", "palette"), (0.02, 0.1, 0.5, 0.9, 0.98)),
        *(("png", "a flipped byte"), ("label", "a flipped byte")),
    ],
)
def test_damaged_file_is_not_read(tmp_path, rgb, ids, kind, share):
    path = tmp_path / ("a.jpg" if kind == "jpg" else "a.png")
    if kind == "palette":
        with_palette(ids, np.arange(768, dtype=np.uint8)).save(path)
    else:
        save(path, ids if kind == "label" else rgb)
    content = bytearray(path.read_bytes())
    read = read_label_ids if kind in ("label", "palette") else read_image
    read(path)
    if share == "a flipped byte":
        content[len(content) // 2] ^= 0xFF
    else:
        del content[int(len(content) * share) :]
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f"cannot read {path}")):
        read(path)


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("bits", [1, 4, 6, 8])
def test_palette_label_map_gives_ids_and_not_colors(tmp_path, rng, bits, transparent):
    ids = rng.integers(0, 2**bits, SIZE, dtype=np.uint8)
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    options = {"transparency": 1} if transparent else {}
    with_palette(ids, palette).save(tmp_path / "a.png", bits=bits, **options)
    np.testing.assert_array_equal(read_label_ids(tmp_path / "a.png"), ids)
