"""Network and images -> predictions, to score, to write and to show."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dataset.image_files import image_shape, resize_image
from dataset.loaders import Batch, make_loader, sequential_batches
from dataset.segmentation_dataset import SegmentationDataset
from inference.metrics import confusion_matrix
from model.SEAN import network_input
from utils.errors import UserError


@dataclass(frozen=True)
class Prediction:
    """What a network predicts for one image. The tensors stay on its device."""

    logits: Tensor  # (C, h, w)
    attention: Tensor | None  # (h, w), 0..1; None for a network without attention
    size: Sequence[int]  # height and width of the maps below

    @functools.cached_property
    def classes(self) -> Tensor:
        """The class of each pixel: train ids, uint8, (H, W)."""
        planes = self._upsampled()
        best = next(planes)
        classes = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
        for index, scores in enumerate(planes, 1):
            classes.masked_fill_(scores > best, index)
            torch.maximum(best, scores, out=best)
        return classes

    @property
    def confidence(self) -> Tensor:
        """The probability of each pixel's class: float32, (H, W), 1/C..1."""
        best = functools.reduce(torch.maximum, self._upsampled())
        odds = torch.zeros_like(best)  # of all classes to the best
        for scores in self._upsampled():
            odds += scores.sub_(best).exp_()
        return odds.reciprocal_()

    def _upsampled(self) -> Iterator[Tensor]:
        """Yield each class's logits, (H, W): all 19 of a 48-megapixel photograph take gigabytes."""
        for plane in self.logits.detach().float():
            yield F.interpolate(plane[None, None], tuple(self.size), mode="bilinear")[0, 0]


def predict(network: nn.Module, images: Tensor, sizes: Sequence[Sequence[int]]) -> list[Prediction]:
    """Run a SEANet, or a wrapper of one, on its input, (B, 3, H, W); its mode is restored."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.inference_mode():
            attention, logits = network(images)
    finally:
        for module in training:
            module.training = True
    attends = any(getattr(module, "use_attention", False) for module in network.modules())
    maps = attention[:, 0] if attends else [None] * len(logits)
    return [Prediction(*parts) for parts in zip(logits, maps, sizes, strict=True)]


def predict_dataset(
    networks: Sequence[nn.Module], dataset: SegmentationDataset, batch_size: int,
    num_workers: int | None,
) -> Iterator[tuple[str, Tensor, tuple[Prediction, ...]]]:  # fmt: skip
    """Predict the images of a data set with each network, at the size of their label maps.

    Yields each image's name, label map (int64, (H, W), on the networks' device; the ignore label
    at the image's size if it has none) and predictions. UserError if one is not finite.
    """
    device = next(networks[0].parameters()).device
    order = sequential_batches(len(dataset), batch_size)
    for batch in make_loader(dataset, order, num_workers, device.type):
        images, labels = on_device(batch, device)
        for name in batch.names if dataset.labels == "none" else ():
            shape = image_shape(dataset.image_folder / name, dataset.is_plain_folder)
            labels.append(torch.full(shape, dataset.ignore_label, device=device))
        sizes = [label.shape for label in labels]
        predictions = [_finite(predict(net, images, sizes)) for net in networks]
        yield from zip(batch.names, labels, zip(*predictions, strict=True), strict=True)


def predict_pictures(
    network: nn.Module, pictures: Iterable[NDArray[np.uint8]], input_size: tuple[int, int],
    batch_size: int,
) -> Iterator[tuple[NDArray[np.uint8], Prediction]]:  # fmt: skip
    """Yield pictures (RGB, uint8, (H, W, 3)) with predictions at their sizes, in batches.

    At most a batch is in memory. UserError if a prediction is not finite.
    """
    device, remaining = next(network.parameters()).device, iter(pictures)
    while batch := list(islice(remaining, batch_size)):
        resized = np.stack([resize_image(picture, input_size) for picture in batch])
        images = network_input(torch.from_numpy(resized).to(device))
        predictions = predict(network, images, [picture.shape[:2] for picture in batch])
        yield from zip(batch, _finite(predictions), strict=True)


def _finite(predictions: list[Prediction]) -> list[Prediction]:
    """Return the predictions; UserError if one is not finite: weights that are can overflow."""
    if not torch.stack([prediction.logits.isfinite().all() for prediction in predictions]).all():
        remedy = "give another checkpoint: this one is damaged, or its training had diverged"
        raise UserError(f"the network's outputs are not finite\n  {remedy}")
    return predictions


def confusion(
    network: nn.Module, batches: Iterable[tuple[Tensor, list[Tensor]]], num_classes: int
) -> Tensor:
    """Return the sum of `confusion_matrix` over batches from `on_device`; nothing waits for it."""
    total = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for images, labels in batches:
        predictions = predict(network, images, [label.shape for label in labels])
        for prediction, label in zip(predictions, labels, strict=True):
            counts = confusion_matrix(prediction.classes, label, num_classes)
            total = total.to(counts.device) + counts
    return total


def on_device(batch: Batch, device: torch.device) -> tuple[Tensor, list[Tensor]]:
    """Copy a batch to the device: the network's input, (B, 3, H, W), and label maps in int64."""
    images = network_input(batch.images.to(device, non_blocking=True))
    return images, [label.to(device, non_blocking=True).long() for label in batch.labels]
