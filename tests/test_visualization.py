"""Colors of label maps, errors and heat; blending; panels."""

import numpy as np
import pytest
from PIL import ImageDraw

from dataset.labels import CLASSES_16, CLASSES_19
from utils.evaluation.pictures import (
    ERROR_COLORS,
    attention_over,
    attention_scale,
    color_map,
    confidence_scale,
    error_map,
    heat_map,
    overlay,
    panel,
    panels_with_legend,
    resized,
    tiles_of,
    with_color_bar,
)

COLORS = ((128, 64, 128), (244, 35, 232), (70, 70, 70))
INFERNO_ENDS = (0, 0, 3), (252, 254, 164)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def picture(rng, height=32, width=64):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_color_map():
    classes = np.array([[0, 1, 2], [3, 254, 255]], np.uint8)
    painted = color_map(classes, COLORS)
    assert painted.dtype == np.uint8
    assert painted.tolist() == [list(map(list, COLORS)), [[0, 0, 0]] * 3]


@pytest.mark.parametrize("space", [CLASSES_19, CLASSES_16])
def test_color_map_tells_every_class_apart(space):
    classes = np.arange(256, dtype=np.uint8)[None]
    painted = [tuple(color) for color in color_map(classes, space.colors)[0].tolist()]
    assert painted[: space.num_classes] == list(space.colors)
    assert len(set(painted)) == space.num_classes + 1


def test_error_map():
    classes = np.array([[0, 1, 2, 0, 255]], np.uint8)
    label = np.array([[0, 2, 2, 255, 255]], np.uint8)
    right, wrong, also_right, ignored, also_ignored = error_map(classes, label, 255)[0].tolist()
    assert right == also_right
    assert ignored == also_ignored == [0, 0, 0]
    assert min(right) > 200  # pale
    assert wrong[0] > 150 > 100 > max(wrong[1:])  # red


def test_error_map_honours_the_ignore_label():
    zeros = np.zeros((1, 2), np.uint8)
    label = np.array([[19, 0]], np.uint8)
    assert error_map(zeros, label, 19)[0, 0].tolist() == [0, 0, 0]
    assert error_map(zeros, label, 255)[0, 0].tolist() != [0, 0, 0]


def test_ends_of_the_heat_scale():
    values = np.array([[0.0, 1.0]], np.float32)
    low, high = heat_map(values, (2, 1), "inferno")[0].astype(int)
    assert np.abs(low - INFERNO_ENDS[0]).max() <= 1
    assert np.abs(high - INFERNO_ENDS[1]).max() <= 1


def test_heat_scale_is_the_same_for_all_images():
    narrow = heat_map(np.array([[0.4, 0.5]], np.float32), (2, 1), "inferno")
    wide = heat_map(np.array([[0.0, 0.5]], np.float32), (2, 1), "inferno")
    assert narrow[0, 1].tolist() == wide[0, 1].tolist()
    assert narrow[0, 0].tolist() != wide[0, 0].tolist()


def test_heat_map_is_interpolated_to_the_size():
    heat = heat_map(np.array([[0.0, 1.0]], np.float32), (64, 32), "gray")
    assert heat.shape == (32, 64, 3)
    assert heat.dtype == np.uint8
    row = heat[0, :, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert np.diff(row).max() < 20  # a ramp, not a step
    assert row[0] == 0
    assert row[-1] == 255


def test_overlay_at_the_ends(rng):
    below, above = picture(rng), picture(rng)
    np.testing.assert_array_equal(overlay(below, above, 0.0), below)
    np.testing.assert_array_equal(overlay(below, above, 1.0), above)


@pytest.mark.parametrize("alpha", [0.25, 0.6])
def test_overlay_blends(rng, alpha):
    below, above = picture(rng), picture(rng)
    expected = (1 - alpha) * below.astype(float) + alpha * above
    assert np.abs(overlay(below, above, alpha) - expected).max() < 1.01


@pytest.mark.parametrize(
    ("count", "width", "shape", "expected"),
    [
        (1, 100, (32, 64), (50 + 38, 116)),
        (2, 100, (32, 64), (50 + 38, 224)),
        (5, 384, (128, 256), (192 + 38, 1968)),
        (2, 60, (64, 32), (120 + 38, 144)),
    ],
)
def test_panel_size(rng, count, width, shape, expected):
    """Gaps of 8 pixels around and between the tiles, 30 above for the titles."""
    tiles = {f"title {index}": picture(rng, *shape) for index in range(count)}
    canvas = panel(tiles, width)
    assert canvas.shape == (*expected, 3)
    assert canvas.dtype == np.uint8


def test_panel_shows_tiles_in_order_under_their_titles():
    colors = [(200, 10, 10), (10, 200, 10), (10, 10, 200)]
    tiles = {f"x{c}": np.full((32, 64, 3), c, np.uint8) for c in colors}
    canvas = panel(tiles, 64)
    for index, color in enumerate(colors):
        left = 8 + index * 72
        tile = canvas[30:62, left : left + 64]
        assert (tile == color).all()
        assert (canvas[30:62, left - 8 : left] == 255).all()
        assert canvas[:30, left : left + 64].min() < 100  # the title's ink


def test_panel_invents_no_colors_for_label_maps(rng):
    classes = rng.integers(0, 3, (40, 80), dtype=np.uint8)
    canvas = panel({"prediction": color_map(classes, COLORS)}, 133)
    tile = canvas[30:-8, 8:-8].reshape(-1, 3)
    assert {tuple(color) for color in tile.tolist()} == set(COLORS)


def seen(rng, space, attention=True, labelled=True):
    """Tiles and maps of an image; the last class occurs in the label map alone, if at all."""
    classes = np.arange(32 * 64).reshape(32, 64) % (len(space) - 1)
    label = np.full((32, 64), len(space) - 1 if labelled else 255)
    label[:, :8] = 255
    heat = rng.random((4, 8)) if attention else None
    maps = classes.astype(np.uint8), label.astype(np.uint8)
    return tiles_of(picture(rng), *maps, heat, space, 255), maps


def inks(strip):
    """The colors of the areas of at least 8 x 4 pixels of one color, white left out."""
    windows = np.lib.stride_tricks.sliding_window_view(strip, (4, 8), (0, 1)).reshape(-1, 3, 32)
    flat = windows[(windows == windows[..., :1]).all((1, 2)), :, 0]
    return {tuple(color) for color in flat.tolist()} - {(255, 255, 255)}


@pytest.mark.parametrize("width", [256, 384])
@pytest.mark.parametrize("colors", [CLASSES_19.colors, COLORS], ids=["19", "3"])
def test_legend_under_panels(rng, colors, width):
    """Once under all rows; nothing is cut off at the right or below."""
    names = CLASSES_19.names[: len(colors)]
    tiles, maps = seen(rng, colors)
    row = panel(tiles, width)
    canvas = panels_with_legend([tiles, tiles], [*maps, *maps], names, colors, width)
    height = len(row)
    np.testing.assert_array_equal(canvas[:height], row)
    np.testing.assert_array_equal(canvas[height : 2 * height], row)
    strip = canvas[2 * height :]
    assert inks(strip) >= {*colors, *ERROR_COLORS.values()}
    scale = attention_scale((120, 14))
    windows = np.lib.stride_tricks.sliding_window_view(strip, scale.shape)
    assert (windows[:, :, 0] == scale)[..., 1:-1, 1:, :].all((2, 3, 4)).any()
    assert (strip[-4:] == 255).all()
    assert (strip[:, -8:] == 255).all()
    assert len(strip) < 4 * 24


def test_legend_names_what_there_is(rng, monkeypatch):
    """Classes that occur, in the order of their ids; errors and attention where they are shown."""
    texts = []
    draw = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda *a, **k: (texts.append(a[2]), draw(*a, **k))
    )
    for options, more in (
        ({}, ["c", "right", "wrong", "ignored", "attention, 0 to 1"]),
        ({"labelled": False}, ["attention, 0 to 1"]),
        ({"attention": False}, ["c", "right", "wrong", "ignored"]),
    ):
        tiles, maps = seen(rng, COLORS, **options)
        texts.clear()
        panels_with_legend([tiles], maps, ("a", "b", "c", "d"), (*COLORS, (1, 2, 3)))
        assert texts[len(tiles) :] == ["a", "b", *more]


def test_attention_over_a_picture_has_a_hue_of_its_own(rng):
    values = np.array([[0.0, 1.0]], np.float32)
    red, blue = (np.full((8, 16, 3), color, np.uint8) for color in ((200, 0, 0), (0, 0, 255)))
    gray = np.full((8, 16, 3), np.rint(0.299 * 200), np.uint8)
    expected = overlay(gray, heat_map(values, (16, 8), "inferno"), 0.6)
    over_red = attention_over(red, values).astype(int)
    assert np.abs(over_red - expected).max() <= 1
    hue = attention_over(blue, values).astype(int) - over_red
    assert np.ptp(hue, axis=2).max() <= 1  # they differ in gray alone


@pytest.mark.parametrize("width", [64, 256, 2048])
@pytest.mark.parametrize(
    ("scale", "colors", "gray"),
    [(confidence_scale, "viridis", 0), (attention_scale, "inferno", 0.4)],
)
def test_color_bar(rng, width, scale, colors, gray):
    """Its colors are those in the picture: of attention, 60 % over gray."""
    image = picture(rng, width // 2, width)
    with_bar = with_color_bar(image, scale, "heat")
    np.testing.assert_array_equal(with_bar[: width // 2], image)
    strip = with_bar[width // 2 :].astype(int)
    assert strip.shape[0] >= 22
    assert strip.min() < 60  # ink
    if width < 128:
        return
    row = strip[len(strip) // 2]
    runs = np.split(row, np.flatnonzero((row == 255).all(1)))
    bar = max(runs, key=len)[1:]  # after a white pixel
    heat = heat_map(np.linspace(0, 1, len(bar))[None], (len(bar), 1), colors)[0]
    assert len(bar) > width / 3
    assert np.abs(bar - (gray * 128 + (1 - gray) * heat)).max() <= 2


def test_resizing_invents_no_colors_for_label_maps(rng):
    classes = rng.integers(0, 3, (40, 80), dtype=np.uint8)
    small = resized(color_map(classes, COLORS), (31, 17))
    assert small.size == (31, 17)
    assert {color for _, color in small.getcolors()} == set(COLORS)
    assert resized(picture(rng), (31, 17)).getcolors(256) is None  # interpolated
