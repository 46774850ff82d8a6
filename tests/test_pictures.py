"""Colors of label maps, errors and heat; blending; panels with their legends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from dataset.cityscapes_dataset import CityscapesDataset
from dataset.labels import CLASSES_19, LabelSpace
from inference.pictures import (
    ERROR_COLORS,
    Picture,
    attention_over,
    attention_picture,
    color_map,
    confidence_picture,
    error_map,
    heat_map,
    legend,
    overlay,
    panel,
    panels,
    resized,
)
from inference.predict import Prediction
from model.SEAN import SEANet
from utils.device import with_precision

COLORS = ((128, 64, 128), (244, 35, 232), (70, 70, 70))
CAR = 13


def picture(rng: Any, height: int = 32, width: int = 64) -> Picture:
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def colors_in(picture: Picture) -> set[tuple[int, ...]]:
    return {tuple(color) for color in picture.reshape(-1, 3).tolist()}


def test_color_map() -> None:
    painted = color_map(np.array([[0, 1, 2], [3, 254, 255]], np.uint8), COLORS)
    assert painted.dtype == np.uint8
    assert painted.tolist() == [list(map(list, COLORS)), [[0, 0, 0]] * 3]


def test_error_map() -> None:
    classes = np.array([[0, 1, 2, 0, 255]], np.uint8)
    label = np.array([[0, 2, 2, 255, 255]], np.uint8)
    right, wrong, ignored = map(list, ERROR_COLORS.values())
    assert error_map(classes, label, 255)[0].tolist() == [right, wrong, right, ignored, ignored]
    assert error_map(classes, label, 2)[0].tolist() == [right, ignored, ignored, wrong, right]
    colors = np.array([right, wrong, ignored, *CLASSES_19.colors])
    distances = np.linalg.norm(colors[:3, None] - colors, axis=-1)
    assert distances[distances > 0].min() > 60  # neither a class's nor one another's


def test_heat_map_has_matplotlibs_colors_and_is_interpolated() -> None:
    values = np.linspace(0, 1, 4099, dtype=np.float32)[None]
    expected = (matplotlib.colormaps["inferno"](values)[..., :3] * 255).astype(np.uint8)
    np.testing.assert_array_equal(heat_map(values, (4099, 1), "inferno"), expected)
    row = heat_map(np.array([[0.0, 1.0]]), (64, 32), "gray")[0, :, 0].astype(int)
    assert (row[0], row[-1]) == (0, 255)
    assert 0 <= np.diff(row).min() <= np.diff(row).max() < 20  # a ramp, not a step


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_overlay_blends(rng: Any, alpha: float) -> None:
    below, above = picture(rng), picture(rng)
    expected = (1 - alpha) * below.astype(float) + alpha * above
    assert np.abs(overlay(below, above, alpha) - expected).max() < 0.51


@pytest.mark.parametrize("low", [0.0, 0.48])
def test_attention_spans_its_own_range(rng: Any, low: float) -> None:
    image, values = picture(rng), np.linspace(low, low + 0.1, 64, dtype=np.float32)[None]
    shown = attention_over(image, values)
    gray = image @ np.array([0.299, 0.587, 0.114])
    heat = heat_map(np.linspace(0, 1, 64)[None], (64, 32), "inferno")
    assert np.abs(shown - (0.4 * gray[..., None] + 0.6 * heat)).max() < 4


@pytest.mark.parametrize("width", [64, 640])
def test_scales_are_below_the_pictures(rng: Any, width: int) -> None:
    image, values = picture(rng, 20, width), np.linspace(0, 1, width)[None]
    logits = torch.stack([torch.zeros(20, width), 9 * torch.rand(20, width)])
    prediction = Prediction(logits, torch.from_numpy(values), (20, width))
    confidence = heat_map(prediction.confidence.numpy(), (width, 20), "viridis")
    for shown, expected in (
        (attention_picture(image, prediction), attention_over(image, values.astype(np.float32))),
        (confidence_picture(prediction), confidence),
    ):
        np.testing.assert_array_equal(shown[:20, :width], expected)
        assert shown[20:].min() < 60  # ink
        assert (shown[:, -3:] == 255).all() or width == 640


def test_resizing_invents_no_colors_for_label_maps(rng: Any) -> None:
    classes = rng.integers(0, 3, (40, 80), dtype=np.uint8)
    small = resized(color_map(classes, COLORS), (31, 17))
    assert small.shape == (17, 31, 3)
    assert colors_in(small) == set(COLORS)
    assert Image.fromarray(resized(picture(rng), (31, 17))).getcolors(256) is None


@pytest.mark.parametrize("count", [3, 19, 60])
def test_legend_shows_every_class(count: int) -> None:
    space = LabelSpace(
        tuple(f"{'long ' * (count == 60)}class {index}" for index in range(count)),
        tuple((4 * index, 255 - index, 7) for index in range(count)),
    )
    assert set(space.colors) <= colors_in(legend(space))
    assert legend(space, 1900).shape[1] <= 1920
    assert (legend(space)[:, :4] == 255).all()  # nothing is cut off


@pytest.mark.parametrize("size", [(2, 2000), (2000, 2), (30, 60)])
def test_tiles_keep_their_place_and_size(rng: Any, size: tuple[int, int]) -> None:
    space = LabelSpace(("a", "b", "c"), COLORS)
    classes = color_map(rng.integers(0, 3, size, dtype=np.uint8), COLORS)
    tiles = {"input": picture(rng, *size), "prediction": classes, "errors": classes}
    shown = panel([tiles], space, 128)
    height = max(1, round(128 * min(4, size[0] / size[1])))
    assert shown.shape[1] == 3 * 136 + 8
    top = next(y for y in range(99) if (shown[y : y + 1, 150:250] != 255).any(-1).all())
    np.testing.assert_array_equal(
        shown[top : top + height, 144:272], resized(classes, (128, height))
    )
    assert set(ERROR_COLORS.values()) <= colors_in(shown[top + height :])
    two = panel([tiles, tiles], space, 128)
    np.testing.assert_array_equal(two[len(two) - len(shown) :], shown)


@pytest.mark.parametrize(("labels", "attends"), [("own size", True), ("none", False)])
def test_panels_show_what_there_is(cityscapes: Path, labels: Any, attends: bool) -> None:
    dataset = CityscapesDataset(cityscapes, (64, 32), labels=labels)
    network = with_precision(SEANet(19, use_attention=attends, width=1 / 16), "bf16")
    shown = list(panels(network, dataset, 2))
    assert [name for name, _ in shown] == dataset.names[:2]
    assert shown[0][1].shape[1] == 264 * (2 + 2 * (labels != "none") + attends) + 8
