"""The state that last.pth holds besides tensors of the networks: what it is, and its checks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import is_dense
from training.options import TrainingOptions
from utils.errors import UserError

FIELDS = {
    *("student", "teacher", "optimizer", "progress", "history", "random", "options", "data"),
    *("iterations", "epoch_iterations"),
}
"""Keys of every last.pth."""

CLASSES = "classes or label ids"
"""Name of what a classes file says, among the fingerprints of the data."""


@dataclass
class Progress:
    """Progress of a run; saved and restored as a whole.

    Attributes:
        epoch: counted from 0.
        batch: iterations of this epoch that are done.
        iteration: iterations of the run that are done.
        miou: the last score, 0..1; -1 before the first, nan if the label maps have no class.
        best_miou: the best score.
        score_due: whether this iteration has still to be scored.
    """

    epoch: int = 0
    batch: int = 0
    iteration: int = 0
    miou: float = -1.0
    best_miou: float = -1.0
    score_due: bool = False


def check_saved(state: Any, path: Path) -> None:
    """Check the plain values of a saved state; networks and optimizer are checked as they load.

    Args:
        state: what ``path`` holds.
        path: for the message.

    Raises:
        UserError: a field is missing, or holds what training does not save.
    """
    if not isinstance(state, dict) or state.keys() != FIELDS:
        raise _refusal(path, "it has other fields")
    wrong = _wrong_field(state)
    if wrong:
        raise _refusal(path, f"its field {wrong} holds something else")


@contextlib.contextmanager
def restoring(field: str, path: Path) -> Iterator[None]:
    """Turn what goes wrong while a field of a saved state is restored into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception:  # tensors of other kinds fail in many ways
        raise _refusal(path, f"its field {field} holds something else") from None


def _refusal(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path} was not written by this version of the project: {reason}\n  resume it "
        "with the version that wrote it, or start a new run in another --snapshot_dir with "
        "--restore_from a teacher in this folder"
    )


def _wrong_field(state: dict[str, Any]) -> str:
    """Return the first field with other types or impossible values, or an empty text."""
    for field in ("iterations", "epoch_iterations"):
        if not _is_count(state[field]):
            return field
    if not _is_progress(state["progress"], state["epoch_iterations"]):
        return "progress"
    rows, iteration = state["history"], state["progress"]["iteration"]
    if not is_dense(rows) or rows.dtype != torch.float32 or rows.shape != (iteration, 4):
        return "history"
    options = state["options"]
    if not isinstance(options, dict) or not all(map(_is_plain, (*options, *options.values()))):
        return "options"
    if not _is_count(options.get("processes")):
        return "options"
    generators = state["random"]
    if not isinstance(generators, list) or len(generators) != options["processes"]:
        return "random"
    data = state["data"]
    if not isinstance(data, dict) or not all(type(v) is str for v in (*data, *data.values())):
        return "data"
    return ""


def _is_progress(values: Any, epoch_iterations: int) -> bool:
    kinds = {name: type(value) for name, value in asdict(Progress()).items()}
    if not isinstance(values, dict) or {k: type(v) for k, v in values.items()} != kinds:
        return False
    progress = Progress(**values)
    return (
        0 <= progress.batch <= epoch_iterations
        and 0 <= progress.epoch
        and progress.iteration == progress.epoch * epoch_iterations + progress.batch
        and abs(progress.best_miou) <= 1
        and not abs(progress.miou) > 1  # it can be nan
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_plain(value: Any) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return all(
        part is None or type(part) in (bool, float, str) or _is_count(part) for part in parts
    )


def check_unchanged(saved: dict[str, Any], options: TrainingOptions, fixed: dict[str, Any]) -> None:
    """Check that a run has the options and data of the checkpoint that it continues.

    Args:
        saved: what `RunFiles.load_last` returns.
        options: the run's.
        fixed: options and fingerprints of the data; must be the same in the checkpoint.

    Raises:
        UserError: they differ.
    """
    changed = changed_options(options, saved["options"])
    for name, before, now in (
        ("processes", saved["options"]["processes"], fixed["options"]["processes"]),
        ("iterations", saved["iterations"], fixed["iterations"]),  # of the learning rate's schedule
        ("iterations an epoch", saved["epoch_iterations"], fixed["epoch_iterations"]),
    ):
        if before != now:
            changed.append(f"{name} {before} -> {now}")
    for part, digest in fixed["data"].items():
        if digest != saved["data"].get(part):
            own = options.classes if part == CLASSES else None
            changed.append(f"other {part}" + (f" in {own}" if own else ""))
    if changed:
        raise UserError(
            f"{saved['path']} was trained with other options or data: "
            f"{', '.join(changed)}\n"
            "  give the same ones; or start a new run in another --snapshot_dir, with "
            "--restore_from a teacher of this one"
        )


def changed_options(config: Any, saved: dict[str, Any]) -> list[str]:
    """Return the fixed options that differ from a saved run's, as text."""
    changed = []
    for field in fields(config):
        now, before = getattr(config, field.name), saved.get(field.name, field.default)
        if field.metadata["fixed"] and now != before:
            changed.append(f"--{field.name} {before} -> {now}")
    return changed
