"""Files that are written whole or not at all, and folders that one process at a time writes to."""

import contextlib
import errno
import os
import pickle
import secrets
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import filelock
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from utils.errors import UserError

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


@contextlib.contextmanager
def whole_file(path: Path, sync: bool = True, keep: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a file of another name for writing; move it to ``path`` when the block succeeds.

    An existing file at ``path`` stays until then, and is then moved to ``keep``, if that is given.
    ``sync`` waits until the disk has the file, so that it survives a power cut. UserError if the
    file cannot be written; whatever was at ``path`` is unchanged.
    """
    part = path.with_name(f".part-{secrets.token_hex(8)}{path.suffix}")
    try:
        with open(part, "wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        if keep and path.exists():
            os.replace(path, keep)
        os.replace(part, path)
    except OSError as error:
        remedy = "files saved earlier are unchanged; free some space or choose another folder"
        raise UserError(f"cannot write {path}: {error.strerror or error}\n  {remedy}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def save_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture, uint8, (H, W) or (H, W, 3); raises as `whole_file`."""
    with whole_file(path) as file:
        Image.fromarray(picture).save(file, "PNG")


def save_tensors(path: Path, content: Any, keep: Path | None = None) -> None:
    """Save tensors and plain values as a `whole_file`; equal contents give equal bytes."""
    with whole_file(path, keep=keep) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # PyTorch's zip writer fails so after a failed write
            failed = error.__context__
            raise failed if isinstance(failed, OSError) else OSError(str(error)) from None


def load_tensors(path: str | Path) -> Any:
    """Read tensors, on the CPU, and plain values, after checking checksums; no code in it is run.

    UserError if the file is missing or damaged, or holds something else.
    """
    reason = "it is damaged, or holds something other than tensors and plain values"
    try:
        with open(path, "rb") as file:
            start = file.read(64)
        if start.startswith(b"version https://git-lfs"):
            reason = "it is a Git LFS pointer; `git lfs pull` fetches the file itself"
        elif start.lstrip()[:1] == b"<":
            reason = "it is a web page: the download went wrong"
        elif start[:2] == b"PK":
            with zipfile.ZipFile(path) as archive:  # torch reads a flipped bit silently
                damaged = archive.testzip()
            if damaged:
                raise UserError(f"{path} is damaged: bad checksum of {damaged}\n  fetch it again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except OSError as error:
        reason = error.strerror or reason
    except pickle.UnpicklingError as error:  # which advises to run the file's code
        if "Unsupported global" in str(error):
            reason = "it is a pickled module or object, which could run code; save its state_dict()"
    except Exception:  # PyTorch's reader raises a dozen kinds
        pass
    remedy = "fetch it again, or give a state dict: tensors by name, saved with torch.save"
    raise UserError(f"{path} is not a checkpoint: {reason}\n  {remedy}")


def lock_folder(folder: Path) -> contextlib.ExitStack:
    """Lock a folder, made if needed, until the result is closed or the process ends.

    UserError if the folder cannot be made or written to, or another process is using it.
    """
    lock = filelock.FileLock(folder / ".lock", fallback_to_soft=False)
    remedy = "choose another folder for output"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        text = f"{folder} is in use by another process\n  wait until it ends, or {remedy}"
        raise UserError(text) from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise UserError(f"cannot write into {folder}: {error.strerror}\n  {remedy}") from None
        text = f"warning: the file system of {folder} has no locks: start one run at a time in it"
        print(text, file=sys.stderr)
    for part in folder.glob(".part-*"):  # which killed processes left
        with contextlib.suppress(OSError):
            part.unlink()
    held = contextlib.ExitStack()
    held.callback(lock.release)
    return held
