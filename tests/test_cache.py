"""The cache: what it keeps equals what the files give, and nothing in it is stale or partial."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image

from dataset.cache import Cache
from dataset.cityscapes_dataset import CityscapesDataset
from dataset.demo import write_demo
from dataset.gta5_dataset import GTA5Dataset
from dataset.segmentation_dataset import LabelUse, SegmentationDataset
from utils.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_demo(tmp_path, "gta5", count_source=3, count_target=2, size=(64, 32))
    return tmp_path


def source(
    folder: Path, cached: bool = True, size: tuple[int, int] = (40, 24), **options: Any
) -> SegmentationDataset:
    cache_dir = str(folder / "cache") if cached else None
    return GTA5Dataset(folder / "GTA5", size, cache_dir=cache_dir, **options)


def target(folder: Path, cached: bool = True, labels: LabelUse = "own size") -> SegmentationDataset:
    cache_dir = str(folder / "cache") if cached else None
    return CityscapesDataset(folder / "Cityscapes", (40, 24), labels=labels, cache_dir=cache_dir)


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


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("made a second time")


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "cache").rglob("*") if path.is_file())


def test_samples_are_the_files_when_cold_and_when_warm(folder: Path) -> None:
    for make in (source, target):
        for _ in range(2):
            assert_equal(make(folder), make(folder, cached=False))


def test_a_warm_cache_decodes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = source(folder)
    before = [data[i] for i in range(3)]
    monkeypatch.setattr("dataset.segmentation_dataset.read_image", forbidden)
    monkeypatch.setattr("dataset.segmentation_dataset.read_label_ids", forbidden)
    for index, sample in enumerate(before):
        assert torch.equal(source(folder)[index].image, sample.image)
        assert torch.equal(source(folder)[index].label, sample.label)


def test_a_changed_file_is_read_again(folder: Path) -> None:
    data = source(folder, cached=False)
    source(folder)[0]
    image, label = data.image_folder / data.names[0], data.label_file(data.names[0])
    Image.new("RGB", (64, 32), (9, 80, 200)).save(image)
    Image.new("L", (64, 32), 26).save(label)
    assert (source(folder)[0].image[2] == 200).all()
    assert_equal(source(folder), data)
    status = image.stat()
    Image.new("RGB", (64, 32), (9, 80, 201)).save(image)
    assert image.stat().st_size == status.st_size
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))  # as `cp -p` does: ctime tells
    assert (source(folder)[0].image[2] == 201).all()


def test_names_need_not_be_utf_8(folder: Path) -> None:
    data = source(folder)
    name = os.fsdecode(b"caf\xe9.png")
    (data.image_folder / data.names[0]).rename(data.image_folder / name)
    (data.label_folder / data.names[0]).rename(data.label_folder / name)
    assert_equal(source(folder), source(folder, cached=False))


def test_a_changed_option_is_another_entry(folder: Path) -> None:
    for options in ({}, {"size": (48, 24)}, {"ignore_label": 200}, {"labels": "own size"}):
        assert_equal(source(folder, **options), source(folder, cached=False, **options))


def test_a_damaged_entry_is_replaced(folder: Path) -> None:
    data = source(folder)
    data[0]
    for entry in entries(folder):
        entry.write_bytes(entry.read_bytes()[:-100])
    assert_equal(data, source(folder, cached=False))
    for content in (b"", bytes(10_000)):
        for entry in entries(folder):
            entry.write_bytes(content)
        assert_equal(data, source(folder, cached=False))


def test_a_complete_cache_may_be_read_only(folder: Path) -> None:
    cache = Cache(folder / "cache")
    needed = source(folder).cache_entries()
    assert_equal(source(folder), source(folder, cached=False))
    cache.folder.rename(folder / "elsewhere")
    cache.folder.symlink_to("/proc/self")  # where nobody can write
    with pytest.raises(UserError, match="cannot write the cache"):
        cache.reserve(needed)
    with pytest.warns(UserWarning, match="cannot write the cache"):
        assert_equal(source(folder), source(folder, cached=False))
    cache.folder.unlink()
    folder.joinpath("elsewhere").rename(cache.folder)
    for part in cache.folder.iterdir():
        part.chmod(0o500)
    cache.folder.chmod(0o500)
    assert "has all 6 entries" in cache.reserve(needed)
    assert_equal(source(folder), source(folder, cached=False))


def test_a_failed_write_leaves_nothing_and_is_one_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.warns(UserWarning, match="No space left") as warned:
            assert_equal(source(folder), source(folder, cached=False))
    message = f"cannot write the cache {folder / 'cache'}: No space left on device; going on"
    assert {str(warning.message).partition(" without")[0] for warning in warned} == {message}
    assert entries(folder) == []
    assert_equal(source(folder), source(folder, cached=False))


def test_what_a_killed_process_left_is_removed_in_time(folder: Path) -> None:
    cache = Cache(folder / "cache")
    cache.folder.mkdir()
    old, new = cache.folder / "a.part", cache.folder / "b.part"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache.reserve({cache.folder / "missing": 1})
    assert entries(folder) == [new]


def test_entries_are_as_readable_as_other_files(folder: Path) -> None:
    source(folder)[0]
    (folder / "other").touch()
    modes = {entry.stat().st_mode for entry in entries(folder)}
    assert modes == {(folder / "other").stat().st_mode}


def test_bad_images_are_not_kept(folder: Path) -> None:
    data = source(folder)
    (data.image_folder / data.names[0]).write_bytes(b"broken")
    for _ in range(2):
        with pytest.raises(UserError, match="not an image"):
            data[0]


def test_the_space_announced_is_the_space_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(folder / "cache")
    sets = [source(folder), target(folder), target(folder, labels="none")]
    needed = {path: size for data in sets for path, size in data.cache_entries().items()}
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
    assert entries(folder) == []
    assert all(data[index].name for data in sets for index in range(len(data)))
    assert sorted(needed) == entries(folder)
    assert [entry.stat().st_size for entry in entries(folder)] == [
        needed[e] for e in sorted(needed)
    ]
    assert "all 12 entries" in cache.reserve(needed)


def _read_all(folder: Path) -> list[bytes]:
    data = source(folder)
    return [data[index].image.numpy().tobytes() for index in range(len(data))]


def test_processes_may_fill_it_at_once(folder: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        read = pool.map(_read_all, [folder] * 6)
    plain = source(folder, cached=False)
    assert read == [[plain[i].image.numpy().tobytes() for i in range(3)]] * 6
    assert len(entries(folder)) == 6  # and no partial files
