"""One process writes into an output folder, and over its own files only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import ROOT, make_special
from utils.errors import UserError
from utils.output_folder import LOCK, WRITTEN, OutputFolder

HOLDER = """
import os, sys, time
from pathlib import Path
from utils.output_folder import OutputFolder
held = OutputFolder(Path(sys.argv[1]))
child = os.fork()  # as a loader's worker, which does not end with the holder
if child:
    print(child, flush=True)
time.sleep(600)
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "made/here"
    words = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(UserError, match=f"in use by process {holder.pid} on .*\n  "):
                OutputFolder(folder)
            holder.kill()
            holder.wait()
            os.kill(child, 0)
            OutputFolder(folder)
        finally:
            holder.kill()
            os.kill(child, signal.SIGKILL)
    assert (folder / LOCK).read_text().startswith(f"process {os.getpid()} on ")


def test_only_announced_files_are_replaced(tmp_path: Path) -> None:
    names = ["a.png", "sub/b.png", os.fsdecode(b"caf\xe9.png")]
    OutputFolder(tmp_path).claim(names)
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"ours")
    (tmp_path / "mine\n.txt").write_bytes(b"mine")
    (tmp_path / "gone").symlink_to("nowhere")
    again = OutputFolder(tmp_path)
    again.claim([*names, "new.png"])
    for mine in ("mine\n.txt", "gone"):
        before = (tmp_path / WRITTEN).read_bytes()
        with pytest.raises(UserError, match=r"(mine\\n\.txt|gone) would be replaced, .*\n  move"):
            again.claim(["newer.png", mine])
        assert (tmp_path / WRITTEN).read_bytes() == before


@pytest.mark.parametrize("kind", ["mine", "process of making tea", "process 7 on host", "pipe"])
def test_a_file_of_the_locks_name_is_kept(kind: str, tmp_path: Path) -> None:
    lock = tmp_path / LOCK
    if kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.write_text(kind)
    if kind == "process 7 on host":
        os.link(lock, tmp_path / "mine")
    with pytest.raises(UserError, match=r"is not this program's\n  move it away"):
        OutputFolder(tmp_path)
    assert kind == "pipe" or lock.read_text() == kind


@pytest.mark.parametrize("content", ["", "5", "[1, 2", '[["a.png"]]', "[" * 100_000, "\xff"])
def test_a_damaged_list_frees_no_file(content: str, tmp_path: Path) -> None:
    (tmp_path / WRITTEN).write_text(content, encoding="latin-1")
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"is damaged\n|would be replaced"):
        OutputFolder(tmp_path).claim(["a.png"])
    assert (tmp_path / "a.png").read_bytes() == b"mine"


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_list_that_is_no_file_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    make_special(tmp_path / WRITTEN, kind)
    with pytest.raises(UserError, match=r"is damaged\n"):
        OutputFolder(tmp_path).claim(["a.png"])


@pytest.mark.parametrize("spoilt", ["a file", "a file in the way", "a linked lock", "a folder"])
def test_a_folder_that_cannot_be_used_is_named(spoilt: str, tmp_path: Path) -> None:
    mine, folder = tmp_path / "mine", tmp_path / "maps"
    mine.write_text("mine")
    if spoilt == "a file":
        folder = mine
    elif spoilt == "a file in the way":
        folder = mine / "maps"
    else:
        folder.mkdir()
        lock = folder / LOCK
        lock.symlink_to(mine) if spoilt == "a linked lock" else lock.mkdir()
    with pytest.raises(UserError, match=rf"cannot write into {folder}: \w.*\n  choose another"):
        OutputFolder(folder)
    assert mine.read_text() == "mine"
