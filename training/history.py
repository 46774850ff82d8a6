"""The results of all iterations; the device is synchronized only when they are read."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from training.distributed import Processes
from training.train_step import StepResult
from utils.errors import DivergenceError


class History:
    """Means over the processes of the results of all iterations.

    Args:
        processes: results are averaged over them.
        checkpoint: the file that a divergence leaves unchanged, for the message.
        rows: results of earlier iterations.

    Attributes:
        rows: total, segmentation and weighted self-ensembling loss, and source mIoU of each
            iteration that has been read; float32, (N, 4).
    """

    def __init__(self, processes: Processes, checkpoint: Path, rows: Tensor | None = None) -> None:
        self.processes = processes
        self.checkpoint = checkpoint
        self.rows = torch.zeros(0, 4) if rows is None else rows
        self.unread: list[tuple[Tensor, tuple[str, ...]]] = []

    def add(self, result: StepResult, names: tuple[str, ...]) -> None:
        """Keep an iteration's results and the names of its images, without synchronizing."""
        self.unread.append((torch.stack(result), names))

    def read(self) -> list[float] | None:
        """Read the results of the iterations since the last call.

        Returns:
            The mean of each field of `StepResult`; None if there was no iteration.

        Raises:
            DivergenceError: a number is not finite.
        """
        if not self.unread:
            return None
        results, names = zip(*self.unread, strict=True)
        rows = self.processes.sum(torch.stack(results)) / self.processes.world_size
        rows = rows.float().cpu()  # (n, 6)
        bad = (~rows[:, [0, 5]].isfinite()).any(1).nonzero().flatten().tolist()
        if bad:
            images = ", ".join(map(str, names[bad[0]]))
            raise DivergenceError(
                f"loss or gradient is not finite at iteration {len(self.rows) + bad[0] + 1}, "
                f"images {images}\n  {self.checkpoint} and earlier files were saved "
                "before; look at these images and labels, or lower --learning_rate"
            )
        self.unread.clear()
        self.rows = torch.cat([self.rows, rows[:, :4]])
        return rows.mean(0).tolist()
