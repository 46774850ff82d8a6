"""How programs end, what files hold after an accident, command lines, devices."""

import contextlib
import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import filelock
import numpy as np
import pytest
import torch

from model.SEAN import SEANet
from tests.runs import ROOT, contents, full_disk, run_main
from utils.command_line import as_arguments, integer, number, option, read_options, size
from utils.device import choose_device, choose_precision
from utils.errors import UserError, exit_on_error, handling
from utils.files import load_tensors, lock_folder, save_tensors

PROGRAM = """
import sys, time; from pathlib import Path; from utils.errors import exit_on_error
from utils.files import lock_folder, whole_file
with exit_on_error(), lock_folder(Path(sys.argv[1])), whole_file(Path(sys.argv[1]) / "a.mp4"):
    print("a", flush=True); time.sleep(60)
"""


@contextlib.contextmanager
def started(folder):
    """Start the program and wait until it has printed a line; at the end it may have no errors."""
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == b"a\n"
        yield process
        assert process.communicate() == (b"", b"")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("a\n  b"), 2, "error: a\n  b\n"),
        (UserError("a\udce9"), 2, "error: a\\udce9\n"),  # a name that is not UTF-8
        (KeyboardInterrupt(), 130, ""),
        (MemoryError("no more"), 2, "error: out of memory: no more\n  free some; or"),
        (RuntimeError("CUDA out of memory"), 2, "error: out of memory: CUDA"),
    ],
)
def test_status_and_message(error, status, message, capfd):
    assert run_main(exit_on_error()(Mock(side_effect=error))) == status
    output, errors = capfd.readouterr()
    assert output == ""
    assert errors.startswith(message)
    assert bool(message) == bool(errors)
    with pytest.raises(ValueError, match="a mistake of ours"):
        run_main(exit_on_error()(Mock(side_effect=ValueError("a mistake of ours"))))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_half_written_is_removed(number, tmp_path):
    with started(tmp_path) as process:
        assert len(list(tmp_path.glob(".part-*.mp4"))) == 1
        process.send_signal(number)
    assert process.returncode == 128 + number
    assert not contents(tmp_path, ".lock")


def test_handlers_are_as_before_and_other_threads_work_without():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    main = exit_on_error()(lambda: None)
    main()
    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as by nohup
    with handling(lambda *_: None, "SIGINT", "SIGTERM", "SIGNOTHING"):
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is not before[0]
    signal.signal(signal.SIGTERM, before[1])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def content(seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = {"a.weight": torch.randn(40, 30, generator=generator), "a.bias": torch.ones(3)}
    return {"teacher": weights, "iteration": 3, "size": (64, 32), "losses": [0.5, None]}


def holds(path, expected):
    found = load_tensors(path)
    tensors, others = found.pop("teacher"), expected.pop("teacher")
    assert tensors.keys() == others.keys()
    return found == expected and all(torch.equal(tensors[name], others[name]) for name in others)


def test_tensors_are_read_as_written_and_the_file_before_can_be_kept(tmp_path):
    path, before = tmp_path / "last.pth", tmp_path / "previous.pth"
    for seed in (2, 1, 0):
        save_tensors(path, content(seed), keep=before)
    assert holds(path, content(0))
    assert holds(before, content(1))
    assert sorted(contents(tmp_path)) == ["last.pth", "previous.pth"]


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_full_disk_leaves_the_old_file_and_is_named(size, tmp_path):
    (tmp_path / "last.pth").write_bytes(b"before")
    with pytest.raises(UserError, match=os.strerror(errno.EFBIG)), full_disk(2 * size):
        save_tensors(tmp_path / "last.pth", torch.zeros(size))
    with pytest.raises(UserError, match=r"cannot write .*gone/last"):
        save_tensors(tmp_path / "gone/last.pth", content())
    assert contents(tmp_path) == {"last.pth": b"before"}


def test_a_flipped_bit_anywhere_is_detected_or_harmless(tmp_path):
    path = tmp_path / "last.pth"
    save_tensors(path, content())
    whole, found = path.read_bytes(), 0
    for place in np.linspace(0, len(whole) - 1, 150).astype(int):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        try:
            assert holds(path, content())
        except UserError:
            found += 1
    assert found > 100
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UserError, match=r"last\.pth is"):
            load_tensors(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>Quota exceeded</html>", "it is a web page"),
        (b"", "not a checkpoint"),
        (b"some text", "not a checkpoint"),
        (pickle.dumps(Path("code"), 2), "not a checkpoint"),
    ],
)
def test_what_is_saved_as_weights_by_mistake_is_named(data, reason, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"weights\.pth .*{reason}"):
        load_tensors(path)
    torch.save(SEANet(3, width=1 / 64), path)  # the whole module
    with pytest.raises(UserError, match=r"save its state_dict\(\)"):
        load_tensors(path)


def test_a_folder_is_locked_by_one_process_until_it_ends(tmp_path):
    with started(tmp_path) as process:
        with pytest.raises(UserError, match="in use by another process"):
            lock_folder(tmp_path)
        process.kill()
    assert list(tmp_path.glob(".part-*")), "of the killed process"
    with lock_folder(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write into .*file/new"):
        lock_folder(tmp_path / "file/new")


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, capsys):
    refuse = Mock(side_effect=OSError(errno.ENOLCK, "No locks available"))
    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    lock_folder(tmp_path)
    assert f"warning: the file system of {tmp_path} has no locks" in capsys.readouterr().err


@dataclass(frozen=True)
class Options:
    some_rate: float = option(0.5, "a rate, in %", number(0, 1), group="first")
    times: int | None = option(None, "how often", integer(1), group="second")
    shape: tuple[int, int] = option((8, 9), "W,H", size, group="first")
    fast: bool = option(False, "a switch", group="second")


def test_options_are_read_in_both_spellings_and_shown_in_groups(capsys):
    given = Options(0.0, 3, (16, 32), True)
    for words in ("--some_rate 0 --times 3 --shape 16,32 --fast", as_arguments(given)):
        assert read_options(Options(), "", words.split()) == given
        assert read_options(Options(), "", words.replace("_", "-").split()) == given
    assert read_options(Options(), "", []) == Options()
    assert run_main(lambda: read_options(Options(), "About.", ["--help"])) == 0
    shown = capsys.readouterr().out.partition("first:")[2]
    assert shown.index("--shape") < shown.index("second:") < shown.index("--times")
    assert "a rate, in % (default: 0.5)" in " ".join(shown.split())
    for wrong in ("--some_rate 2", "--some_rate nan", "--shape 1,1", "--fas"):
        assert run_main(lambda words=wrong: read_options(Options(), "", words.split())) == 2
        assert capsys.readouterr().err.count("error: ") == 1


def test_devices_and_precisions_that_are_missing_are_told(monkeypatch, capsys):
    cpu = torch.device("cpu")
    assert choose_device("cpu") == cpu
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="no cuda device"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="process 3 has no GPU: there are 2"):
        choose_device("auto")
    for native in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda n=native: {"avx512_bf16": n})
        assert choose_precision("auto", cpu) == ("bf16" if native else "fp32")
        assert choose_precision("bf16", cpu) == "bf16"
        assert ("no bfloat16 instructions" in capsys.readouterr().err) is not native
