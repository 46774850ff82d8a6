"""How programs end, what files hold after an accident, command lines, devices."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
import torch

from model.SEAN import SEANet
from tests.runs import ROOT, contents, full_disk
from utils.command_line import as_arguments, integer, number, option, read_options, size
from utils.device import choose_device, choose_precision, with_precision
from utils.errors import UserError, counted, exit_on_error, handling
from utils.files import load_tensors, lock_folder, save_tensors

# --- how programs end -------------------------------------------------------------------------

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from utils.errors import UserError, exit_on_error
from utils.files import whole_file

@exit_on_error()
def main():
    {body}

main()
"""
HALF = "with whole_file(Path(sys.argv[1])): print('a', flush=True); time.sleep(60)"


def start(body: str, *words: object, **streams: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM.format(body=body), *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, **(pipes | streams))


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("raise UserError('a\\n  b')", 2, b"error: a\n  b\n"),
        ("raise UserError('a\\udce9')", 2, b"error: a\\udce9\n"),  # a name that is not UTF-8
        ("raise KeyboardInterrupt", 130, b""),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", 143, b""),
        ("raise MemoryError('no more')", 2, b"error: out of memory: no more\n  give a smaller"),
        ("raise RuntimeError('CUDA out of memory')", 2, b"error: out of memory: CUDA"),
        ("raise ValueError('a mistake of ours')", 1, b"Traceback"),
    ],
)
def test_status_and_message(body: str, status: int, message: bytes) -> None:
    with start(body) as process:
        output, errors = process.communicate()
    assert (output, process.returncode) == (b"", status)
    assert errors.startswith(message)
    assert bool(message) == bool(errors)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_half_written_is_removed(number: signal.Signals, tmp_path: Path) -> None:
    with start(HALF, tmp_path / "a.mp4") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"a\n"
        assert [path.suffix for path in tmp_path.iterdir()] == [".mp4"]
        process.send_signal(number)
        assert process.communicate() == (b"", b"")
    assert process.returncode == 128 + number
    assert not list(tmp_path.iterdir())


def test_nobody_reads_the_output() -> None:
    with start("[print('a' * 9999, flush=True) for _ in range(99)]") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_the_output_goes_to_a_full_disk() -> None:
    with open("/dev/full", "w") as full, start("print('a')", stdout=full) as process:
        assert b"error: cannot write the output: No space left" in process.communicate()[1]
    assert process.returncode == 2


def test_handlers_are_as_before_and_other_threads_work_without() -> None:
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
    assert [counted(n, "image") for n in (1, 2)] == ["1 image", "2 images"]


# --- files ------------------------------------------------------------------------------------


def content(seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    weights = {"a.weight": torch.randn(40, 30, generator=generator), "a.bias": torch.ones(3)}
    return {"teacher": weights, "iteration": 3, "size": (64, 32), "losses": [0.5, None]}


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def test_tensors_are_read_as_written_and_the_file_before_can_be_kept(tmp_path: Path) -> None:
    path, before = tmp_path / "last.pth", tmp_path / "previous.pth"
    for seed in (2, 1, 0):
        save_tensors(path, content(seed), keep=before)
    assert equal(load_tensors(path), content(0))
    assert equal(load_tensors(before), content(1))
    assert sorted(contents(tmp_path)) == ["last.pth", "previous.pth"]


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_full_disk_leaves_the_old_file_and_is_named(size: int, tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    path.write_bytes(b"before")
    with pytest.raises(UserError, match=os.strerror(errno.EFBIG)), full_disk(2 * size):
        save_tensors(path, torch.zeros(size))
    assert contents(tmp_path) == {"last.pth": b"before"}
    with pytest.raises(UserError, match=r"cannot write .*gone/last"):
        save_tensors(tmp_path / "gone/last.pth", content())
    assert contents(tmp_path) == {"last.pth": b"before"}


def test_a_flipped_bit_anywhere_is_detected_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    save_tensors(path, content())
    whole, found = path.read_bytes(), 0
    for place in np.linspace(0, len(whole) - 1, 150).astype(int):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        try:
            assert equal(load_tensors(path), content())
        except UserError:
            found += 1
    assert found > 100
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UserError, match=r"last\.pth is"):
            load_tensors(path)


class Code:
    """Unpickling an object of this class would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/tmp/code-has-run",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>Quota exceeded</html>", "it is a web page"),
        (b"", "not a checkpoint"),
        (b"some text", "not a checkpoint"),
        (None, "No such file"),
        (pickle.dumps(Code(), 2), "not a checkpoint"),
    ],
)
def test_what_is_saved_as_weights_by_mistake_is_named(
    data: bytes | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UserError, match=reason) as caught:
        load_tensors(path)
    assert str(path) in str(caught.value)
    assert not Path("/tmp/code-has-run").exists()
    torch.save(SEANet(3, width=1 / 64), path)  # the whole module
    with pytest.raises(UserError, match=r"save its state_dict\(\)"):
        load_tensors(path)


HOLDS = """
import sys; from pathlib import Path; from utils.files import lock_folder
lock = lock_folder(Path(sys.argv[1])); print("locked", flush=True); sys.stdin.read()
"""


def test_a_folder_is_locked_by_one_process_until_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(UserError, match="in use by another process"):
            lock_folder(tmp_path)
        process.kill()
    (tmp_path / ".part-0123.pth").write_bytes(b"of the killed process")
    with lock_folder(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write into .*file/new"):
        lock_folder(tmp_path / "file/new")


def test_a_file_system_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    lock_folder(tmp_path)
    assert f"warning: the file system of {tmp_path} has no locks" in capsys.readouterr().err


# --- command lines, devices -------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    some_rate: float = option(0.5, "a rate, in %", number(0, 1), group="first")
    times: int | None = option(None, "how often", integer(1), group="second")
    shape: tuple[int, int] = option((8, 9), "W,H", size, group="first")
    fast: bool = option(False, "a switch", group="second")


def test_options_are_read_in_both_spellings_and_shown_in_groups(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = Options(0.0, 3, (16, 32), True)
    for words in ("--some_rate 0 --times 3 --shape 16,32 --fast", as_arguments(given)):
        assert read_options(Options(), "", words.split()) == given
        assert read_options(Options(), "", words.replace("_", "-").split()) == given
    assert read_options(Options(), "", []) == Options()
    with pytest.raises(SystemExit):
        read_options(Options(), "About.", ["--help"])
    shown = capsys.readouterr().out.partition("first:")[2]
    assert shown.index("--shape") < shown.index("second:") < shown.index("--times")
    assert "a rate, in % (default: 0.5)" in " ".join(shown.split())
    for wrong in (["--some_rate", "2"], ["--some_rate", "nan"], ["--shape", "1,1"], ["--fas"]):
        with pytest.raises(SystemExit) as ended:
            read_options(Options(), "", wrong)
        assert ended.value.code == 2
        assert capsys.readouterr().err.count("error: ") == 1


def test_devices_and_precisions_that_are_missing_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_bf16_runs_in_bfloat16_with_float32_weights_and_gradients() -> None:
    torch.manual_seed(0)
    network = SEANet(3, width=1 / 64)
    images = 40 * torch.randn(1, 3, 16, 32)
    assert with_precision(network, "fp32") is network
    rounded = with_precision(network, "bf16")
    exact, ours = network(images), rounded(images)
    assert ours.logits.dtype == torch.bfloat16
    assert (ours.logits - exact.logits).abs().max() < 0.02 * exact.logits.abs().max()
    ours.logits.float().sum().backward()
    first = next(network.parameters())
    assert first.grad is not None
    assert first.dtype == first.grad.dtype == torch.float32
