"""Resized images and label maps kept on disk, so that each file is decoded once (`--cache_dir`).

An entry is an array's bytes, in a file called by a digest of what it was made from: the file's
path, size and times of change, and the settings. A changed file or option has another entry, so
none is ever stale. It is written beside its place and moved there, so none is ever half; processes
that make the same entry at once write the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError

VERSION = 1
"""To raise when the same file and settings give other values: other decoding, other resizing."""

BLOCK = 4096
"""Bytes by which file systems give out their space."""


class Cache:
    """Arrays made from files.

    Args:
        folder: where they are kept; made when the first is. It may be shared by runs, be read-only
            once it is complete, and be deleted at any time between runs.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def entry(self, file: Path, settings: str) -> Path:
        """Where the array made from a file with these settings is kept.

        Raises:
            UserError: there is no such file.
        """
        try:
            status = file.stat()
        except OSError as error:
            raise UserError(f"cannot read {file}: {error.strerror}") from None
        times = f"{status.st_mtime_ns} {status.st_ctime_ns}"  # cp -p gives an older file's mtime
        source = f"{VERSION} {settings} {status.st_size} {times} ".encode()
        digest = hashlib.sha256(source + os.fsencode(file.resolve())).hexdigest()
        return self.folder / digest[:2] / digest[2:34]

    def array(
        self,
        file: Path,
        settings: str,
        shape: tuple[int, ...],
        make: Callable[[], NDArray[np.uint8]],
    ) -> NDArray[np.uint8]:
        """The array of a file, made now if it was not before.

        Args:
            file: what it is made from.
            settings: everything else that its values depend on.
            shape: the array's.
            make: computes it.

        Returns:
            Memory-mapped and read-only, or just made.

        Raises:
            UserError: the file cannot be read. (An entry that cannot be written costs time alone,
                and is warned of.)
        """
        entry = self.entry(file, settings)
        with contextlib.suppress(OSError):
            if entry.stat().st_size == math.prod(shape):
                return np.memmap(entry, np.uint8, "r", shape=shape)
        array = make()
        try:
            self._write(entry, array)
        except OSError as error:
            warnings.warn(f"{self._unwritable(error)}; going on without", stacklevel=2)
        return array

    def _write(self, entry: Path, array: NDArray[np.uint8]) -> None:
        entry.parent.mkdir(parents=True, exist_ok=True)
        beside = self.folder / f"{uuid.uuid4().hex}.part"
        try:
            with open(beside, "wb") as file:
                file.write(array.tobytes())
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, entry)
        finally:
            beside.unlink(missing_ok=True)

    def reserve(self, entries: Mapping[Path, int]) -> str:
        """Check that the disk has the space, before anything is made; drop what was left half.

        Args:
            entries: their places and how many values each has.

        Returns:
            A line that says how much is needed.

        Raises:
            UserError: the disk has less, or the folder cannot be written to.
        """
        missing = [size for entry, size in entries.items() if not entry.exists()]
        if not missing:
            return f"{self.folder} has all {len(entries)} entries"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise self._unwritable(error) from None
        for part in self.folder.glob("*.part"):  # of a process that was killed
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > 3600:
                    part.unlink()
        needed = sum(-(-size // BLOCK) * BLOCK for size in missing)
        free = shutil.disk_usage(self.folder).free
        summary = (
            f"{self.folder} lacks {len(missing)} of {len(entries)} entries: {needed / 1e9:.2f} GB "
            f"to write, {free / 1e9:.2f} GB free"
        )
        if needed > free:
            raise UserError(f"{summary}\n  free space, choose another --cache_dir, or leave it out")
        return summary

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write into the cache {self.folder}: {error.strerror or error}\n"
            "  free space, choose another --cache_dir, or leave it out"
        )
