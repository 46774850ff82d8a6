"""The cache: what it keeps equals what the files give, and nothing in it is stale or half."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from dataset.cache import Cache
from dataset.cityscapes_dataset import CityscapesDataset
from dataset.demo import write_demo
from dataset.gta5_dataset import GTA5Dataset
from dataset.segmentation_dataset import SegmentationDataset
from utils.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_demo(tmp_path, "gta5", count_source=3, count_target=2, size=(64, 32))
    return tmp_path


def source(folder: Path, cache: Cache | None, size: tuple[int, int] = (40, 24)) -> GTA5Dataset:
    return GTA5Dataset(folder / "GTA5", size, cache=cache)


def scored(folder: Path, cache: Cache | None) -> CityscapesDataset:
    return CityscapesDataset(folder / "Cityscapes", (40, 24), labels="own size", cache=cache)


def assert_equal(cached: SegmentationDataset, plain: SegmentationDataset) -> None:
    for one, other in zip(
        (cached[i] for i in range(len(cached))),
        (plain[i] for i in range(len(plain))),
        strict=True,
    ):
        assert one.name == other.name
        assert torch.equal(one.image, other.image)
        assert one.image.is_contiguous()
        assert one.image.dtype == torch.uint8
        assert one.label is not None
        assert other.label is not None
        assert torch.equal(one.label, other.label)


def forbidden() -> np.ndarray:
    raise AssertionError("made a second time")


def test_samples_are_the_files_when_cold_and_when_warm(folder: Path) -> None:
    cache = Cache(folder / "cache")
    for make in (source, scored):
        for _ in range(2):
            assert_equal(make(folder, cache), make(folder, None))


def test_a_warm_cache_decodes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(folder / "cache")
    before = [source(folder, cache)[i] for i in range(3)]
    monkeypatch.setattr(
        "dataset.segmentation_dataset.read_image", lambda path, upright: forbidden()
    )
    monkeypatch.setattr("dataset.segmentation_dataset.read_label_ids", lambda *_: forbidden())
    for index, sample in enumerate(before):
        assert torch.equal(source(folder, cache)[index].image, sample.image)
        assert source(folder, cache)[index].problem == ""


def test_a_changed_file_is_read_again(folder: Path) -> None:
    cache, data = Cache(folder / "cache"), source(folder, None)
    source(folder, cache)[0]
    image, label = data.image_folder / data.names[0], data.label_folder / data.names[0]
    Image.new("RGB", (64, 32), (9, 80, 200)).save(image)
    Image.new("L", (64, 32), 26).save(label)
    assert (source(folder, cache)[0].image[2] == 200).all()
    assert_equal(source(folder, cache), data)
    status = image.stat()
    Image.new("RGB", (64, 32), (9, 80, 201)).save(image)
    assert image.stat().st_size == status.st_size
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))  # as `cp -p` does: ctime tells
    assert (source(folder, cache)[0].image[2] == 201).all()


def test_names_need_not_be_utf_8(folder: Path) -> None:
    data = source(folder, None)
    name = os.fsdecode(b"caf\xe9.png")
    (data.image_folder / data.names[0]).rename(data.image_folder / name)
    (data.label_folder / data.names[0]).rename(data.label_folder / name)
    assert_equal(source(folder, Cache(folder / "cache")), source(folder, None))


def test_a_changed_option_is_another_entry(folder: Path) -> None:
    cache = Cache(folder / "cache")
    assert_equal(source(folder, cache), source(folder, None))
    assert_equal(source(folder, cache, (48, 24)), source(folder, None, (48, 24)))
    other = GTA5Dataset(folder / "GTA5", (40, 24), ignore_label=200, cache=cache)
    assert_equal(other, GTA5Dataset(folder / "GTA5", (40, 24), ignore_label=200))
    own_size = GTA5Dataset(folder / "GTA5", (40, 24), labels="own size", cache=cache)
    label = own_size[0].label
    assert label is not None
    assert label.shape == (32, 64)


def entries(cache: Cache) -> list[Path]:
    return sorted(path for path in cache.folder.rglob("*") if path.is_file())


def test_a_damaged_entry_is_made_anew(folder: Path) -> None:
    cache = Cache(folder / "cache")
    data = source(folder, cache)
    data[0]
    for entry in entries(cache):
        entry.write_bytes(entry.read_bytes()[:-100])
    assert_equal(data, source(folder, None))
    for content in (b"", bytes(10_000)):
        for entry in entries(cache):
            entry.write_bytes(content)
        assert_equal(data, source(folder, None))


def test_a_complete_cache_may_be_read_only(folder: Path) -> None:
    cache = Cache(folder / "cache")
    needed = source(folder, cache).cache_entries(cache)
    assert_equal(source(folder, cache), source(folder, None))
    folder.joinpath("cache").rename(folder / "elsewhere")
    folder.joinpath("cache").symlink_to("/proc/self")  # where nobody can write
    with pytest.raises(UserError, match="cannot write into the cache"):
        cache.reserve(needed)
    folder.joinpath("cache").unlink()
    folder.joinpath("elsewhere").rename(folder / "cache")
    for part in (folder / "cache").iterdir():
        part.chmod(0o500)
    (folder / "cache").chmod(0o500)
    assert "has all 6 entries" in cache.reserve(needed)
    assert_equal(source(folder, cache), source(folder, None))


def test_what_is_cut_off_while_writing_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(folder / "cache")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.warns(UserWarning, match="No space left") as warned:
            assert_equal(source(folder, cache), source(folder, None))
    assert str(cache.folder) in str(warned[0].message)
    assert entries(cache) == []
    assert_equal(source(folder, cache), source(folder, None))


def test_what_a_killed_process_left_is_removed_in_time(folder: Path) -> None:
    cache = Cache(folder / "cache")
    cache.folder.mkdir()
    old, new = cache.folder / "a.part", cache.folder / "b.part"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache.reserve({cache.folder / "missing": 1})
    assert entries(cache) == [new]


def test_entries_are_as_readable_as_other_files(folder: Path) -> None:
    cache = Cache(folder / "cache")
    source(folder, cache)[0]
    (folder / "other").touch()
    assert {entry.stat().st_mode for entry in entries(cache)} == {(folder / "other").stat().st_mode}


def test_bad_images_are_not_kept(folder: Path) -> None:
    cache, data = Cache(folder / "cache"), source(folder, None)
    (data.image_folder / data.names[0]).write_bytes(b"broken")
    assert "not an image" in source(folder, cache)[0].problem
    assert "not an image" in source(folder, cache)[0].problem


def test_the_space_announced_is_the_space_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(folder / "cache")
    sets = [source(folder, cache), scored(folder, cache)]
    sets.append(CityscapesDataset(folder / "Cityscapes", (40, 24), labels="none", cache=cache))
    needed: dict[Path, int] = {}
    for data in sets:
        needed |= data.cache_entries(cache)
    taken = 4096 * len(needed)  # each is smaller than a block of the disk
    assert max(needed.values()) <= 4096

    class Disk(NamedTuple):
        total: int
        used: int
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(10**9, 0, taken - 1))
    with pytest.raises(UserError, match="12 of 12 entries"):
        cache.reserve(needed)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(10**9, 0, taken))
    cache.reserve(needed)
    assert entries(cache) == []
    for data in sets:
        for index in range(len(data)):
            assert data[index].problem == ""
    assert sorted(needed) == entries(cache)
    assert [entry.stat().st_size for entry in entries(cache)] == [needed[e] for e in sorted(needed)]
    assert "all 12 entries" in cache.reserve(needed)


def _read_all(folder: Path) -> list[bytes]:
    data = source(folder, Cache(folder / "cache"))
    return [data[index].image.numpy().tobytes() for index in range(len(data))]


def test_processes_may_fill_it_at_once(folder: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        read = pool.map(_read_all, [folder] * 6)
    plain = source(folder, None)
    assert read == [[plain[i].image.numpy().tobytes() for i in range(3)]] * 6
    assert len(entries(Cache(folder / "cache"))) == 6  # and nothing half beside them
