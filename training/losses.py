"""The two losses of SEAN, as pure functions."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class MaskedLoss(NamedTuple):
    """A sum over pixels or grid cells; several processes divide it by the number in all of them."""

    sum: Tensor  # scalar, differentiable
    elements: Tensor  # how many are kept; scalar, float32, no gradient

    def mean(self) -> Tensor:
        """Return the mean; 0 if nothing is kept."""
        return self.sum / self.elements.clamp(min=1)


def segmentation_loss(logits: Tensor, labels: Tensor, ignore_label: int = 255) -> MaskedLoss:
    """Summed cross-entropy in nats over the pixels that have a class, and their number.

    Args:
        logits: (B, C, H, W).
        labels: train ids, int64, (B, H, W).
        ignore_label: train id of the pixels to leave out.
    """
    # Not reduction="sum": CUDA has no deterministic kernel for it.
    pixels = F.cross_entropy(logits.float(), labels, ignore_index=ignore_label, reduction="none")
    return MaskedLoss(pixels.sum(), (labels != ignore_label).sum().float())


def self_ensembling_loss(
    student: Tensor, teacher: Tensor, attention: Tensor, threshold: float
) -> MaskedLoss:
    """Squared difference of two softmax maps where the teacher's attention is high.

    It is averaged over the classes and summed over the kept cells, which are counted.

    Args:
        student: logits, (B, C, h, w).
        teacher: logits, (B, C, h, w); no gradient flows into them.
        attention: the teacher's attention, (B, 1, h, w), in (0, 1).
        threshold: grid cells with attention at or below it are left out.
    """
    kept = attention > threshold  # (B, 1, h, w)
    target = torch.softmax(teacher.detach().float(), dim=1)
    difference = (torch.softmax(student.float(), dim=1) - target).square().mean(1, keepdim=True)
    return MaskedLoss((difference * kept).sum(), kept.sum().float())
