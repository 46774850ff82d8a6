"""The folder of a run: names of its files, last.pth, and what a resumed run must have in common.

last.pth is a plain dict: version, progress, fixed, history, records, random, student, teacher and
optimizer (see `Run.save`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import filelock

from dataset.segmentation_dataset import SegmentationDataset
from training.options import TrainingOptions
from utils.errors import UserError
from utils.files import load_tensors, lock_folder

VERSION = 3
LAST, PREVIOUS = "last.pth", "last.previous.pth"
REMEDY = "start a new run in another --snapshot_dir, with --restore_from a teacher of this one"


def initial_weights(options: TrainingOptions) -> str:
    """Return ``--restore_from``, or ``none`` where a checkpoint to resume has the weights."""
    saved = [Path(options.snapshot_dir, name) for name in (LAST, PREVIOUS)]
    return "none" if options.resume and any(map(os.path.exists, saved)) else options.restore_from


class RunFolder:
    """The output files of a run; their names begin with ``prefix``, GTA or Synthia."""

    def __init__(self, path: str, prefix: str) -> None:
        self.path, self.prefix = Path(path), prefix
        self.log = self.path / f"{prefix}2Cityscapes_log.txt"
        self.final = self.path / f"{prefix}_TeacherNet.pth"
        self.history = self.path / f"{prefix}_loss.npz"
        self.metrics = self.path / "metrics.jsonl"
        self.curves = self.path / "curves.png"
        self.board = self.path / "tensorboard"
        self.last, self.previous = self.path / LAST, self.path / PREVIOUS
        self.lock: filelock.BaseFileLock | None = None
        self.warning = ""

    def best(self, epoch: int, batch: int, miou: float) -> Path:
        """Return where a network goes that scored better than all before; counted from 1."""
        name = f"{self.prefix}2Cityscapes_epoch{epoch}batch{batch}tgt_miu_{int(1000 * miou)}.pth"
        return self.path / name

    def open(self, resume: bool, fixed: dict[str, Any], is_main: bool) -> dict[str, Any]:
        """Lock the folder; return the checkpoint to resume from, the newer whole one of the two.

        Args:
            resume: whether to continue the run in the folder; without one, the result is empty.
            fixed: see `fixed_values`; must be the same in the checkpoint.
            is_main: whether this process locks and changes the folder; one of several does.

        Raises:
            UserError: another process uses the folder; a new run's folder holds a run; or the
                checkpoint cannot be read, or was trained with other options or data.
        """
        if is_main:
            self.lock = lock_folder(self.path)
        best = self.path.glob(f"{self.prefix}2Cityscapes_epoch*.pth")
        named = (self.log, self.final, self.metrics, self.last, self.previous, self.board, *best)
        if not resume and is_main and any(map(os.path.lexists, named)):
            raise UserError(
                f"{self.path} holds an earlier run\n"
                "  continue it with --resume, or choose another --snapshot_dir"
            )
        cause = ""
        for path in filter(os.path.exists, (self.last, self.previous) if resume else ()):
            try:
                saved = load_tensors(path)
            except UserError as error:
                cause = cause or str(error).partition("\n")[0]
                continue
            _check(path, saved, fixed)
            if cause:
                self.warning = f"{cause}; using the checkpoint before it"
            if cause and is_main:  # the next save must not keep it in place of the whole one
                os.replace(self.last, self.path / "last.damaged.pth")
            return saved
        if cause or (resume and os.path.exists(self.final)):
            raise UserError(f"no whole {self.last} to continue from. {cause}\n  {REMEDY}")
        return {}


def fixed_values(
    options: TrainingOptions, counts: dict[str, int], **data: SegmentationDataset | None
) -> dict[str, Any]:
    """Return what a resumed run must have in common with the run it continues: plain values.

    Data is compared by the names of the images and by the classes of the label ids, so that it may
    lie elsewhere.
    """
    kept = [field.name for field in fields(options) if field.metadata["fixed"]]
    fixed = {f"--{name}": getattr(options, name) for name in kept} | counts
    for part, dataset in data.items():
        if dataset:
            classes = (*dataset.label_space.names, f"{sorted(dataset.table.items())}")
            fixed[f"other {part} images"] = _digest(dataset.names)
            fixed[f"other classes or label ids of the {part}"] = _digest(classes)
    return fixed


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256(os.fsencode("\n".join(lines))).hexdigest()


def _check(path: Path, saved: Any, fixed: dict[str, Any]) -> None:
    if not isinstance(saved, dict) or saved.get("version") != VERSION:
        raise UserError(f"{path} was written by another version of the project\n  {REMEDY}")
    before = saved["fixed"]
    changed = [
        name if name.startswith("other") else f"{name} {before.get(name)} -> {now}"
        for name, now in fixed.items()
        if before.get(name) != now
    ]
    if changed:
        raise UserError(
            f"{path} was trained with other options or data: {', '.join(changed)}\n"
            f"  give the same ones; or {REMEDY}"
        )
