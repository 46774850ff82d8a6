"""python -m tools.check_data and tools.resize_data on whole and on spoilt folders."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset.cityscapes_dataset import CITYSCAPES
from dataset.gta5_dataset import GTA5
from dataset.labels import CITYSCAPES_IDS
from dataset.segmentation_dataset import SegmentationDataset
from dataset.synthia_dataset import SYNTHIA
from tests.runs import contents, refusal, run_main
from tools import check_data, resize_data
from tools.demo import write_demo

SIZE = (40, 24)


@pytest.fixture
def folder(tmp_path):
    write_demo(tmp_path, "gta5", 3, 1, (64, 32))
    return tmp_path / "GTA5"


@pytest.fixture
def check(capsys):
    def run(status, *words):
        assert run_main(check_data.main, *words) == status
        return capsys.readouterr().out

    return run


def row(output, name):
    """Share of the pixels in percent, and number of images, of a class."""
    (words,) = (words for words in map(str.split, output.splitlines()) if words[0] == name)
    return float(words[1]), int(words[2])


def test_frequencies_are_those_of_the_label_maps(check, folder, tmp_path):
    maps = list((folder / "labels").iterdir())
    ids = np.stack([np.asarray(Image.open(path)) for path in maps])
    for label in maps:  # as DAFormer's conversion writes them
        label.with_name(f"{label.stem}_labelTrainIds.png").write_bytes(label.read_bytes())
    output = check(0, "gta5", folder)
    expected = 100 * (ids == CITYSCAPES_IDS["road"]).mean()
    assert row(output, "road") == (pytest.approx(expected, abs=1e-3), 3)
    assert "sizes: 64x32 (3)" in output
    assert "problems: 0" in output
    classes = tmp_path / "classes.yaml"
    classes.write_text(
        "classes:\n"
        "  ground: {color: [1, 2, 3], source: [7, 8], target: 99}\n"
        "  air: {color: [4, 5, 6], source: 23, target: 23}\n"
    )
    share, _ = row(check(0, "gta5", folder, "--classes", classes), "ground")
    assert share == pytest.approx(100 * np.isin(ids, [7, 8]).mean(), abs=1e-3)
    target = check(0, "cityscapes", tmp_path / "Cityscapes", "--classes", classes)
    assert row(target, "ground") == (0, 0)
    assert row(target, "air") > (0, 0)


def test_problems_are_counted_and_named(check, folder, tmp_path):
    (folder / "images/00002.png").write_bytes(b"")
    Image.new("L", (32, 16), 7).save(folder / "labels/00001.png")
    Image.new("L", (64, 32), 0).save(folder / "labels/00003.png")
    shutil.copy(folder / "images/00001.png", folder / "images/4.png")
    shutil.copy(folder / "labels/00001.png", folder / "labels/5.png")
    good = tmp_path / "good.txt"
    output = check(2, "gta5", folder, "--write_list", good)
    assert good.read_text() == "00001.png\n"
    for finding in (
        "problems: 4",
        "00002.png: it is empty",
        "00003.png has no pixel of a known class",
        f"- cannot read {folder}/labels/4.png: No such file",
        f"- {folder}/labels/5.png belongs to no image\n",
        "sizes: 64x32 (2), unreadable (2)",
    ):
        assert finding in output
    listed = check(0, "gta5", folder, "--list", good)
    assert listed.startswith(f"1 image in {folder}/images\n")


@pytest.fixture
def data(domains, tmp_path, rng):
    """Whole scales for Cityscapes (PyTorch resizes), others for the sources (Pillow does)."""
    for name, size in (("GTA5", (64, 32)), ("Cityscapes", (80, 48))):
        shutil.copytree(domains / name, tmp_path / name)
        for path in (tmp_path / name).rglob("*.png"):
            Image.open(path).resize(size, Image.Resampling.NEAREST).save(path)
    for i in range(3):
        for folder, highest in (("RGB", 256), ("GT/LABELS", 22)):
            (tmp_path / "SYNTHIA" / folder).mkdir(parents=True, exist_ok=True)
            kind = np.uint16 if highest == 22 else np.uint8
            pixels = rng.integers(0, highest, (33, 61, 3), kind)
            cv2.imwrite(str(tmp_path / f"SYNTHIA/{folder}/{i}.png"), pixels)
    return tmp_path


def resized(kind, folder, *more):
    words = (kind, folder, folder.with_name("small"), "--size", "40,24", *more)
    return run_main(resize_data.main, *words)


OPENED = {"GTA5": GTA5, "SYNTHIA": SYNTHIA, "Cityscapes": CITYSCAPES}


@pytest.mark.parametrize("folder", OPENED)
def test_samples_are_those_of_the_original(folder, data):
    assert resized(folder.lower(), data / folder) == 0
    ours = SegmentationDataset(OPENED[folder], data / "small", SIZE)
    original = SegmentationDataset(OPENED[folder], data / folder, SIZE)
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
    folders = data / "photos", data / "small"
    original, ours = (
        SegmentationDataset(CITYSCAPES, folder, SIZE, labels="none") for folder in folders
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
        assert "lies within the data set" in refusal(capfd, resize_data.main, *words)
    assert contents(data / "GTA5") == before


def test_what_would_be_mixed_up_is_refused(data, capfd):
    assert resized("gta5", data / "GTA5") == 0
    assert resized("gta5", data / "GTA5", "--size", "32,16") == 2
    assert "has another size" in capfd.readouterr().err
    shutil.copy(data / "GTA5/images/00001.png", data / "GTA5/images/00001.jpg")
    assert resized("gta5", data / "GTA5") == 2
    assert "differ in their suffix only" in capfd.readouterr().err
