"""Network and images -> predictions and scores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.evaluation.metrics import confusion_matrix


@contextlib.contextmanager
def scoring(network: nn.Module) -> Iterator[None]:
    """Run a network for its predictions only, and restore the mode it was in."""
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)


def class_map(logits: Tensor, size: Sequence[int]) -> Tensor:
    """The most likely class of each pixel.

    Args:
        logits: (C, h, w).
        size: H, W of the label map.

    Returns:
        Train ids, uint8, (H, W), of the bilinearly upsampled logits (corners not aligned).
    """
    best = _upsampled(logits[:1], size)
    classes = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for index in range(1, len(logits)):  # one by one: at 2048x1024 all 19 would take 160 MB
        scores = _upsampled(logits[index : index + 1], size)
        classes.masked_fill_(scores > best, index)
        best = torch.maximum(best, scores)
    return classes[0]


def evaluate(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, list[Tensor]]],
    num_classes: int,
    autocast: contextlib.AbstractContextManager[None] | torch.autocast,
) -> Tensor:
    """Score a network.

    Args:
        network: returns attention and logits, (B, C, h, w).
        batches: the network's input, (B, 3, H, W), and B label maps of train ids, int64, of sizes
            of their own, on the network's device.
        num_classes: C.
        autocast: the precision to run the network in.

    Returns:
        Confusion matrix, int64, (C, C), on the CPU: rows are the label.
    """
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    with scoring(network):
        for images, labels in batches:
            with autocast:
                logits = network(images).logits
            for scores, label in zip(logits, labels, strict=True):
                counts = confusion_matrix(class_map(scores, label.shape), label, num_classes)
                confusion = confusion.to(counts.device) + counts  # stays there: no wait for a GPU
    return confusion.cpu()


def confidence_map(logits: Tensor, size: Sequence[int]) -> Tensor:
    """The probability of the most likely class of each pixel.

    Args:
        logits: (C, h, w).
        size: H, W.

    Returns:
        float32, (H, W), 1/C..1: the highest softmax of the logits, upsampled as for `class_map`.
    """
    return _upsampled(logits, size).softmax(0).amax(0)


def _upsampled(logits: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(logits[None].float(), size=tuple(size), mode="bilinear")[0]  # (C, H, W)
