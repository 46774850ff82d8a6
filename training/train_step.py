"""One iteration of SEAN: the method, in one function."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from inference.metrics import confusion_matrix, mean_iou
from model.teacher import update_teacher
from training.losses import MaskedLoss, segmentation_loss, self_ensembling_loss
from training.options import TrainingOptions

WARM_UP = 0.05  # share of a run over which ``--lr_schedule poly`` raises the learning rate


class DomainBatch(NamedTuple):
    """Images of both domains, on the device; without a target, the source alone is learnt from."""

    source: Tensor  # network input, float32, (B, 3, H, W)
    labels: Tensor  # its train ids, int64, (B, H, W)
    target: Tensor | None  # network input, (B, 3, H, W)
    view: Tensor | None  # the target as the student sees it: the same tensor without --augment
    names: tuple[str, ...]  # file names of the source and target images


class StepResult(NamedTuple):
    """Scalars of one iteration, still on the device: reading them synchronizes."""

    total: Tensor  # segmentation + self_ensembling
    segmentation: Tensor  # cross-entropy on the source batch, nats per pixel
    self_ensembling: Tensor  # weighted by st_weight
    source_miou: Tensor  # of the source batch, 0..1
    kept: Tensor  # share of grid cells with attention above the threshold, 0..1
    gradient: Tensor  # L2 norm of the student's gradient


def train_step(
    student: nn.Module,
    teacher: nn.Module,
    optimizer: Optimizer,
    batch: DomainBatch,
    options: TrainingOptions,
    reduce: Callable[[MaskedLoss], Tensor] = MaskedLoss.mean,
) -> StepResult:
    """One iteration of SEAN (Xu et al., AAAI 2019, section 3).

    The student is trained in place, and the teacher moved towards it. Of the options, ignore_label,
    noise, attention_threshold, st_weight and teacher_alpha are used. ``reduce`` turns a loss into a
    scalar, its mean over all processes (`Processes.share_of_mean`).
    """
    source, labels, target, view, _ = batch
    optimizer.zero_grad(set_to_none=True)

    # 1. The student learns from the labelled source.
    logits = student(source).logits  # (B, C, h, w)
    logits = F.interpolate(
        logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False
    )  # (B, C, H, W)
    segmentation = reduce(segmentation_loss(logits, labels, options.ignore_label))

    self_ensembling = kept = torch.zeros_like(segmentation)
    if target is not None and view is not None:
        # 2. Teacher and student see the target under independent noise.
        with torch.no_grad():
            attention, teacher_logits = teacher(target + options.noise * torch.randn_like(target))
        student_logits = student(view + options.noise * torch.randn_like(view)).logits

        # 3. The student must match the teacher where the teacher's attention is above a threshold.
        mismatch = self_ensembling_loss(
            student_logits, teacher_logits, attention, options.attention_threshold
        )
        self_ensembling = options.st_weight * reduce(mismatch)
        kept = mismatch.elements / attention.numel()

    # Of the source batch, from the logits that the loss was computed on.
    predicted = logits.detach().max(1).indices
    source_miou = mean_iou(confusion_matrix(predicted, labels, logits.shape[1]).float())

    # 4. The student steps; the teacher follows.
    total = segmentation + self_ensembling
    total.backward()
    gradient = torch.nn.utils.get_total_norm(
        [p.grad for p in student.parameters() if p.grad is not None]
    )
    optimizer.step()
    update_teacher(teacher, student, options.teacher_alpha)

    return StepResult(
        total.detach(), segmentation.detach(), self_ensembling.detach(), source_miou, kept, gradient
    )


def make_optimizer(student: nn.Module, options: TrainingOptions) -> Adam:
    """Return Adam on the student's parameters, which must be on their device."""
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    return Adam(
        trained, options.learning_rate, (options.momentum, 0.999),
        weight_decay=options.weight_decay, fused=trained[0].device.type != "mps",
    )  # fmt: skip


def set_learning_rate(optimizer: Optimizer, options: TrainingOptions, done: float) -> None:
    """Set the rate of the next iteration; ``done`` is the share of the run, 0..1."""
    if options.lr_schedule == "poly":
        rate = options.learning_rate * min(1.0, 0.01 + done / WARM_UP) * (1 - done) ** 0.9
        for group in optimizer.param_groups:
            group["lr"] = rate
