"""python -m tools.resize_data: training on what it writes is training on the original."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset.cityscapes_dataset import CityscapesDataset
from dataset.gta5_dataset import GTA5Dataset
from dataset.synthia_dataset import SynthiaDataset
from tests.runs import contents, refusal, run_main
from tools.resize_data import main

SIZE = (40, 24)


@pytest.fixture
def data(domains, tmp_path):
    """Whole scales for Cityscapes (PyTorch resizes), others for the sources (Pillow does)."""
    for name, size in (("GTA5", (64, 32)), ("Cityscapes", (80, 48))):
        shutil.copytree(domains / name, tmp_path / name)
        for path in (tmp_path / name).rglob("*.png"):
            Image.open(path).resize(size, Image.Resampling.NEAREST).save(path)
    rng = np.random.default_rng(0)
    for i in range(3):
        for folder, highest in (("RGB", 256), ("GT/LABELS", 22)):
            (tmp_path / "SYNTHIA" / folder).mkdir(parents=True, exist_ok=True)
            kind = np.uint16 if highest == 22 else np.uint8
            pixels = rng.integers(0, highest, (33, 61, 3), kind)
            cv2.imwrite(str(tmp_path / f"SYNTHIA/{folder}/{i}.png"), pixels)
    return tmp_path


def resized(kind, folder, *more):
    words = (kind, folder, folder.with_name("small"), "--size", "40,24", *more)
    return run_main(lambda: main(list(map(str, words))))


OPENED = {"GTA5": GTA5Dataset, "SYNTHIA": SynthiaDataset, "Cityscapes": CityscapesDataset}


@pytest.mark.parametrize("folder", OPENED)
def test_samples_are_those_of_the_original(folder, data):
    assert resized(folder.lower(), data / folder) == 0
    ours = OPENED[folder](data / "small", SIZE)
    original = OPENED[folder](data / folder, SIZE)
    assert ours.names == original.names
    for one, other in zip(ours, original, strict=True):
        assert one.image.tobytes() == other.image.tobytes()
        np.testing.assert_array_equal(one.label, other.label)
    with Image.open(ours.image_folder / ours.names[0]) as picture:
        assert picture.size == SIZE


def test_photographs_are_turned_upright_and_become_png(data):
    turned = Image.Exif()
    turned[0x0112] = 6
    (data / "photos/a").mkdir(parents=True)
    picture = Image.open(next((data / "Cityscapes/leftImg8bit").rglob("*.png")))
    picture.save(data / "photos/a/1.jpg", exif=turned)
    assert resized("cityscapes", data / "photos") == 0
    original, ours = (
        CityscapesDataset(data / name, SIZE, labels="none") for name in ("photos", "small")
    )
    assert ours.names == ["a/1.png"]
    np.testing.assert_array_equal(ours[0].image, original[0].image)


def test_a_stopped_run_continues(data, capfd):
    assert resized("gta5", data / "GTA5") == 0
    assert f"--data_dir_source {data / 'small'} --input_size 40,24" in capfd.readouterr().out
    whole = contents(data / "small")
    (data / "small/images/00002.png").unlink()
    (data / "small/labels/00003.png").unlink()
    kept = data / "small/images/00001.png"
    before = kept.stat().st_mtime_ns
    assert resized("gta5", data / "GTA5") == 0
    assert contents(data / "small") == whole
    assert kept.stat().st_mtime_ns == before


def test_no_input_is_written_over(data, capfd):
    before = contents(data / "GTA5")
    (data / "link").symlink_to("GTA5")
    (data / "other").mkdir()
    (data / "other/images").symlink_to("../GTA5/images")
    for output in ("GTA5", "GTA5/small", "link", "link/new", "other"):
        words = ("gta5", data / "GTA5", data / output, "--size", "40,24")
        told = refusal(capfd, lambda w=words: main(list(map(str, w))))
        assert "lies within the data set" in told
    assert contents(data / "GTA5") == before


def test_what_would_be_mixed_up_is_refused(data, capfd):
    assert resized("gta5", data / "GTA5") == 0
    assert resized("gta5", data / "GTA5", "--size", "32,16") == 2
    assert "has another size" in capfd.readouterr().err
    shutil.copy(data / "GTA5/images/00001.png", data / "GTA5/images/00001.jpg")
    assert resized("gta5", data / "GTA5") == 2
    assert "differ in their suffix only" in capfd.readouterr().err
