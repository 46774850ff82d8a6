"""Student, teacher and optimizer on the device: as they train, and as they are saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Adam

from model.checkpoint import load_state
from model.SEAN import SEANet
from training.distributed import Processes
from training.options import TrainingOptions
from training.saved_state import restoring
from utils.device import place, with_precision

WARM_UP = 0.05
"""Share of a run over which ``--lr_schedule poly`` raises the learning rate."""


class Networks:
    """Student, teacher and optimizer, moved to the device.

    Args:
        student: trained in place.
        teacher: follows the student.
        options: learning rate, precision and compilation are used.
        device: where they run.
        processes: gradients are averaged over them.
        saved: a checkpoint to continue from, as `RunFiles.load_last` returns it, or None.

    Attributes:
        plain_student, plain_teacher: the SEANets, which are saved.
        student, teacher: the same networks as they run: in several processes, in bfloat16,
            compiled.
        optimizer: Adam on the student's parameters.

    Raises:
        UserError: the checkpoint holds other tensors, or numbers that are not finite.
    """

    def __init__(
        self,
        student: SEANet,
        teacher: SEANet,
        options: TrainingOptions,
        device: torch.device,
        processes: Processes,
        saved: dict[str, Any] | None,
    ) -> None:
        self.options = options
        self.plain_student, self.plain_teacher = student, teacher
        place(student, device)
        place(teacher, device)
        self.optimizer = Adam(
            [p for p in student.parameters() if p.requires_grad],
            lr=options.learning_rate,
            betas=(options.momentum, 0.999),
            weight_decay=options.weight_decay,
            fused=device.type != "mps",
        )
        if saved:
            self._restore(saved, saved["path"])
        self.student: nn.Module = processes.wrap(with_precision(student, options.precision), device)
        self.teacher: nn.Module = with_precision(teacher, options.precision)
        if options.compile:
            self.student = torch.compile(self.student)  # type: ignore[assignment]
            self.teacher = torch.compile(self.teacher)  # type: ignore[assignment]

    def _restore(self, saved: dict[str, Any], path: Path) -> None:
        for field, network in (("student", self.plain_student), ("teacher", self.plain_teacher)):
            with restoring(field, path):
                load_state(network, saved[field], f"the {field} of {path}")
        with restoring("optimizer", path):
            moments = saved["optimizer"]
            _check_moments(moments, self.optimizer, saved["progress"]["iteration"])
            groups = self.optimizer.state_dict()["param_groups"]  # the options give them
            self.optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def set_learning_rate(self, done: float) -> None:
        """Set the learning rate of the next iteration; ``done`` is the share of the run, 0..1."""
        if self.options.lr_schedule == "poly":
            rate = self.options.learning_rate * min(1.0, 0.01 + done / WARM_UP) * (1 - done) ** 0.9
            for group in self.optimizer.param_groups:
                group["lr"] = rate

    def state(self) -> dict[str, Any]:
        """Return everything that training changes, for a checkpoint."""
        return {
            "student": self.plain_student.state_dict(),
            "teacher": self.plain_teacher.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
        }

    def are_finite(self) -> bool:
        """Return whether all weights are finite; synchronizes the device."""
        weights = [*self.plain_student.parameters(), *self.plain_teacher.parameters()]
        return bool(torch.nn.utils.get_total_norm(weights).isfinite())


def _check_moments(moments: Any, optimizer: Adam, iteration: int) -> None:
    """Raise some error unless Adam can have this state after an iteration."""
    parameters = optimizer.param_groups[0]["params"]
    if moments.keys() != set(range(len(parameters) if iteration else 0)):
        raise ValueError
    for index, values in moments.items():
        mean, square = values["exp_avg"], values["exp_avg_sq"]
        right = (
            values.keys() == {"step", "exp_avg", "exp_avg_sq"}
            and mean.shape == square.shape == parameters[index].shape
            and mean.isfinite().all()
            and (square.isfinite() & (square >= 0)).all()
            and values["step"].shape == ()
            and values["step"] == iteration
        )
        if not right:
            raise ValueError
