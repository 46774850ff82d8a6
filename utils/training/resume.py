"""What a run needs to continue exactly where it stopped."""

from __future__ import annotations

from typing import Any

import torch

from utils.command_line import changed_options
from utils.errors import UserError
from utils.options import TrainingOptions
from utils.training.run_files import RunFiles


def open_run(
    files: RunFiles, options: TrainingOptions, fixed: dict[str, Any], is_main: bool
) -> tuple[dict[str, Any] | None, str]:
    """Prepare the output folder for a new run, or read the checkpoint to resume from.

    Args:
        files: the output folder.
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
        saved, warning = files.load_last()
        if saved:
            _check_unchanged(saved, options, fixed, files)
        if is_main:
            at: dict[str, Any] = (
                saved["progress"] if saved else {"iteration": 0, "score_due": False}
            )
            files.cut_metrics(at["iteration"], at["score_due"])
        return saved, warning
    if is_main and options.replaces_demo(files.prefix):
        files.clear()
    elif is_main:
        files.check_free()
    return None, ""


def _check_unchanged(
    saved: dict[str, Any], options: TrainingOptions, fixed: dict[str, Any], files: RunFiles
) -> None:
    changed = changed_options(options, saved["options"])
    processes = saved["options"]["processes"]
    if processes != fixed["options"]["processes"]:
        changed.append(f"processes {processes} -> {fixed['options']['processes']}")
    if saved["iterations"] != fixed["iterations"]:  # the learning rate depends on them
        changed.append(f"iterations {saved['iterations']} -> {fixed['iterations']}")
    changed += [
        f"other {part} images, classes or label ids"
        for part, digest in fixed["data"].items()
        if digest != saved["data"].get(part)
    ]
    if changed:
        raise UserError(
            f"{files.last} was trained with other options or data: {', '.join(changed)}\n"
            "  give the same ones; or start a new run in another --snapshot_dir, with "
            "--restore_from a teacher of this one"
        )


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the state of every generator that this process draws from."""
    generator = None if device.type == "cpu" else _module(device).get_rng_state()
    return {"cpu": torch.get_rng_state(), "device": generator}


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Set every generator to a saved state; the device must be of the same kind."""
    torch.set_rng_state(state["cpu"])
    if state["device"] is not None and device.type != "cpu":
        _module(device).set_rng_state(state["device"])


def _module(device: torch.device) -> Any:
    return torch.cuda if device.type == "cuda" else torch.mps
