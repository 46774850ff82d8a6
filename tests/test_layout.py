"""Finding files: nothing is left out in silence."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataset.layout import files_below
from utils.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("aachen/a.png", "bochum/deep/b.png", "c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_every_file_is_found(folder: Path) -> None:
    assert files_below(folder) == {"aachen/a.png", "bochum/deep/b.png", "c.txt"}
    assert files_below(folder / "missing") == set()


def test_a_subfolder_that_cannot_be_read_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, scan = folder / "bochum/deep", os.scandir

    def scan_open_folders(path: Any) -> Iterator[os.DirEntry[str]]:
        if Path(path) == closed:  # as a folder without permissions does for everyone but root
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scan_open_folders)
    message = f"cannot read the folder {closed}: {os.strerror(errno.EACCES)}\n"
    with pytest.raises(UserError, match=re.escape(message)):
        files_below(folder)
    assert files_below(folder / "aachen") == {"a.png"}
