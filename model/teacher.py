"""The teacher: an exponential moving average of the student (the paper's equation for theta')."""

import copy

import torch
from torch import Tensor, nn

from model.SEAN import SEANet


def make_teacher(student: SEANet) -> SEANet:
    """Return a copy of the student without gradients."""
    return copy.deepcopy(student).requires_grad_(False).eval()


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, alpha: float) -> None:
    """Update the teacher in place: teacher <- alpha * teacher + (1 - alpha) * student.

    In float32, 0.99 * x + 0.01 * x is not exactly x, so even the unused classifier branches drift
    (by 7e-7 in 8 iterations), as the original's do. ``student`` may be a wrapper of the network.
    """
    means: list[Tensor] = list(teacher.parameters())
    values: list[Tensor] = list(student.parameters())
    shares = list(torch._foreach_mul(values, 1 - alpha))  # first: the memory may not suffice
    torch._foreach_mul_(means, alpha)
    torch._foreach_add_(means, shares)
