"""Write and read files whole or not at all, and everything a run needs to go on."""

from __future__ import annotations

import contextlib
import os
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from utils.errors import UserError


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a file beside its place, sync it, and move it there once it is complete.

    Raises:
        UserError: it cannot be written; what stood in its place still does.
    """
    beside = path.with_name(f".{path.name}.writing")
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}\n"
            "  what was saved before is intact; free space or choose another place"
        ) from None
    finally:
        with contextlib.suppress(OSError):  # what cannot be written is often not there either
            beside.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a move last through a power cut, where the system syncs folders: Windows does not."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def save_tensors(path: Path, content: Any) -> None:
    """Save tensors and plain values: the same content gives the same bytes.

    Raises:
        UserError: the file cannot be written.
    """
    with whole_file(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # PyTorch's zip writer has stumbled over a failed write
            failed = error.__context__
            raise failed if isinstance(failed, OSError) else OSError(str(error)) from None


def load_tensors(path: Path) -> Any:
    """Read what `save_tensors` wrote, after checking the checksums within.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged:
                raise zipfile.BadZipFile(f"bad checksum of {damaged}")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged zip raises a dozen kinds
        raise UserError(f"cannot read {path}: {error}") from None


def make_folder(path: Path) -> None:
    """Make a folder and check that files can be written into it.

    Raises:
        UserError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the folder {path}: {error.strerror}\n  choose another --snapshot_dir"
        ) from None
    if not os.access(path, os.W_OK):
        raise UserError(f"cannot write into {path}\n  choose another --snapshot_dir")


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of every random generator this process uses, as tensors and plain values."""
    numpy_state = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [part.tolist() if isinstance(part, np.ndarray) else part for part in numpy_state],
        "torch": torch.get_rng_state(),
        "device": None if device.type == "cpu" else _module(device).get_rng_state(),
    }


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Put every random generator where `random_state` saw it, on the same kind of device."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["device"] is not None and device.type != "cpu":
        _module(device).set_rng_state(state["device"])


def _module(device: torch.device) -> Any:
    return torch.cuda if device.type == "cuda" else torch.mps
