"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from utils.errors import UserError


@contextlib.contextmanager
def replace_when_done(path: Path, part: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path; move the file to ``path`` when the block succeeds.

    Args:
        path: where the file goes. A file that is already there stays until the new one is complete.
        part: the temporary path; by default next to ``path``, with the same extension.

    Raises:
        UserError: the file cannot be written; whatever was at ``path`` is unchanged.
    """
    part = part or path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}\n"
            "  files saved earlier are unchanged; free some space or choose another folder"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    _sync_folder(path.parent)


@contextlib.contextmanager
def whole_file(path: Path, part: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears at ``path`` once it is complete.

    The arguments and errors are those of `replace_when_done`.
    """
    with replace_when_done(path, part) as temporary, open(temporary, "wb") as file:
        yield file


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, on systems that sync folders (Windows does not)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def save_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture, uint8, (H, W) or (H, W, 3).

    Raises:
        UserError: the file cannot be written.
    """
    with whole_file(path) as file:
        Image.fromarray(picture).save(file, "PNG")


def save_tensors(path: Path, content: Any) -> None:
    """Save tensors and plain values; the same content gives the same bytes.

    Raises:
        UserError: the file cannot be written.
    """
    with whole_file(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # PyTorch's zip writer fails so after a failed write
            failed = error.__context__
            raise failed if isinstance(failed, OSError) else OSError(str(error)) from None


def load_tensors(path: Path) -> Any:
    """Read what `save_tensors` wrote, after checking the checksums in the file.

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
    """Make a folder for output files.

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
