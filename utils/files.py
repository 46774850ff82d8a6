"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import secrets
import stat
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from utils.errors import UserError, printable

_PART = re.compile(r"\.part-[0-9a-f]{16}(\..*)?", re.DOTALL)


@contextlib.contextmanager
def replace_when_done(path: Path, part: Path | None = None, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path; move the file to ``path`` when the block succeeds.

    Args:
        path: where the file goes. A file that is already there stays until the new one is complete.
        part: the temporary path; by default an empty file next to ``path``, of the same extension,
            whose name no other file has.
        sync: whether to wait until the disk has it, so that it survives a power cut.

    Raises:
        UserError: the file cannot be written; whatever was at ``path`` is unchanged.
    """
    temporary = part or path.with_name(f".part-{secrets.token_hex(8)}{path.suffix}")
    try:
        if part is None:
            temporary.touch(exist_ok=False)
        yield temporary
        if sync:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"cannot write {printable(path)}: {error.strerror or error}\n"
            "  files saved earlier are unchanged; free some space or choose another folder"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    if sync:
        _sync_folder(path.parent)


def remove_parts(folder: Path) -> None:
    """Remove the temporary files that killed processes left; none must be writing there."""
    for path in folder.glob(".part-*"):
        if _PART.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears at ``path`` once it is complete.

    Errors are those of `replace_when_done`.
    """
    with replace_when_done(path) as temporary, open(temporary, "wb") as file:
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


def load_tensors(path: str | Path, most_bytes: int) -> Any:
    """Read a file of torch.save, after checking the checksums in it. No code in it is run.

    Args:
        path: of the file.
        most_bytes: the largest content to read, in bytes when unpacked.

    Returns:
        Tensors on the CPU, and plain values.

    Raises:
        UserError: the file is missing, damaged or too large, or holds something else.
    """
    reason = "it is damaged, or holds something other than tensors and plain values"
    try:
        refusal = _why_not_to_load(path, most_bytes)
        if not refusal:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.load(path, map_location="cpu", weights_only=True)
        reason = refusal
    except OSError as error:
        reason = error.strerror or reason
    except Exception:  # PyTorch's reader raises a dozen kinds, and advises to run the file's code
        pass
    raise UserError(
        f"{printable(path)} is not a checkpoint: {reason}\n"
        "  give a state dict: tensors by name, saved with torch.save"
    )


def _why_not_to_load(path: str | Path, most_bytes: int) -> str:
    """Return what is wrong with a file of torch.save, or an empty text."""
    if not os.path.isfile(path):  # opening a pipe would wait for its writer
        return "there is no such file"
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":  # the format before PyTorch 1.6: one pickle
            too_large = _too_large(os.path.getsize(path), most_bytes)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return too_large or _wrong_pickle(content)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.filename.endswith("/constants.pkl") for member in members):
            return "it is a TorchScript program"
        too_large = _too_large(sum(member.file_size for member in members), most_bytes)
        if too_large:
            return too_large
        damaged = archive.testzip()
        if damaged:
            return f"bad checksum of {printable(damaged)}"
        pickles = [member for member in members if member.filename.endswith(".pkl")]
        return "".join(_wrong_pickle(archive.read(member)) for member in pickles)


def _wrong_pickle(content: bytes | mmap.mmap) -> str:
    """PyTorch's reader makes a bytearray of any size, which a few bytes can ask for."""
    return "it holds a bytearray" if content.find(b"\nbytearray\n") >= 0 else ""


def _too_large(size: int, most: int) -> str:
    return f"it holds {size / 1e6:,.0f} MB, more than {most / 1e6:,.0f}" if size > most else ""


def read_input(path: str | Path, most_bytes: int) -> bytes:
    """Read a file that a user gives.

    Raises:
        OSError: there is no such file, or it cannot be read; ``strerror`` says why.
        ValueError: it is a pipe, socket or device, or is larger than ``most_bytes``.
    """
    # Without O_NONBLOCK, opening a pipe waits until something is written into it.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a file, but a folder, pipe, socket or device")
        if status.st_size > most_bytes:
            size, most = status.st_size / 1e6, most_bytes / 1e6
            raise ValueError(f"it has {size:,.0f} MB; at most {most:,.0f} MB are read")
        return file.read(most_bytes)
