"""One iteration of SEAN: the method, in one function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from model.teacher import update_teacher
from utils.device import autocast
from utils.evaluation.metrics import confusion_matrix, mean_iou
from utils.options import TrainingConfig
from utils.training.batches import Domains
from utils.training.distributed import Processes, hold_gradients
from utils.training.losses import segmentation_loss, self_ensembling_loss


class StepResult(NamedTuple):
    """Scalars of one iteration, on the device.

    Attributes:
        total: segmentation + self_ensembling.
        segmentation: cross-entropy on the source batch, nats a pixel.
        self_ensembling: weighted by st_weight.
        source_miou: of the source batch, 0..1.
        kept: share of grid cells with attention above the threshold, 0..1.
        gradient: L2 norm of the student's gradient.
    """

    total: Tensor
    segmentation: Tensor
    self_ensembling: Tensor
    source_miou: Tensor
    kept: Tensor
    gradient: Tensor


def train_step(
    student: nn.Module,
    teacher: nn.Module,
    optimizer: Optimizer,
    batches: Sequence[Domains],
    config: TrainingConfig,
    processes: Processes,
) -> StepResult:
    """One iteration of SEAN (DESIGN section 2).

    Args:
        student: a SEANet, trained in place.
        teacher: a SEANet, moved towards the student in place.
        optimizer: of the student's parameters.
        batches: one, or several whose gradients are averaged.
        config: noise, threshold, weights, precision.
        processes: the losses are means over all of them.

    Returns:
        Losses and shares, which nothing has waited for.
    """
    optimizer.zero_grad(set_to_none=True)
    results = []
    for number, (source, labels, target, _) in enumerate(batches, 1):
        precision = autocast(source.device, config.precision)
        with hold_gradients(student, hold=number < len(batches)):
            # 1. The student learns from the labelled source.
            with precision:
                logits = student(source).logits  # (B, C, h, w)
            logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear")
            segmentation = processes.mean(segmentation_loss(logits, labels, config.ignore_label))

            self_ensembling = kept = torch.zeros_like(segmentation)
            if target is not None:
                # 2. Teacher and student see the target under independent noise.
                with torch.no_grad(), precision:
                    attention, expected = teacher(add_noise(target, config.noise))
                with precision:
                    predicted = student(add_noise(target, config.noise)).logits  # (B, C, h, w)

                # 3. They shall agree where the teacher attends.
                agreement = self_ensembling_loss(
                    predicted, expected, attention, config.attention_threshold
                )
                self_ensembling = config.st_weight * processes.mean(agreement)
                kept = agreement.places / attention.numel()

            # 4. The student steps, once all gradients are there; then the teacher follows.
            total = segmentation + self_ensembling
            (total / len(batches)).backward()
        source_miou = batch_miou(logits, labels)
        results.append(torch.stack([total, segmentation, self_ensembling, source_miou, kept]))
    gradients = [p.grad for p in student.parameters() if p.grad is not None]
    gradient = torch.nn.utils.get_total_norm(gradients)
    optimizer.step()
    update_teacher(teacher, student, config.teacher_alpha)
    return StepResult._make([*torch.stack(results).detach().mean(0), gradient])


def add_noise(images: Tensor, std: float) -> Tensor:
    """Add a fresh draw of Gaussian noise of ``std`` gray levels."""
    return images + std * torch.randn_like(images)


@torch.no_grad()
def batch_miou(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean IoU of logits, (B, C, H, W), against train ids, (B, H, W): a scalar, 0..1."""
    return mean_iou(confusion_matrix(logits.max(1).indices, labels, logits.shape[1]).float())
