"""Pictures of what a network makes of a few images while it is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from dataset.segmentation_dataset import SegmentationDataset, network_input
from model.SEAN import SEANet
from utils.evaluate import class_map, scoring
from utils.visualization import Picture, panel, tiles_of


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
        An image's name, and its panel: RGB, uint8, (H, W, 3).
    """
    device = next(network.parameters()).device
    ignored = dataset.ignore_label
    for sample in map(dataset.__getitem__, range(min(count, len(dataset)))):
        height, width = (sample.image if sample.label is None else sample.label).shape[-2:]
        with scoring(network), autocast:
            attention, logits = network(network_input(sample.image[None].to(device)))
        classes = class_map(logits[0], (height, width)).cpu().numpy().astype(np.uint8)
        image = Image.fromarray(sample.image.permute(1, 2, 0).numpy())
        tiles = tiles_of(
            np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)),
            classes,
            np.full_like(classes, ignored) if sample.label is None else sample.label.numpy(),
            attention[0, 0].float().cpu().numpy() if network.use_attention else None,
            dataset.label_space.colours,
            ignored,
        )
        yield sample.name, panel(tiles, width=256)
