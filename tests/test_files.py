"""Files are written whole or not at all, and what is read is what was written."""

import errno
import os
import pickle
import re
import secrets
import stat
import warnings
import zipfile

import pytest
import torch

from tests.runs import full_disk
from utils.errors import UserError
from utils.files import (
    load_tensors,
    remove_parts,
    replace_when_done,
    save_tensors,
    whole_file,
)

MOST = 1_000_000  # bytes to read


def content(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "teacher": {"a.weight": torch.randn(40, 30, generator=generator), "a.bias": torch.ones(3)},
        "half": torch.randn(5, generator=generator).bfloat16(),
        "epoch": 3,
        "options": {"input_size": (64, 32), "restore_from": "none", "max_iters": None},
        "losses": [0.5, 0.25],
    }


def equal(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    return type(first) is type(second) and first == second


def files(folder):
    """Name -> content, links being followed nowhere."""
    return {f.name: "link" if f.is_symlink() else f.read_bytes() for f in folder.iterdir()}


# --- writing ----------------------------------------------------------------------------------


def test_round_trip(tmp_path):
    path = tmp_path / "last.pth"
    for seed in (1, 0):  # new content replaces the old
        save_tensors(path, content(seed))
    assert equal(load_tensors(path, MOST), content())
    assert not equal(load_tensors(path, MOST), content(seed=1))
    assert equal(torch.load(path, weights_only=True), content())
    assert [file.name for file in tmp_path.iterdir()] == ["last.pth"]


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_write_that_fails_half_way_says_why_and_leaves_the_old_file(tmp_path, size):
    path = tmp_path / "last.pth"
    path.write_bytes(b"what was saved before")
    with pytest.raises(UserError, match=os.strerror(errno.EFBIG)) as caught, full_disk(2 * size):
        save_tensors(path, torch.zeros(size))
    assert "inline_container" not in str(caught.value)
    assert files(tmp_path) == {"last.pth": b"what was saved before"}


def test_the_temporary_file_is_no_other_file_and_is_removed_later(tmp_path, monkeypatch):
    """By `remove_parts`, if the process that wrote it was killed."""
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0123456789abcdef")
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / ".part-0123456789abcdef.pth").symlink_to("mine")
    (tmp_path / ".part-1.png").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"cannot write .*last\.pth"):
        save_tensors(tmp_path / "last.pth", content())
    (tmp_path / ".part-fedcba9876543210.pth").write_bytes(b"of a killed process")
    remove_parts(tmp_path)
    assert files(tmp_path) == {"mine": b"mine", ".part-1.png": b"mine"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interruption_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "history.npz"
    path.write_bytes(b"what was saved before")

    def write_half():
        with whole_file(path) as file:
            file.write(b"half of")
            raise error

    with pytest.raises(error):
        write_half()
    assert files(tmp_path) == {"history.npz": b"what was saved before"}


def test_a_writer_that_needs_a_path_gets_one_with_the_extension(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"earlier")
    with replace_when_done(path) as part:
        assert part.suffix == ".mp4"
        part.write_bytes(b"new")
        assert path.read_bytes() == b"earlier"
    assert files(tmp_path) == {"out.mp4": b"new"}


def test_place_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for place in ("gone/last.pth", "file/last.pth", "a" * 256):
        with pytest.raises(UserError, match=re.escape(f"cannot write {tmp_path / place}")):
            save_tensors(tmp_path / place, content())
    assert files(tmp_path) == {"file": b"in the way"}


@pytest.mark.skipif(os.name != "posix", reason="only POSIX systems sync folders")
def test_the_move_is_synced_too(tmp_path, monkeypatch):
    synced = []

    def note(descriptor):
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), (tmp_path / "a").exists()))

    monkeypatch.setattr(os, "fsync", note)
    with whole_file(tmp_path / "a") as file:
        file.write(b"content")
    assert synced == [(False, False), (True, True)]


# --- reading ----------------------------------------------------------------------------------


def test_flipped_bit_anywhere_is_detected_or_harmless(tmp_path):
    path = tmp_path / "last.pth"
    saved = {"weights": torch.arange(20.0), "epoch": 3}
    save_tensors(path, saved)
    whole = path.read_bytes()
    harmful = []
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 0x80
        path.write_bytes(damaged)
        try:
            if not equal(load_tensors(path, MOST), saved):
                harmful.append(f"{place}: read as something else")
        except UserError:
            continue
        except Exception as error:
            harmful.append(f"{place}: {type(error).__name__}")
    assert harmful == []


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.9, 0.999])
def test_truncated_file_is_detected(tmp_path, share, zipped):
    path = tmp_path / "last.pth"
    torch.save(content(), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refuse_to_load(path)


def test_missing_file_and_folder_are_named(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(UserError, match=re.escape(str(path))):
            load_tensors(path, MOST)


def refuse_to_load(path, reason=""):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match=rf"{re.escape(str(path))} .*{reason}.*\n  ") as caught:
            load_tensors(path, MOST)
    assert len(str(caught.value).splitlines()) == 2
    assert "weights_only" not in str(caught.value)  # no advice to switch the protection off


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "last.pth")
    refuse_to_load(tmp_path / "last.pth", "no such file")


@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_too_large_is_not_unpacked(tmp_path, zipped):
    path = tmp_path / "last.pth"
    torch.save(torch.zeros(MOST), tmp_path / "large", _use_new_zipfile_serialization=zipped)
    (tmp_path / "large").rename(path)
    if zipped:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        assert path.stat().st_size < MOST / 10
    refuse_to_load(path, "holds 4 MB, more than 1")


def test_a_torchscript_program_is_named(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)).save(tmp_path / "net.pt")
    refuse_to_load(tmp_path / "net.pt", "TorchScript")


@pytest.mark.parametrize("kind", ["zipped", "older", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path, kind):
    path, marker = tmp_path / "last.pth", tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    if kind == "pickle":
        path.write_bytes(pickle.dumps(Payload(), protocol=2))
    else:
        torch.save({"epoch": Payload()}, path, _use_new_zipfile_serialization=kind == "zipped")
    refuse_to_load(path, "something other than tensors and plain values")
    assert not marker.exists()
    pickle.loads(pickle.dumps(Payload()))
    assert marker.exists()  # so that the payload would have worked


@pytest.mark.parametrize("zipped", [True, False])
def test_a_large_bytearray_is_not_made(tmp_path, zipped):
    class Large:
        def __reduce__(self):
            return bytearray, (5 * 10**9,)

    torch.save(Large(), tmp_path / "last.pth", _use_new_zipfile_serialization=zipped)
    refuse_to_load(tmp_path / "last.pth", "it holds a bytearray")


@pytest.mark.parametrize(
    "content",
    [
        *(b"", bytes(1000), b"these are not weights\n"),
        b"<!DOCTYPE html><title>Quota exceeded</title>",
        *(pickle.dumps([1, {2: 3}], protocol) for protocol in (2, 4, 5)),
    ],
    ids=["empty", "zeros", "text", "web page", *("pickle 2", "pickle 4", "pickle 5")],
)
def test_what_is_no_file_of_tensors_is_refused(tmp_path, content):
    (tmp_path / "net.pth").write_bytes(content)
    refuse_to_load(tmp_path / "net.pth")
