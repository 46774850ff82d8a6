"""What a network makes of a few images, as pictures."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dataset.cityscapes_dataset import CityscapesDataset
from dataset.demo import write_demo
from dataset.image_files import read_image
from dataset.segmentation_dataset import LabelUse
from utils.evaluation.panels import panels
from utils.evaluation.pictures import Picture, color_map

CAR = 13
WIDTH, HEIGHT, GAP, TITLE = 256, 128, 8, 30


class SeesCars(nn.Module):
    """A network that takes everything for cars, and attends to nothing."""

    def __init__(self, use_attention: bool) -> None:
        super().__init__()
        self.use_attention = use_attention
        self.scores = nn.Parameter(torch.eye(19)[CAR])

    def forward(self, images: Tensor) -> Any:
        assert images.shape == (1, 3, 32, 64)
        return torch.zeros(1, 1, 4, 8), self.scores.view(1, 19, 1, 1).expand(1, 19, 4, 8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_demo(folder, "gta5", count_source=1, count_target=2, size=(WIDTH, HEIGHT))
    return folder / "Cityscapes"


def shown(
    root: Path, labels: LabelUse, use_attention: bool = True, count: int = 1
) -> tuple[CityscapesDataset, list[tuple[str, Picture]]]:
    dataset = CityscapesDataset(root, (64, 32), labels=labels)
    network: Any = SeesCars(use_attention)
    return dataset, list(panels(network, dataset, contextlib.nullcontext(), count))


def tiles(picture: Picture) -> list[Picture]:
    lefts = range(GAP, picture.shape[1] - GAP, WIDTH + GAP)
    return [picture[TITLE : TITLE + HEIGHT, left : left + WIDTH] for left in lefts]


def test_a_panel_shows_input_prediction_truth_error_and_attention(root: Path) -> None:
    dataset, [(name, picture)] = shown(root, "own size")
    assert name == dataset.names[0]
    photograph, prediction, truth, error, attention = tiles(picture)
    original = read_image(dataset.image_folder / name).astype(int)
    assert np.abs(photograph - original).mean() < 15  # it is blurred by the network's input size
    colors = dataset.label_space.colors
    assert (prediction == colors[CAR]).all()
    np.testing.assert_array_equal(truth, color_map(dataset.read_label(name), colors))
    right = (truth == colors[CAR]).all(-1)
    assert (error[right] == 235).all()
    legend = picture[TITLE + HEIGHT + GAP :]
    assert set(map(tuple, truth.reshape(-1, 3))) <= set(map(tuple, legend.reshape(-1, 3)))
    assert attention.mean() < 0.5 * photograph.mean()  # 0 is the dark end of the scale


@pytest.mark.parametrize("use_attention", [True, False])
@pytest.mark.parametrize("labels", ["none", "own size"])
def test_what_there_is_not_is_left_out(root: Path, labels: Any, use_attention: bool) -> None:
    _, [(_, picture)] = shown(root, labels, use_attention)
    count = 2 + 2 * (labels != "none") + use_attention
    assert len(picture) > TITLE + HEIGHT + GAP  # a legend below
    assert picture.shape[1:] == (GAP + count * (WIDTH + GAP), 3)


def test_no_more_images_than_there_are(root: Path) -> None:
    dataset, pictures = shown(root, "own size", count=5)
    assert [name for name, _ in pictures] == dataset.names[:2]
