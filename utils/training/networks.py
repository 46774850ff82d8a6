"""Student, teacher and optimizer: made, saved and restored together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from model.pretrained import initialize
from model.SEAN import SEANet
from model.teacher import make_teacher
from utils.device import place
from utils.errors import UserError
from utils.options import TrainingConfig
from utils.training.distributed import Processes


class Networks:
    """What a run trains.

    Args:
        config: class count, ablations, first weights, optimizer.
        device: where the networks are.
        processes: gradients are averaged over them.
        saved: a checkpoint to go on from, or None to start with ``--restore_from``.

    Attributes:
        student: to train, wrapped for several processes and compiled where asked for.
        teacher: to compare with, compiled where asked for.
        plain_student, plain_teacher: the same networks, neither wrapped nor compiled.
        weights: which weights they started with, in words.

    Raises:
        UserError: the first weights cannot be read or do not fit.
        UserError: the checkpoint holds other tensors.
    """

    def __init__(
        self,
        config: TrainingConfig,
        device: torch.device,
        processes: Processes,
        saved: dict[str, Any] | None,
    ) -> None:
        torch.manual_seed(config.seed)
        network = SEANet(config.num_classes, config.classifier_branches, config.uses_attention)
        self.weights = "resumed" if saved else initialize(network, config.restore_from)
        place(network, device)
        self.plain_student, self.plain_teacher = network, make_teacher(network)
        self.optimizer = Adam(
            [p for p in network.parameters() if p.requires_grad],
            lr=config.learning_rate,
            betas=(config.momentum, 0.999),
            weight_decay=config.weight_decay,
            fused=device.type != "mps",
        )
        if saved:
            self._restore(saved)
        self.student: nn.Module = processes.wrap(network, device)
        self.teacher: nn.Module = self.plain_teacher
        if config.compile:
            self.student = torch.compile(self.student)  # type: ignore[assignment]
            self.teacher = torch.compile(self.teacher)  # type: ignore[assignment]

    def state(self) -> dict[str, Any]:
        """Everything that training changed, for a checkpoint."""
        return {
            "student": self.plain_student.state_dict(),
            "teacher": self.plain_teacher.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        settings = [dict(group, params=None) for group in self.optimizer.param_groups]
        try:
            self.plain_student.load_state_dict(saved["student"])
            self.plain_teacher.load_state_dict(saved["teacher"])
            self.optimizer.load_state_dict(saved["optimizer"])
        except (RuntimeError, ValueError):
            raise UserError(
                "last.pth trained other tensors than these options do\n"
                "  give the options that it was trained with; its log names them"
            ) from None
        # With --resume_anyway the options given now hold, not the saved ones.
        for group, setting in zip(self.optimizer.param_groups, settings, strict=True):
            group.update((name, setting[name]) for name in setting if name != "params")


def released(network: SEANet) -> dict[str, Tensor]:
    """The bare state dict that is published: what the original's evaluation can load."""
    return {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
