"""The files of a run: checkpoints, history, and who may write where."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from utils.errors import UserError
from utils.files import load_tensors, make_folder, save_tensors, whole_file
from utils.training.curves import curves_figure

STATE = {
    *("student", "teacher", "optimizer", "epoch", "batch", "iteration", "miou", "best_miou"),
    *("score_due", "history", "problems", "random", "options", "own_classes", "images"),
}
"""What a checkpoint to go on from holds."""


class Snapshots:
    """The folder of a run (DESIGN section 4 has the names).

    Args:
        folder: where everything is written.
        prefix: GTA or Synthia.

    Raises:
        UserError: the folder cannot be made or written to.
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
        self.complete = folder / "last.complete.pth"  # whole, and about to become last.pth
        self.previous = folder / "last.previous.pth"
        self.damaged: set[Path] = set()  # what load_last could not read
        make_folder(folder)

    def check_free(self) -> None:
        """Make sure that a new run writes over nothing.

        Raises:
            UserError: the folder holds a run.
        """
        files = (self.log, self.final, self.last, self.previous, self.metrics, self.curves)
        if any(file.exists() for file in (*files, self.board)):
            raise UserError(
                f"{self.folder} holds an earlier run\n"
                "  go on with it with --resume, or choose another --snapshot_dir"
            )

    def clear(self) -> None:
        """Remove the folder and everything in it, and make it anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        make_folder(self.folder)

    def load_last(self) -> tuple[dict[str, Any] | None, str]:
        """Read the newest whole checkpoint.

        Returns:
            What was saved, or None where no checkpoint was written yet; and a warning, if any.

        Raises:
            UserError: no checkpoint can be read, or there is none and the run is finished.
        """
        warnings: list[str] = []
        for path in (self.complete, self.last, self.previous):
            if not path.exists():
                continue
            try:
                return _load_state(path), "; ".join(warnings)
            except UserError as error:
                self.damaged.add(path)
                warnings.append(f"{error}: going on with the checkpoint before it")
        if warnings:
            raise UserError(
                f"{self.last} and {self.previous.name} are damaged or missing: {warnings[0]}\n"
                "  start anew in another --snapshot_dir, from a file named after its score"
            )
        if self.final.exists():
            raise UserError(
                f"{self.folder} holds a finished run, but no last.pth to go on from\n"
                "  choose another --snapshot_dir"
            )
        return None, f"no last.pth in {self.folder} yet: starting from the beginning"

    def save_last(self, state: dict[str, Any]) -> None:
        """Save a checkpoint; the one before it stays until this one is complete, and after.

        Raises:
            UserError: it cannot be written; the one before it is intact.
        """
        save_tensors(self.complete, state)
        try:
            if self.last.exists() and self.last not in self.damaged:
                os.replace(self.last, self.previous)
            os.replace(self.complete, self.last)
        except OSError as error:
            raise UserError(
                f"cannot write {self.last}: {error.strerror}\n  {self.complete} is whole and is "
                "what --resume goes on from; make place for the other"
            ) from None
        self.damaged.clear()

    def save_history(self, history: Tensor) -> None:
        """Save the losses: (N, 4), total, segmentation, weighted self-ensembling, source mIoU."""
        with whole_file(self.history) as file:
            np.savez(file, loss_hist=history.numpy())

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; one that a killed process left unfinished is skipped.

        Raises:
            UserError: it cannot be read.
        """
        if not self.metrics.exists():
            return []
        try:
            lines = self.metrics.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise UserError(
                f"cannot read {self.metrics}: {error.strerror}\n  make it readable, or move it away"
            ) from None
        records = []
        for line in lines:
            with contextlib.suppress(json.JSONDecodeError):
                record = json.loads(line)
                if isinstance(record, dict) and "iteration" in record:
                    records.append(record)
        return records

    def cut_metrics(self, iteration: int, score_due: bool) -> None:
        """Drop from metrics.jsonl what a killed process made after its last checkpoint.

        Args:
            iteration: of the checkpoint.
            score_due: whether the checkpoint is of before that iteration's scoring.

        Raises:
            UserError: it cannot be read or written; it is intact.
        """
        if not self.metrics.exists():
            return
        records = self.read_metrics()
        with whole_file(self.metrics) as file:
            for record in records:
                unscored = score_due and "target_miou" in record
                if record["iteration"] + unscored <= iteration:
                    file.write(json.dumps(record).encode() + b"\n")

    def draw_curves(self) -> None:
        """Draw curves.png anew from metrics.jsonl.

        Raises:
            UserError: one of them cannot be read or written.
        """
        figure = curves_figure(self.read_metrics(), str(self.folder))
        with whole_file(self.curves) as file:
            figure.savefig(file, format="png")
        del figure
        gc.collect()  # a figure is full of cycles: Python would leave the next ones beside it

    def save_best(self, teacher: dict[str, Tensor], epoch: int, batch: int, miou: float) -> None:
        """Save a teacher that scored better than all before."""
        name = f"{self.prefix}2Cityscapes_epoch{epoch}batch{batch}tgt_miu_{int(1000 * miou)}.pth"
        save_tensors(self.folder / name, teacher)

    def save_final(self, teacher: dict[str, Tensor]) -> None:
        """Save the teacher of the run's end."""
        save_tensors(self.final, teacher)


def _load_state(path: Path) -> dict[str, Any]:
    state = load_tensors(path)
    if not isinstance(state, dict) or not STATE.issubset(state):
        raise UserError(f"{path} is not what a run saves to go on from")
    return state
