"""Colors of label maps, errors and heat; blending; what panels and legends show."""

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
from inference import pictures
from inference.pictures import ERROR_COLORS, Picture
from inference.predict import Prediction
from model.SEAN import SEANet
from utils.device import with_precision

COLORS = ((128, 64, 128), (244, 35, 232), (70, 70, 70))


def picture(rng: Any, height: int = 32, width: int = 64) -> Picture:
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def colors_in(picture: Picture) -> set[tuple[int, ...]]:
    return {tuple(color) for color in picture.reshape(-1, 3).tolist()}


def test_color_map() -> None:
    painted = pictures.color_map(np.array([[0, 1, 2], [3, 254, 255]], np.uint8), COLORS)
    assert painted.dtype == np.uint8
    assert painted.tolist() == [list(map(list, COLORS)), [[0, 0, 0]] * 3]


def test_error_map() -> None:
    classes = np.array([[0, 1, 2, 0, 255]], np.uint8)
    label = np.array([[0, 2, 2, 255, 255]], np.uint8)
    right, wrong, ignored = map(list, ERROR_COLORS.values())
    shown = [pictures.error_map(classes, label, ignore)[0].tolist() for ignore in (255, 2)]
    assert shown[0] == [right, wrong, right, ignored, ignored]
    assert shown[1] == [right, ignored, ignored, wrong, right]
    colors = np.array([right, wrong, ignored, *CLASSES_19.colors])
    distances = np.linalg.norm(colors[:3, None] - colors, axis=-1)
    assert distances[distances > 0].min() > 60  # neither a class's nor one another's


def test_heat_map_has_matplotlibs_colors_and_is_interpolated() -> None:
    values = np.linspace(0, 1, 4099, dtype=np.float32)[None]
    expected = (matplotlib.colormaps["inferno"](values)[..., :3] * 255).astype(np.uint8)
    np.testing.assert_array_equal(pictures.heat_map(values, (4099, 1), "inferno"), expected)
    row = pictures.heat_map(np.array([[0.0, 1.0]]), (64, 32), "gray")[0, :, 0].astype(int)
    assert (row[0], row[-1]) == (0, 255)
    assert 0 <= np.diff(row).min() <= np.diff(row).max() < 20  # a ramp, not a step


@pytest.mark.parametrize("low", [0.0, 0.48])
def test_attention_spans_its_own_range_over_gray(rng: Any, low: float) -> None:
    image, values = picture(rng), np.linspace(low, low + 0.1, 64, dtype=np.float32)[None]
    gray = image @ np.array([0.299, 0.587, 0.114])
    heat = pictures.heat_map(np.linspace(0, 1, 64)[None], (64, 32), "inferno")
    expected = 0.4 * gray[..., None] + 0.6 * heat
    assert np.abs(pictures.attention_over(image, values) - expected).max() < 4
    prediction = Prediction(torch.zeros(2, 1, 64), torch.from_numpy(values), (32, 64))
    with_scale = pictures.attention_picture(image, prediction)
    assert np.abs(with_scale[:32, :64] - expected).max() < 4


def test_resizing_invents_no_colors_for_label_maps(rng: Any) -> None:
    classes = rng.integers(0, 3, (40, 80), dtype=np.uint8)
    small = pictures.resized(pictures.color_map(classes, COLORS), (31, 17))
    assert small.shape == (17, 31, 3)
    assert colors_in(small) == set(COLORS)
    assert Image.fromarray(pictures.resized(picture(rng), (31, 17))).getcolors(256) is None


@pytest.mark.parametrize("size", [(2, 2000), (2000, 2), (30, 60)])
def test_panels_and_legends_show_every_color(rng: Any, size: tuple[int, int]) -> None:
    names = tuple(f"long class {index}" for index in range(40))
    space = LabelSpace(names, tuple((4 * index, 255 - index, 7) for index in range(40)))
    tiles = dict.fromkeys(("input", "prediction", "errors"), picture(rng, *size))
    for shown in (pictures.legend(space), pictures.panel(tiles, space, 128)):
        assert set(space.colors) <= colors_in(shown)
        assert (shown[:, :2] == 255).all()  # nothing is cut off
    assert set(ERROR_COLORS.values()) <= colors_in(shown)


@pytest.mark.parametrize(("labels", "attends"), [("own size", True), ("none", False)])
def test_panels_show_what_there_is(cityscapes: Path, labels: Any, attends: bool) -> None:
    dataset = CityscapesDataset(cityscapes, (64, 32), labels=labels)
    network = with_precision(SEANet(19, use_attention=attends, width=1 / 16), "bf16")
    shown = list(pictures.panels(network, dataset, 2))
    assert [name for name, _ in shown] == dataset.names[:2]
    tiles = 2 + 2 * (labels != "none") + attends
    assert shown[0][1].shape[1] == pytest.approx(260 * tiles + 20, abs=20)
