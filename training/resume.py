"""last.pth, which `Run.save` writes: found again, and compared with the run that continues it."""

import hashlib
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from dataset.segmentation_dataset import SegmentationDataset
from training.options import TrainingOptions
from utils.errors import UserError
from utils.files import load_tensors

VERSION = 3
LAST, PREVIOUS, DAMAGED = "last.pth", "last.previous.pth", "last.damaged.pth"
REMEDY = "start a new run in another --snapshot_dir, with --restore_from a teacher of this one"


def initial_weights(options: TrainingOptions) -> str:
    """Return ``--restore_from``, or ``none`` where a checkpoint to resume has the weights."""
    saved = [Path(options.snapshot_dir, name) for name in (LAST, PREVIOUS)]
    return "none" if options.resume and any(map(os.path.exists, saved)) else options.restore_from


def find_last(
    folder: Path, prefix: str, fixed: dict[str, Any], resume: bool, is_main: bool
) -> dict[str, Any]:
    """Return the newer whole one of last.pth and last.previous.pth; empty for a new run.

    UserError if a new run's folder holds a run, both files are damaged, or the run to ``resume``
    had other `fixed_values`. Only ``is_main`` checks a new folder, and puts a damaged file aside.
    """
    names = (LAST, PREVIOUS, f"{prefix}2Cityscapes_log.txt", f"{prefix}_TeacherNet.pth")
    if not resume and is_main and any((folder / name).exists() for name in names):
        remedy = "continue it with --resume, or choose another --snapshot_dir"
        raise UserError(f"{folder} holds an earlier run\n  {remedy}")
    cause = ""
    for path in (folder / LAST, folder / PREVIOUS):
        if not resume or not path.exists():
            continue
        try:
            saved = load_tensors(path)
        except UserError as error:
            cause = f"; warning: {error}".partition("\n")[0]
            continue
        _check(path, saved, fixed)
        if cause and is_main:  # the next save must not keep it in place of the whole one
            os.replace(folder / LAST, folder / DAMAGED)
        return saved | {"warning": cause}
    if cause or (resume and (folder / names[-1]).exists()):
        raise UserError(f"{folder} has no whole checkpoint to continue from{cause}\n  {REMEDY}")
    return {}


def fixed_values(
    options: TrainingOptions, counts: dict[str, int], **data: SegmentationDataset | None
) -> dict[str, Any]:
    """Return what a resumed run must have in common with the run it continues: plain values.

    Data may lie elsewhere: the names of images and the classes of label ids are compared.
    """
    kept = [field.name for field in fields(options) if field.metadata["fixed"]]
    fixed = {f"--{name}": getattr(options, name) for name in kept} | counts
    for part, dataset in data.items():
        if dataset:
            classes = (*dataset.label_space.names, f"{sorted(dataset.table.items())}")
            kinds = {"images": dataset.names, "classes or label ids": classes}
            for kind, lines in kinds.items():
                digest = hashlib.sha256(os.fsencode("\n".join(lines)))
                fixed[f"other {part} {kind}"] = digest.hexdigest()
    return fixed


def _check(path: Path, saved: Any, fixed: dict[str, Any]) -> None:
    if not isinstance(saved, dict) or saved.get("version") != VERSION:
        raise UserError(f"{path} was written by another version of the project\n  {REMEDY}")
    # An option that is younger than the checkpoint had its default.
    before = {f"--{field.name}": field.default for field in fields(TrainingOptions)}
    before |= saved["fixed"]
    changed = [
        name if name.startswith("other") else f"{name} {before.get(name)} -> {now}"
        for name, now in fixed.items()
        if before.get(name) != now
    ]
    if changed:
        text = f"{path} was trained with other options or data: {', '.join(changed)}"
        raise UserError(f"{text}\n  give the same ones; or {REMEDY}")
