"""Pictures of what a network makes of a few images while it is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dataset.segmentation_dataset import SegmentationDataset
from dataset.transforms import network_input
from model.SEAN import SEANet
from utils.evaluation.pictures import Picture, panels_with_legend, tiles_of
from utils.evaluation.predict import class_map, scoring

TILE_WIDTH = 256


class Seen(NamedTuple):
    """An image and what the network makes of it.

    Attributes:
        name: of the image.
        tiles: title -> picture, RGB, uint8, (H, W, 3).
        maps: prediction and label map, train ids, uint8, (H, W).
    """

    name: str
    tiles: dict[str, Picture]
    maps: tuple[NDArray[np.uint8], NDArray[np.uint8]]


def panels(
    network: SEANet,
    dataset: SegmentationDataset,
    autocast: contextlib.AbstractContextManager[None] | torch.autocast,
    count: int = 3,
) -> Iterator[tuple[str, Picture]]:
    """Show the first images of a data set: input, prediction; truth, errors, attention if any.

    Args:
        network: returns attention and logits.
        dataset: read one image at a time.
        autocast: the precision to run the network in.
        count: images to show, if there are as many.

    Yields:
        An image's name, and its panel with a legend: RGB, uint8, (H, W, 3).
    """
    space = dataset.label_space
    for name, tiles, maps in look(network, dataset, autocast, count):
        yield name, panels_with_legend([tiles], maps, space.names, space.colors, TILE_WIDTH)


def look(
    network: SEANet,
    dataset: SegmentationDataset,
    autocast: contextlib.AbstractContextManager[None] | torch.autocast,
    count: int,
) -> Iterator[Seen]:
    """Predict the first images of a data set; arguments as of `panels`."""
    device = next(network.parameters()).device
    ignored = dataset.ignore_label
    for sample in map(dataset.__getitem__, range(min(count, len(dataset)))):
        height, width = (sample.image if sample.label is None else sample.label).shape[-2:]
        with scoring(network), autocast:
            attention, logits = network(network_input(sample.image[None].to(device)))
        classes = class_map(logits[0], (height, width)).cpu().numpy()
        label = np.full_like(classes, ignored) if sample.label is None else sample.label.numpy()
        image = Image.fromarray(sample.image.permute(1, 2, 0).numpy())
        tiles = tiles_of(
            np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)),
            classes,
            label,
            attention[0, 0].float().cpu().numpy() if network.use_attention else None,
            dataset.label_space.colors,
            ignored,
        )
        yield Seen(sample.name, tiles, (classes, label))
