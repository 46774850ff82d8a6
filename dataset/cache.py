"""Resized images and label maps kept on disk, so that each file is decoded once (`--cache_dir`).

An entry is a NumPy file, named by a digest of what it was made from: the image file's path, size
and times of change, and the settings. A changed file or option has another entry, so entries never
go stale. Processes that make the same entry at once write the same bytes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError
from utils.files import replace_when_done

# Raise it when the same file and settings give other values: other decoding, other resizing.
VERSION = 2


class Cache:
    """Arrays made from files, kept in a folder that is made when the first one is written.

    Runs may share it. It may be read-only once it is complete, and deleted between runs.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def entry(self, file: Path, settings: str) -> Path:
        """Return where the array made from a file is kept; UserError if there is no such file."""
        try:
            status = file.stat()
        except OSError as error:
            raise UserError(
                f"cannot read {file}: {error.strerror}\n"
                "  restore the file, or leave it out with a list file"
            ) from None
        times = f"{status.st_mtime_ns} {status.st_ctime_ns}"  # cp -p gives an older file's mtime
        source = f"{VERSION} {settings} {status.st_size} {times} ".encode()
        digest = hashlib.sha256(source + os.fsencode(file.resolve())).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:34]}.npy"

    def array(
        self,
        file: Path,
        settings: str,
        shape: Sequence[int | None],
        make: Callable[[], NDArray[np.uint8]],
    ) -> NDArray[np.uint8]:
        """Return the array of a file; make and keep it if there is no entry yet.

        An entry that cannot be written is a warning, since it costs only time. UserErrors of
        ``make`` are passed on; ``settings`` tells all that its result depends on except the file.
        An entry of another type than uint8 or another shape is replaced; None is any length.
        """
        entry = self.entry(file, settings)
        kept = _read(entry, shape)
        if kept is not None:
            return kept
        array = make()
        try:
            # After a power cut an entry may be cut short, which is noticed when it is read.
            entry.parent.mkdir(parents=True, exist_ok=True)
            with replace_when_done(entry, sync=False) as part:
                np.save(part, array)
        except (UserError, OSError) as error:
            first, cache = str(error).splitlines()[0], f"the cache {self.folder}"
            _warn(f"{first.replace(str(entry), cache)}; going on without it")
        return array

    def reserve(self, entries: Mapping[Path, int]) -> str:
        """Check that the disk has space for entries of these sizes in bytes; say how much.

        Raises:
            UserError: the disk has less space, or the folder cannot be written to.
        """
        missing = [size for entry, size in entries.items() if not os.path.isfile(entry)]
        if not missing:
            return f"{self.folder} has all {len(entries)} entries"
        remedy = "free space, choose another --cache_dir, or leave it out"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            reason = f"cannot write the cache {self.folder}: {error.strerror or error}"
            raise UserError(f"{reason}\n  {remedy}") from None
        for part in self.folder.glob("part-*"):  # of killed processes, or still being written
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > 3600:
                    part.unlink()
        free = shutil.disk_usage(self.folder).free
        summary = (
            f"{self.folder} lacks {len(missing)} of {len(entries)} entries: "
            f"{sum(missing) / 1e9:.2f} GB to write, {free / 1e9:.2f} GB free"
        )
        if sum(missing) > free:
            raise UserError(f"{summary}\n  {remedy}")
        return summary


def _read(entry: Path, shape: Sequence[int | None]) -> NDArray[np.uint8] | None:
    """Return the array of an entry; None if it is missing, damaged, another array or no file."""
    if not os.path.isfile(entry):  # opening a pipe would wait for its writer
        return None
    with contextlib.suppress(Exception):  # damaged headers raise many kinds
        kept = np.lib.format.open_memmap(entry, mode="r")
        pairs = zip(shape, kept.shape, strict=True)
        if kept.dtype == np.uint8 and all(length in (None, own) for length, own in pairs):
            return kept
    return None


@functools.cache  # shown once per process
def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
