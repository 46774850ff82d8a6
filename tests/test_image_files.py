"""Every kind of image file that a data folder may hold, damaged ones, and resizing."""

import contextlib
import re

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dataset.image_files import read_image, read_label_ids, resize_image
from model.SEAN import network_input
from utils.errors import UserError

SIZE = (23, 31)  # height, width


def with_palette(ids, palette):
    image = Image.frombytes("P", ids.shape[::-1], ids.tobytes())
    image.putpalette(palette.tobytes())
    return image


@pytest.fixture
def rgb(rng):
    return rng.integers(0, 256, (*SIZE, 3), np.uint8)


@pytest.fixture
def ids(rng):
    return rng.integers(0, 35, SIZE, np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "MPO")])
def test_jpeg_is_read_as_rgb(tmp_path, mode, kind):
    """Also gray, of four inks, and of several pictures in one file, as phones write them."""
    flat = np.full((*SIZE, 3), (80, 80, 80) if mode == "L" else (200, 80, 30), np.uint8)
    picture = Image.fromarray(flat).convert(mode)
    more = {"save_all": True, "append_images": [picture]} if kind == "MPO" else {}
    picture.save(tmp_path / "a.jpg", kind, quality=95, **more)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (*SIZE, 3)
    assert np.abs(image.astype(int) - flat).max() <= 3


def test_images_are_read_exactly(tmp_path, rng, rgb, ids):
    """Gray ones and those with a palette become their colors."""
    for extension in ("png", "bmp", "tif", "webp"):
        more = {"lossless": True} if extension == "webp" else {}
        image = read_image(save(tmp_path / f"a.{extension}", rgb, **more))
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, rgb)
    image = read_image(save(tmp_path / "gray.png", rgb[..., 0]))
    np.testing.assert_array_equal(image, np.repeat(rgb[..., :1], 3, -1))
    palette = rng.integers(0, 256, (256, 3), np.uint8)
    with_palette(ids, palette).save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), palette[ids])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_16_bit_image_keeps_its_brightness(tmp_path, rng, channels, extension):
    values = rng.integers(0, 65536, (*SIZE, channels), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"a.{extension}"), values)
    image = read_image(tmp_path / f"a.{extension}")
    assert image.dtype == np.uint8
    assert np.abs(image - values[..., ::-1] / 257).max() <= 1  # by rounding or by the high byte


def test_raw_synthia_label_holds_the_class_in_its_first_channel(tmp_path, ids):
    instance, blue = ids.astype(np.uint16) * 300, np.full(SIZE, 7, np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), np.stack([blue, instance, ids.astype(np.uint16)], -1))
    np.testing.assert_array_equal(read_label_ids(tmp_path / "a.png"), ids)


@pytest.mark.parametrize("more", [{}, {"transparency": 1}])
@pytest.mark.parametrize("bits", [1, 4, 6, 8])
def test_palette_label_map_gives_ids_and_not_colors(tmp_path, rng, bits, more):
    ids = rng.integers(0, 2**bits, SIZE, np.uint8)
    palette = rng.integers(0, 256, (256, 3), np.uint8)
    with_palette(ids, palette).save(tmp_path / "a.png", bits=bits, **more)
    np.testing.assert_array_equal(read_label_ids(tmp_path / "a.png"), ids)


def written(folder, rgb, ids, kind):
    """A file of a kind, and what reads it."""
    path = folder / f"a.{kind if kind in ('jpg', 'bmp', 'tif', 'webp') else 'png'}"
    if kind == "palette":
        with_palette(ids, np.arange(768, dtype=np.uint8)).save(path)
    elif kind == "16 bits":
        cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 65536, (*SIZE, 3), np.uint16))
    else:
        alpha = np.concatenate([rgb, rgb[..., :1]], -1)
        save(path, {"label": ids, "alpha": alpha}.get(kind, rgb))
    return path, read_label_ids if kind in ("label", "palette", "16 bits") else read_image


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tif", "webp", "alpha", "label", "palette"])
def test_a_file_that_is_cut_short_is_not_read(tmp_path, rgb, ids, kind, share):
    path, read = written(tmp_path, rgb, ids, kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=re.escape(f"cannot read {path}: ")):
        read(path)


@pytest.mark.parametrize("kind", ["png", "alpha", "label", "palette", "16 bits"])
def test_no_flipped_bit_of_a_png_changes_a_pixel(tmp_path, rng, rgb, ids, kind, capfd):
    path, read = written(tmp_path, rgb, ids, kind)
    expected, content = read(path), path.read_bytes()
    for place in rng.choice(len(content), 60, replace=False):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with contextlib.suppress(UserError):  # a bit of the end mark changes no pixel
            np.testing.assert_array_equal(read(path), expected)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("read", "name", "values", "problem"),
    [
        (read_image, "a.tif", np.float32(0.5), "32-bit values; convert it to 8 bits"),
        (read_image, "a.tif", np.uint16(4095), "all below 16384; convert it to 8 bits"),
        (read_label_ids, "a.png", np.uint8((1, 2, 3)), "it holds colors"),
        (read_label_ids, "a.jpg", np.uint8(7), "it is JPEG; label maps are PNG files"),
    ],
)
def test_what_would_be_misread_is_refused(tmp_path, read, name, values, problem):
    """Photographs would be black, ids others."""
    save(tmp_path / name, np.full((*SIZE, *values.shape), values))
    with pytest.raises(UserError, match=rf"cannot read .*{name}: .*{problem}.*\n  "):
        read(tmp_path / name)


def by_pillow(image, size):
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("size", [(40, 24), (130, 90), (77, 53)])
@pytest.mark.parametrize("shape", [(53, 77), (1, 1)])
def test_images_are_resized_as_by_pillow(shape, size, exact, rng):
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    resized = resize_image(image, size, exact)
    assert (resized.dtype, resized.flags.c_contiguous) == (np.uint8, True)
    np.testing.assert_array_equal(resized.transpose(1, 2, 0), by_pillow(image, size))
    assert not np.shares_memory(resized, image)


@pytest.mark.parametrize("size", [(256, 128), (128, 64), (512, 64)])
def test_whole_scales_differ_from_pillow_by_one_level_in_places(size, rng):
    """Smooth with noise, as photographs are; parity allows 1 value in 10,000."""
    smooth = Image.fromarray(rng.integers(0, 256, (9, 17, 3), np.uint8)).resize((512, 256))
    image = np.clip(np.asarray(smooth) + rng.normal(0, 4, (256, 512, 3)), 0, 255).astype(np.uint8)
    fast = resize_image(image, size, exact=False).transpose(1, 2, 0)
    difference = fast.astype(int) - by_pillow(image, size)
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference) < difference.size / 10_000


def test_network_input_is_bgr_minus_the_mean(rng):
    images = rng.integers(0, 256, (2, 3, 5, 7), np.uint8)
    ours = network_input(torch.from_numpy(images)).numpy()
    assert ours.dtype == np.float32
    red, green, blue = images.astype(np.float64).transpose(1, 0, 2, 3)
    expected = (blue - 104.00698793, green - 116.66876762, red - 122.67891434)
    np.testing.assert_allclose(ours, np.stack(expected, 1), rtol=0, atol=2e-5)
