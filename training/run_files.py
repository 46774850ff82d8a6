"""The output folder of a training run: names, checkpoints, metrics, and what a resume needs."""

from __future__ import annotations

import gc
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from model.checkpoint import MOST_BYTES
from training.curves import curves_figure
from training.options import TrainingOptions
from training.records import read_records
from training.saved_state import check_saved, check_unchanged
from utils.errors import UserError
from utils.files import load_tensors, save_tensors, whole_file
from utils.output_folder import OutputFolder

MOST_BYTES_SAVED = 4 * MOST_BYTES
"""Of last.pth: student, teacher, and Adam's two moments of each weight."""


def can_resume(options: TrainingOptions) -> bool:
    """Return whether ``--resume`` finds a checkpoint, so that no initial weights are needed."""
    names = ("last.complete.pth", "last.pth", "last.previous.pth")
    return options.resume and any(
        os.path.exists(Path(options.snapshot_dir, name)) for name in names
    )


class RunFiles:
    """The output folder of a run.

    Args:
        folder: `open_run` makes it.
        prefix: GTA or Synthia; file names begin with it.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self.folder = folder
        self.prefix = prefix
        self.log = folder / f"{prefix}2Cityscapes_log.txt"
        self.final = folder / f"{prefix}_TeacherNet.pth"
        self.history = folder / f"{prefix}_loss.npz"
        self.metrics = folder / "metrics.jsonl"
        self.curves = folder / "curves.png"
        self.board = folder / "tensorboard"
        self.last = folder / "last.pth"
        self.complete = folder / "last.complete.pth"  # complete, and about to become last.pth
        self.previous = folder / "last.previous.pth"
        self.damaged: set[Path] = set()  # files that load_last could not read
        self.output: OutputFolder | None = None  # holds the lock

    def open_run(
        self, options: TrainingOptions, fixed: dict[str, Any], is_main: bool
    ) -> tuple[dict[str, Any] | None, str]:
        """Prepare the folder for a new run, or read the checkpoint to resume from.

        Args:
            options: the run's.
            fixed: options and fingerprints of the data; must be the same in the checkpoint.
            is_main: whether this process locks and changes the folder; one of several does.

        Returns:
            The saved state or None; and a warning or "".

        Raises:
            UserError: another process uses the folder; a new run's folder holds a run; or the
                checkpoint cannot be read, or was trained with other options or data.
        """
        if is_main:
            self.output = OutputFolder(self.folder)
        if options.resume:
            saved, warning = self.load_last()
            if saved:
                check_unchanged(saved, options, fixed)
            return saved, warning
        if is_main and self._present():
            raise UserError(
                f"{self.folder} holds an earlier run\n"
                "  continue it with --resume, or choose another --snapshot_dir"
            )
        return None, ""

    def _present(self) -> list[Path]:
        """Return what the folder holds under the names of a run's files."""
        names = (self.log, self.final, self.history, self.metrics, self.curves, self.board)
        states = (self.last, self.complete, self.previous)
        best = self.folder.glob(f"{self.prefix}2Cityscapes_epoch*batch*tgt_miu_*.pth")
        return [*filter(os.path.lexists, (*names, *states)), *best]

    def load_last(self) -> tuple[dict[str, Any] | None, str]:
        """Read the newest complete checkpoint.

        Returns:
            The saved state and the ``path`` that it was read from, or None if no checkpoint was
            written yet; and a warning or "".

        Raises:
            UserError: no checkpoint can be read, it is of another version of the project, or the
                run is finished.
        """
        warnings: list[str] = []
        for path in (self.complete, self.last, self.previous):
            if not os.path.exists(path):
                continue
            try:
                state = load_tensors(path, MOST_BYTES_SAVED)
            except UserError as error:
                self.damaged.add(path)
                cause = str(error).partition("\n")[0]
                warnings.append(f"{cause}; using the checkpoint before it")
                continue
            check_saved(state, path)
            return {**state, "path": path}, "; ".join(warnings)
        if warnings:
            raise UserError(
                f"{self.last} and {self.previous.name} are damaged or missing: "
                f"{warnings[0]}\n  start a new run in another --snapshot_dir, with --restore_from "
                "a file that is named after its score"
            )
        if os.path.exists(self.final):
            raise UserError(
                f"{self.folder} holds a finished run, but no last.pth to continue from\n"
                "  choose another --snapshot_dir"
            )
        return None, f"no last.pth in {self.folder} yet: starting from the beginning"

    def save_last(self, state: dict[str, Any]) -> None:
        """Save a checkpoint; the one before it is kept.

        Raises:
            UserError: it cannot be written; the one before it is unchanged.
        """
        save_tensors(self.complete, state)
        try:
            if self.last.exists() and self.last not in self.damaged:
                os.replace(self.last, self.previous)
            os.replace(self.complete, self.last)
        except OSError as error:
            raise UserError(
                f"cannot write {self.last}: {error.strerror}\n"
                f"  {self.complete} is complete, and --resume continues from it; remove "
                "what is in the way"
            ) from None
        self.damaged.clear()

    def save_history(self, history: Tensor) -> None:
        """Save (N, 4): total, segmentation and weighted self-ensembling loss, source mIoU."""
        with whole_file(self.history) as file:
            np.savez(file, loss_hist=history.numpy())

    def save_best(self, state: dict[str, Tensor], epoch: int, batch: int, miou: float) -> None:
        """Save a network that scored better than all before."""
        name = f"{self.prefix}2Cityscapes_epoch{epoch}batch{batch}tgt_miu_{int(1000 * miou)}.pth"
        save_tensors(self.folder / name, state)

    def draw_curves(self) -> None:
        """Draw curves.png from metrics.jsonl.

        Raises:
            UserError: one of them cannot be read or written.
        """
        figure = curves_figure(read_records(self.metrics), str(self.folder))
        with whole_file(self.curves) as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # the folder's name can be in any script
            figure.savefig(file, format="png")
        del figure
        gc.collect()  # a figure is full of cycles, and each would stay until Python collects them
