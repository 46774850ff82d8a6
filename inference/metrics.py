"""Confusion matrix and intersection over union: pure functions on tensors."""

import torch
from torch import Tensor


def confusion_matrix(prediction: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Count pixels by class and predicted class, without a copy to the CPU.

    Both hold train ids, in one shape: the prediction 0..C-1, in int64 or uint8; the label, in
    int64, also others, which are left out. The counts are int64, (C, C), rows are the label.
    """
    # No boolean indexing and no bincount: both wait for the GPU to know the size of the result.
    cells = (label.clamp(max=num_classes) * num_classes + prediction).flatten()
    counts = torch.zeros((num_classes + 1) * num_classes, dtype=torch.int64, device=cells.device)
    counts.scatter_add_(0, cells, torch.ones_like(cells))
    return counts.view(num_classes + 1, num_classes)[:num_classes]


def class_iou(confusion: Tensor) -> Tensor:
    """Intersection over union of each class of confusion matrices, (..., C, C).

    (..., C), 0..1, float64 for a matrix of counts, the matrix's own type for one of floats; nan
    where a class is neither in the label nor predicted.
    """
    if not confusion.is_floating_point():
        confusion = confusion.double()
    intersection = confusion.diagonal(dim1=-2, dim2=-1)
    return intersection / (confusion.sum(-1) + confusion.sum(-2) - intersection)


def mean_iou(confusion: Tensor) -> Tensor:
    """Mean of `class_iou` over the classes in the label or the prediction; nan if there is none."""
    return class_iou(confusion).nanmean(-1)
