"""Colors of label maps, errors and heat; blending; panels."""

import tracemalloc

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dataset.cityscapes_dataset import CityscapesDataset
from dataset.image_files import read_image
from dataset.labels import CLASSES_19, LabelSpace
from inference.pictures import (
    ERROR_COLORS,
    attention_over,
    attention_picture,
    attention_scale,
    attention_title,
    color_map,
    confidence_picture,
    error_map,
    heat_map,
    legend,
    overlay,
    panel,
    panels,
    resized,
    swatches,
)
from model.SEAN import Output
from tools.demo import write_demo
from utils.device import with_precision

COLORS = ((128, 64, 128), (244, 35, 232), (70, 70, 70))


def picture(rng, height=32, width=64):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_color_map():
    classes = np.array([[0, 1, 2], [3, 254, 255]], np.uint8)
    painted = color_map(classes, COLORS)
    assert painted.dtype == np.uint8
    assert painted.tolist() == [list(map(list, COLORS)), [[0, 0, 0]] * 3]
    assert len(set(CLASSES_19.colors)) == 19


def test_error_map():
    classes = np.array([[0, 1, 2, 0, 255]], np.uint8)
    label = np.array([[0, 2, 2, 255, 255]], np.uint8)
    right, wrong, also_right, ignored, also_ignored = error_map(classes, label, 255)[0].tolist()
    assert right == also_right
    assert ignored == also_ignored == [0, 0, 0]
    colors = np.array([right, wrong, ignored, *CLASSES_19.colors])
    distances = np.linalg.norm(colors[:3, None] - colors, axis=-1)
    assert distances[distances > 0].min() > 60  # neither a class's nor one another's
    assert (distances == 0).sum() == 3
    other = error_map(classes, label, 2)[0].tolist()  # another ignore label
    assert other == [right, ignored, ignored, wrong, right]


@pytest.mark.parametrize("colors", ["inferno", "viridis"])
def test_heat_map_has_matplotlibs_colors(colors):
    values = np.linspace(0, 1, 4099, dtype=np.float32)[None]
    expected = (matplotlib.colormaps[colors](values)[..., :3] * 255).astype(np.uint8)
    np.testing.assert_array_equal(heat_map(values, (4099, 1), colors), expected)


def test_heat_map_is_interpolated_to_the_size():
    heat = heat_map(np.array([[0.0, 1.0]], np.float32), (64, 32), "gray")
    assert heat.shape == (32, 64, 3)
    assert heat.dtype == np.uint8
    row = heat[0, :, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert np.diff(row).max() < 20  # a ramp, not a step
    assert row[0] == 0
    assert row[-1] == 255


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_overlay_blends(rng, alpha):
    below, above = picture(rng), picture(rng)
    expected = (1 - alpha) * below.astype(float) + alpha * above
    assert np.abs(overlay(below, above, alpha) - expected).max() < 0.51


def space_of(colors):
    return LabelSpace(tuple(f"class {index}" for index in range(len(colors))), tuple(colors))


def inks(strip):
    """The colors of the areas of at least 8 x 4 pixels of one color, white left out."""
    windows = np.lib.stride_tricks.sliding_window_view(strip, (4, 8), (0, 1)).reshape(-1, 3, 32)
    flat = windows[(windows == windows[..., :1]).all((1, 2)), :, 0]
    return {tuple(color) for color in flat.tolist()} - {(255, 255, 255)}


@pytest.mark.parametrize(("colors", "width"), [(CLASSES_19.colors, 256), (COLORS, 384)])
def test_legend_under_panels(rng, colors, width):
    """Once under all rows; nothing is cut off at the right or below."""
    space = space_of(colors)
    titles = ("input", "prediction", "error", "attention 0.480 to 0.520")
    tiles = {title: picture(rng) for title in titles}
    one, two = panel([tiles], space, width), panel([tiles, tiles], space, width)
    height = len(two) - len(one)
    assert height == width // 2 + 38
    np.testing.assert_array_equal(two[:height], two[height : 2 * height])
    np.testing.assert_array_equal(two[height:], one)
    strip = one[height:]
    assert inks(strip) >= {*colors, *ERROR_COLORS.values()}
    scale = attention_scale(120)
    windows = np.lib.stride_tricks.sliding_window_view(strip, scale.shape)
    assert (windows[:, :, 0] == scale)[..., 1:-1, 1:, :].all((2, 3, 4)).any()
    assert (strip[-4:] == 255).all()
    assert (strip[:, -8:] == 255).all()
    assert len(strip) < 7 * 24
    plain = panel([{"input": tiles["input"], "prediction": tiles["prediction"]}], space, 384)
    assert len(inks(plain[230:])) == len(colors)  # neither errors nor attention


def test_a_panel_of_a_very_wide_or_high_image(rng):
    wide, high = (
        panel([{"input": picture(rng, *s)}], space_of(COLORS)) for s in [(2, 2000), (2000, 2)]
    )
    assert wide.shape[1] == high.shape[1] == 400
    assert len(high) - len(wide) == 4 * 384 - 1


def test_a_group_of_the_legend_has_a_heading():
    samples = swatches(ERROR_COLORS, ERROR_COLORS.values())
    plain, headed = legend(samples, 384), legend(samples, 384, "error map:")
    assert (headed[:, :8] == 255).all()
    shift = next(x for x in range(384) if (headed[:, 8 + x :] == plain[:, 8 : 384 - x]).all())
    assert (headed[:, 8 : 7 + shift] < 100).any()  # ink
    assert inks(legend(samples, 100, "error map:")) >= set(ERROR_COLORS.values())


@pytest.mark.parametrize("width", [64, 100, 256, 1024])
def test_scales_are_below_the_pictures(rng, width):
    """Their colors are those in the pictures: of attention, 60 % over gray."""
    image, values = picture(rng, width // 2, width), np.linspace(0, 1, width)[None]
    np.testing.assert_array_equal(
        attention_over(image, 0.3 * values), attention_over(image, values)
    )
    heat = np.repeat(values, width // 2, axis=0).astype(np.float32)
    for shown, expected, scale in (
        (attention_picture(image, values), attention_over(image, values), "inferno"),
        (confidence_picture(heat), heat_map(heat, (width, width // 2), "viridis"), "viridis"),
    ):
        np.testing.assert_array_equal(shown[: width // 2, :width], expected)
        assert (shown[: width // 2, width:] == 255).all()
        strip = shown[width // 2 :].astype(int)
        assert strip.min() < 60  # ink
        assert (strip[:, -8:] == 255).all(), "cut off"
        length = width // 3 + 1
        bar = strip[12, 9 : 9 + length - 2]  # within its frame
        colors = heat_map(np.linspace(0, 1, length)[None], (length, 1), scale)[0, 1:-1]
        gray = 0.4 if scale == "inferno" else 0
        assert np.abs(bar - (gray * 128 + (1 - gray) * colors)).max() <= 2


@pytest.mark.parametrize(
    ("low", "high", "title"),
    [
        (0.48, 0.52, "attention 0.480 to 0.520"),
        (0.0, 1.0, "attention 0.000 to 1.000"),
        (0.5, 0.5, "attention 0.500 everywhere"),
        (0.25, 0.25 + 1e-6, "attention 0.250 everywhere"),
    ],
)
def test_attention_spans_its_own_range_which_is_told(low, high, title):
    values = np.array([[low, high]], np.float32)
    assert attention_title(values) == title
    black = np.zeros((8, 16, 3), np.uint8)
    shares = [[0.5, 0.5]] if "everywhere" in title else [[0, 1]]
    expected = 0.6 * heat_map(np.array(shares), (16, 8), "inferno")
    assert np.abs(attention_over(black, values) - expected).max() < 2.6


def test_large_pictures_take_little_memory(rng):
    image, values = picture(rng, 1000, 1000), rng.random((1000, 1000), dtype=np.float32)
    tracemalloc.start()
    attention_over(image, values)
    confidence_picture(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak / values.size < 20  # bytes per pixel


def test_resizing_invents_no_colors_for_label_maps(rng):
    classes = rng.integers(0, 3, (40, 80), dtype=np.uint8)
    small = resized(color_map(classes, COLORS), (31, 17))
    assert small.shape == (17, 31, 3)
    assert {tuple(color) for color in small.reshape(-1, 3).tolist()} == set(COLORS)
    interpolated = Image.fromarray(resized(picture(rng), (31, 17)))
    assert interpolated.getcolors(256) is None


CAR = 13
WIDTH, HEIGHT, GAP, TITLE = 256, 128, 8, 30


class SeesCars(nn.Module):
    """A network that takes everything for cars, and attends to nothing."""

    def __init__(self, use_attention):
        super().__init__()
        self.use_attention = use_attention
        self.scores = nn.Parameter(torch.eye(19)[CAR])

    def forward(self, images):
        assert images.shape == (1, 3, 32, 64)
        logits = self.scores.view(1, 19, 1, 1).expand(1, 19, 4, 8)
        return Output(torch.zeros(1, 1, 4, 8), logits)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_demo(folder, "gta5", count_source=1, count_target=2, size=(WIDTH, HEIGHT))
    return folder / "Cityscapes"


def shown(root, labels, use_attention=True, precision="fp32"):
    dataset = CityscapesDataset(root, (64, 32), labels=labels)
    pictures = list(panels(with_precision(SeesCars(use_attention), precision), dataset))
    assert [name for name, _ in pictures] == dataset.names[:3]
    return dataset, pictures[0][1]


def test_a_panel_shows_input_prediction_truth_error_and_attention(root):
    dataset, picture = shown(root, "own size")
    name = dataset.names[0]
    lefts = range(GAP, picture.shape[1] - GAP, WIDTH + GAP)
    photograph, prediction, truth, error, attention = (
        picture[TITLE : TITLE + HEIGHT, left : left + WIDTH] for left in lefts
    )
    original = read_image(dataset.image_folder / name).astype(int)
    assert np.abs(photograph - original).mean() < 15  # it is blurred by the network's input size
    colors = dataset.label_space.colors
    assert (prediction == colors[CAR]).all()
    np.testing.assert_array_equal(truth, color_map(dataset.read_label(name), colors))
    right = (truth == colors[CAR]).all(-1)
    assert (error[right] == 235).all()
    below = picture[TITLE + HEIGHT + GAP :]
    assert set(map(tuple, truth.reshape(-1, 3))) <= set(map(tuple, below.reshape(-1, 3)))
    middle = np.array(matplotlib.colormaps["inferno"](0.5)[:3]) * 255 * 0.6  # it is 0 everywhere
    gray = photograph @ (0.4 * np.array([0.299, 0.587, 0.114]))
    assert np.abs(attention - (gray[..., None] + middle)).mean() < 2


@pytest.mark.parametrize(
    ("labels", "use_attention", "precision"),
    [("none", True, "bf16"), ("none", False, "fp32"), ("own size", False, "bf16")],
)
def test_what_there_is_not_is_left_out(root, labels, use_attention, precision):
    _, picture = shown(root, labels, use_attention, precision=precision)
    count = 2 + 2 * (labels != "none") + use_attention
    assert len(picture) > TITLE + HEIGHT + GAP  # a legend below
    assert picture.shape[1:] == (GAP + count * (WIDTH + GAP), 3)
