"""A folder for output files: one process at a time writes into it, over no files but its own."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from utils.errors import UserError
from utils.files import read_input, remove_parts, whole_file

LOCK, WRITTEN = ".lock", ".written.json"
MOST_BYTES = 100_000_000
"""Of `WRITTEN`: more than a million names."""


class OutputFolder:
    """Makes a folder, if there is none, and locks it until the process ends.

    The kernel holds the lock and drops it when the process dies, however it dies. On NFS it also
    holds between machines, if the server offers locks.

    Args:
        path: of the folder.

    Raises:
        UserError: the folder cannot be made or written to, or another process is using it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        shown, remedy = path, "choose another folder for output"
        try:
            path.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            self._lock = open(os.open(path / LOCK, flags, 0o666), "rb+", buffering=0)
        except OSError as error:
            raise UserError(f"cannot write into {shown}: {error.strerror}\n  {remedy}") from None
        try:
            # Unlike flock's, this lock is not inherited by worker processes, which live longer.
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise UserError(f"cannot lock {shown}: {error.strerror}\n  {remedy}") from None
            holder = self._read() or "another process"
            raise UserError(
                f"{shown} is in use by {holder}\n  wait until it ends, or {remedy}"
            ) from None
        status = os.fstat(self._lock.fileno())
        is_ours = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        if not is_ours or not re.fullmatch(r"(process \d+ on \S{0,64})?", self._read()):
            raise UserError(f"{shown}/{LOCK} is not this program's\n  move it away, or {remedy}")
        with contextlib.suppress(OSError):  # on a full disk there is a lock, but no note on it
            self._lock.seek(0)
            self._lock.truncate()
            self._lock.write(f"process {os.getpid()} on {platform.node()}".encode())
        remove_parts(path)

    def _read(self) -> str:
        """Return who locked the folder last."""
        return (self._lock.read(200) or b"").decode(errors="replace")

    def claim(self, names: Iterable[str]) -> None:
        """Announce files to write.

        Args:
            names: paths within the folder.

        Raises:
            UserError: one exists, and no earlier run has announced it; nothing is written then.
        """
        file, names = self.path / WRITTEN, set(names)
        try:
            ours = set(map(str, json.loads(read_input(file, MOST_BYTES))))
        except FileNotFoundError:
            ours = set()
        except (OSError, ValueError, TypeError, RecursionError):
            raise UserError(
                f"{file}, the list of files written into this folder, is damaged\n"
                "  empty the folder, or choose another one for output"
            ) from None
        for name in sorted(names - ours):
            if os.path.lexists(self.path / name):
                raise UserError(
                    f"{self.path / name} would be replaced, and this program did not "
                    "write it\n  move it away, or choose another folder for output"
                )
        if names - ours:
            with whole_file(file) as opened:
                opened.write(json.dumps(sorted(names | ours)).encode())
