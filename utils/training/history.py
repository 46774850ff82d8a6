"""What the iterations of a run gave; the device is waited for when it is read, at log lines."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from utils.training.distributed import Processes
from utils.training.train_step import StepResult


class DivergenceError(Exception):
    """A loss, gradient or weight is not finite: the message names the iteration and the images."""


class Results:
    """The results of all iterations, means over the processes.

    Args:
        processes: of the run.
        before: the checkpoint that a divergence leaves as it is, for the message.

    Attributes:
        history: total, segmentation and weighted self-ensembling loss, source mIoU of each
            iteration that has been read, float32, (N, 4).
    """

    def __init__(self, processes: Processes, before: Path) -> None:
        self.processes = processes
        self.before = before
        self.history = torch.zeros(0, 4)
        self.unread: list[tuple[Tensor, tuple[str, ...]]] = []

    def add(self, result: StepResult, names: tuple[str, ...]) -> None:
        """Keep what an iteration gave, and the names of its images, without waiting for it."""
        self.unread.append((torch.stack(result), names))

    def read(self) -> list[float] | None:
        """Wait for the device and read what the iterations since the last call gave.

        Returns:
            The mean of each number of a StepResult; None if there was no iteration.

        Raises:
            DivergenceError: a number is not finite; nothing is read.
        """
        if not self.unread:
            return None
        results, names = zip(*self.unread, strict=True)
        rows = self.processes.sum(torch.stack(results)) / self.processes.world_size
        rows = rows.float().cpu()  # (n, 6)
        bad = (~rows[:, [0, 5]].isfinite()).any(1).nonzero().flatten().tolist()
        if bad:
            raise DivergenceError(
                f"loss or gradient is not finite at iteration {len(self.history) + bad[0] + 1}, "
                f"images {', '.join(names[bad[0]])}\n  {self.before} and earlier files "
                "are of before; look at these images and labels, or lower --learning_rate"
            )
        self.unread.clear()
        self.history = torch.cat([self.history, rows[:, :4]])
        return rows.mean(0).tolist()
