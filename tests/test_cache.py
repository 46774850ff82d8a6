"""The cache: what it keeps equals what the files give, and nothing in it is stale or partial."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dataset.cache import Cache
from dataset.cityscapes_dataset import CityscapesDataset
from dataset.gta5_dataset import GTA5Dataset
from dataset.segmentation_dataset import LabelUse, Sample, SegmentationDataset
from tests.runs import contents
from tools.demo import write_demo
from utils.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_demo(tmp_path, "gta5", count_source=3, count_target=2, size=(64, 32))
    return tmp_path


def source(folder: Path, cached: bool = True, **options: Any) -> SegmentationDataset:
    cache_dir = str(folder / "cache") if cached else None
    options = {"size": (40, 24), **options}
    return GTA5Dataset(folder / "GTA5", cache_dir=cache_dir, **options)


def target(folder: Path, cached: bool = True, labels: LabelUse = "own size") -> SegmentationDataset:
    cache_dir = str(folder / "cache") if cached else None
    return CityscapesDataset(folder / "Cityscapes", (40, 24), labels=labels, cache_dir=cache_dir)


def samples(dataset: SegmentationDataset) -> list[Sample]:
    return [dataset[index] for index in range(len(dataset))]


def assert_equal(cached: list[Sample], plain: list[Sample]) -> None:
    for one, other in zip(cached, plain, strict=True):
        assert one.name == other.name
        assert torch.equal(one.image, other.image)
        assert one.image.is_contiguous()
        assert one.image.dtype == torch.uint8
        assert one.label is not None
        assert other.label is not None
        assert torch.equal(one.label, other.label)


def assert_right(folder: Path, **options: Any) -> None:
    """Compare with what is read without a cache."""
    assert_equal(samples(source(folder, **options)), samples(source(folder, False, **options)))


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("made a second time")


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "cache").rglob("*") if path.is_file())


def test_samples_are_the_files_and_decoded_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, name = source(folder), os.fsdecode(b"caf\xe9.png")  # not UTF-8
    (data.image_folder / data.names[0]).rename(data.image_folder / name)
    (data.label_folder / data.names[0]).rename(data.label_folder / name)
    plain = {make: samples(make(folder, cached=False)) for make in (source, target)}
    for make in plain:
        assert_equal(samples(make(folder)), plain[make])
    monkeypatch.setattr("dataset.segmentation_dataset.read_image", forbidden)
    monkeypatch.setattr("dataset.segmentation_dataset.read_label_ids", forbidden)
    for make in plain:
        assert_equal(samples(make(folder)), plain[make])


def test_bad_images_are_not_kept(folder: Path) -> None:
    data = source(folder)
    (data.image_folder / data.names[0]).write_bytes(b"broken")
    for _ in range(2):
        with pytest.raises(UserError, match="not an image"):
            data[0]


def test_a_file_that_is_gone_is_named(folder: Path) -> None:
    message = re.escape(rf"cannot read {folder}/a\n\udce9.png: No such file or directory")
    with pytest.raises(UserError, match=rf"^{message}\n  .*$"):
        Cache(folder / "cache").entry(folder / os.fsdecode(b"a\n\xe9.png"), "")


def test_a_changed_file_is_read_again(folder: Path) -> None:
    data = source(folder)
    data[0]
    image, label = data.image_folder / data.names[0], data.label_file(data.names[0])
    Image.new("RGB", (64, 32), (9, 80, 200)).save(image)
    Image.new("L", (64, 32), 26).save(label)
    assert (source(folder)[0].image[2] == 200).all()
    assert_right(folder)
    status = image.stat()
    Image.new("RGB", (64, 32), (9, 80, 201)).save(image)
    assert image.stat().st_size == status.st_size
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))  # as `cp -p` does: ctime tells
    assert (source(folder)[0].image[2] == 201).all()


def test_a_changed_option_is_another_entry(folder: Path) -> None:
    for options in ({}, {"size": (48, 24)}, {"ignore_label": 200}, {"labels": "own size"}):
        assert_right(folder, **options)


@pytest.mark.parametrize(
    "content",
    [b"", bytes(10_000), None, np.zeros((24, 40)), np.zeros((3, 8, 8), np.uint8), "pipe"],
    ids=lambda content: type(content).__name__,
)
def test_a_damaged_entry_is_replaced(folder: Path, content: object) -> None:
    samples(source(folder))
    kept = contents(folder / "cache")
    for entry in entries(folder):
        if isinstance(content, np.ndarray):
            np.save(entry, content)
        elif content == "pipe":
            entry.unlink()
            os.mkfifo(entry)
        else:
            entry.write_bytes(content if isinstance(content, bytes) else entry.read_bytes()[:-100])
    assert_right(folder)
    assert contents(folder / "cache") == kept


def test_a_complete_cache_may_be_read_only(folder: Path) -> None:
    cache = Cache(folder / "cache")
    needed = source(folder).cache_entries()
    assert_right(folder)
    cache.folder.rename(folder / "elsewhere")
    cache.folder.symlink_to("/proc/self")  # where nobody can write
    with pytest.raises(UserError, match="cannot write the cache"):
        cache.reserve(needed)
    cache.folder.unlink()
    folder.joinpath("elsewhere").rename(cache.folder)
    for part in cache.folder.iterdir():
        part.chmod(0o500)
    cache.folder.chmod(0o500)
    assert "has all 6 entries" in cache.reserve(needed)
    assert_right(folder)


def test_a_failed_write_leaves_nothing_and_is_one_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("numpy.save", full)
        assert_right(folder)
    reason = f"cannot write the cache {folder / 'cache'}: No space left on device"
    assert capsys.readouterr().err == f"warning: {reason}; going on without it\n"
    assert entries(folder) == []
    assert_right(folder)


def test_what_a_killed_process_left_is_removed_in_time(folder: Path) -> None:
    cache = Cache(folder / "cache")
    cache.folder.mkdir()
    old, new = cache.folder / "part-a.npy", cache.folder / "part-b.npy"
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


def test_a_full_disk_is_told_before_the_first_entry(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(folder / "cache")
    sets = [source(folder), target(folder), target(folder, labels="none")]
    needed = {path: size for data in sets for path, size in data.cache_entries().items()}
    usage = shutil.disk_usage(folder)
    full = usage._replace(free=sum(needed.values()) - 1)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: full)
        with pytest.raises(UserError, match="lacks 12 of 12 entries"):
            cache.reserve(needed)
    assert "lacks 12 of 12 entries" in cache.reserve(needed)
    assert entries(folder) == []
    for data in sets:
        samples(data)
    assert sorted(needed) == entries(folder)
    for entry, size in needed.items():
        assert entry.stat().st_size == size + 128, "not the array and NumPy's header"
    assert "has all 12 entries" in cache.reserve(needed)


def _fill(folder: Path) -> list[Sample]:
    return samples(source(folder))


def test_processes_may_fill_it_at_once(folder: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for read in pool.map(_fill, [folder] * 6):
            assert_equal(read, samples(source(folder, cached=False)))
    assert len(entries(folder)) == 6  # and no partial files
