"""The output folder of a training run: names, checkpoints, metrics, and what a resume needs."""

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

from utils.command_line import changed_options
from utils.errors import UserError
from utils.files import load_tensors, make_folder, save_tensors, whole_file
from utils.options import TrainingOptions
from utils.training.curves import curves_figure

STATE = {
    *("student", "teacher", "optimizer", "progress", "history", "random", "options", "data"),
    "iterations",
}
"""Keys that every last.pth has."""


def can_resume(options: TrainingOptions) -> bool:
    """Return whether ``--resume`` finds a checkpoint, so that no initial weights are needed."""
    names = ("last.complete.pth", "last.pth", "last.previous.pth")
    return options.resume and any(Path(options.snapshot_dir, name).exists() for name in names)


class RunFiles:
    """The output folder of a run.

    Args:
        folder: made if it does not exist.
        prefix: GTA or Synthia; file names begin with it.

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
        self.complete = folder / "last.complete.pth"  # complete, and about to become last.pth
        self.previous = folder / "last.previous.pth"
        self.damaged: set[Path] = set()  # files that load_last could not read
        make_folder(folder)

    def open_run(
        self, options: TrainingOptions, fixed: dict[str, Any], is_main: bool
    ) -> tuple[dict[str, Any] | None, str]:
        """Prepare the folder for a new run, or read the checkpoint to resume from.

        Args:
            options: the run's.
            fixed: options and fingerprints of the data; must be the same in the checkpoint.
            is_main: whether this process changes the folder.

        Returns:
            The saved state or None; and a warning or "".

        Raises:
            UserError: a new run's folder holds a run; or the checkpoint cannot be read, or was
                trained with other options or data.
        """
        if options.resume:
            saved, warning = self.load_last()
            if saved:
                self._check_unchanged(saved, options, fixed)
            progress = saved["progress"] if saved else {}
            if is_main:
                self.cut_metrics(progress.get("iteration", 0), progress.get("score_due", False))
            return saved, warning
        if is_main and options.replaces_demo(self.prefix):
            for path in self.folder.iterdir():  # not the folder: other processes look for it
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        files = (self.log, self.final, self.last, self.previous, self.metrics, self.curves)
        if is_main and any(file.exists() for file in (*files, self.board)):
            raise UserError(
                f"{self.folder} holds an earlier run\n"
                "  continue it with --resume, or choose another --snapshot_dir"
            )
        return None, ""

    def _check_unchanged(
        self, saved: dict[str, Any], options: TrainingOptions, fixed: dict[str, Any]
    ) -> None:
        changed = changed_options(options, saved["options"])
        before, now = saved["options"]["processes"], fixed["options"]["processes"]
        if before != now:
            changed.append(f"processes {before} -> {now}")
        before, now = saved["iterations"], fixed["iterations"]  # the learning rate depends on them
        if before != now:
            changed.append(f"iterations {before} -> {now}")
        changed += [
            f"other {part} images, classes or label ids"
            for part, digest in fixed["data"].items()
            if digest != saved["data"].get(part)
        ]
        if changed:
            raise UserError(
                f"{self.last} was trained with other options or data: {', '.join(changed)}\n"
                "  give the same ones; or start a new run in another --snapshot_dir, with "
                "--restore_from a teacher of this one"
            )

    def load_last(self) -> tuple[dict[str, Any] | None, str]:
        """Read the newest complete checkpoint.

        Returns:
            The saved state, or None if no checkpoint was written yet; and a warning or "".

        Raises:
            UserError: no checkpoint can be read, it is of another version of the project, or the
                run is finished.
        """
        warnings: list[str] = []
        for path in (self.complete, self.last, self.previous):
            if not path.exists():
                continue
            try:
                state = load_tensors(path)
            except UserError as error:
                self.damaged.add(path)
                warnings.append(f"{error}; using the checkpoint before it")
                continue
            if not isinstance(state, dict) or not state.keys() >= STATE:
                raise UserError(
                    f"{path} was not written by this version of the project\n  resume it with the "
                    "version that wrote it, or start a new run in another --snapshot_dir with "
                    "--restore_from a teacher in this folder"
                )
            return state, "; ".join(warnings)
        if warnings:
            raise UserError(
                f"{self.last} and {self.previous.name} are damaged or missing: {warnings[0]}\n"
                "  start a new run in another --snapshot_dir, with --restore_from a file that is "
                "named after its score"
            )
        if self.final.exists():
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
                f"cannot write {self.last}: {error.strerror}\n  {self.complete} is complete, and "
                "--resume continues from it; remove what is in the way"
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

    def read_metrics(self) -> list[dict[str, Any]]:
        """Read metrics.jsonl; a line that a killed process left unfinished is skipped.

        Raises:
            UserError: it cannot be read.
        """
        try:
            lines = self.metrics.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
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
        """Remove the lines of metrics.jsonl that were written after the last checkpoint.

        Args:
            iteration: of the checkpoint.
            score_due: whether the checkpoint was written before that iteration's scoring.

        Raises:
            UserError: it cannot be read or written; it is unchanged.
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
        """Draw curves.png from metrics.jsonl.

        Raises:
            UserError: one of them cannot be read or written.
        """
        figure = curves_figure(self.read_metrics(), str(self.folder))
        with whole_file(self.curves) as file:
            figure.savefig(file, format="png")
        del figure
        gc.collect()  # a figure is full of cycles, and each would stay until Python collects them
