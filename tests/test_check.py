"""python -m dataset.check on whole and on spoilt folders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset.check import check_pair, main, report
from dataset.demo import write_demo
from dataset.gta5_dataset import GTA5Dataset
from dataset.labels import CITYSCAPES_IDS
from tests.parity import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_demo(tmp_path, "gta5", count_source=3, count_target=1, size=(64, 32))
    return tmp_path / "GTA5"


class Result(NamedTuple):
    returncode: object
    stdout: str
    stderr: str


class Check:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: object) -> Result:
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, words)))
        output = self.capsys.readouterr()
        return Result(ended.value.code, output.out, output.err)


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    return Check(capsys)


def test_frequencies_are_those_of_the_label_maps(folder: Path) -> None:
    dataset = GTA5Dataset(folder, (8, 8))
    findings = [check_pair(name, dataset) for name in dataset.names]
    lines = report(dataset, findings)
    road = next(line for line in lines if line.strip().startswith("road"))
    ids = np.stack([np.asarray(Image.open(path)) for path in (folder / "labels").iterdir()])
    assert float(road.split()[1]) == pytest.approx(
        100 * (ids == CITYSCAPES_IDS["road"]).mean(), abs=1e-3
    )
    assert int(road.split()[2]) == 3
    assert "64x32 (3)" in lines[1]


def test_own_classes_are_summed_over_their_ids(check: Check, folder: Path, tmp_path: Path) -> None:
    classes = tmp_path / "classes.yaml"
    classes.write_text(
        "classes:\n"
        "  ground: {color: [1, 2, 3], source: [7, 8], target: 99}\n"
        "  air: {color: [4, 5, 6], source: 23, target: 23}\n"
    )
    result = check("gta5", folder, "--classes", classes)
    assert result.returncode == 0, result.stdout
    ids = np.stack([np.asarray(Image.open(path)) for path in (folder / "labels").iterdir()])
    rows = {row.split()[0]: row.split()[1:] for row in result.stdout.splitlines()}
    assert float(rows["ground"][0]) == pytest.approx(100 * np.isin(ids, [7, 8]).mean(), abs=1e-3)
    assert rows["ground"][1] == "3"
    target = check("cityscapes", folder.parent / "Cityscapes", "--classes", classes)
    rows = {row.split()[0]: row.split()[1:] for row in target.stdout.splitlines()}
    assert rows["ground"] == ["0.000", "0"]
    assert float(rows["air"][0]) > 0
    assert check("gta5", folder, "--classes", tmp_path / "no.yaml").returncode == 2


def test_problems_are_counted_and_named(check: Check, folder: Path) -> None:
    (folder / "images/00002.png").write_bytes(b"")
    Image.new("L", (32, 16), 7).save(folder / "labels/00001.png")
    Image.new("L", (64, 32), 200).save(folder / "labels/00003.png")
    result = check("gta5", folder)
    assert result.returncode == 2
    assert "problems: 2" in result.stdout
    assert "00002.png: it is empty" in result.stdout
    assert "00003.png has no pixel of a known class" in result.stdout
    assert "another size than their image: 1" in result.stdout


def test_whole_folder_and_wrong_path(check: Check, folder: Path) -> None:
    whole = check("cityscapes", folder.parent / "Cityscapes", "--split", "train")
    assert whole.returncode == 0
    assert "problems: 0" in whole.stdout
    missing = check("gta5", folder / "no")
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: no images under")


def test_images_and_label_maps_that_are_alone_are_findings(check: Check, folder: Path) -> None:
    (folder / "labels/00002.png").unlink()
    (folder / "images/00003.png").unlink()
    result = check("gta5", folder)
    assert result.returncode == 2
    assert "images without label map: 1; label maps without image: 1" in result.stdout
    assert "problems: 2" in result.stdout
    assert f"{folder / 'images/00002.png'} has no label map\n  expected: " in result.stdout
    assert f"{folder / 'labels/00003.png'} belongs to no image" in result.stdout
    assert "64x32 (2)" in result.stdout
    assert "modes of label maps: P (1), missing (1)" in result.stdout
    assert any(line.split()[:1] == ["road"] for line in result.stdout.splitlines())
    names = folder.parent / "list.txt"
    names.write_text("00001.png\n")
    assert check("gta5", folder, "--list", names).returncode == 0


def test_modes_tell_16_bits(check: Check, folder: Path) -> None:
    ids = np.zeros((32, 64, 3), np.uint16)
    ids[..., 2] = 3  # OpenCV's order is BGR
    for number in (1, 2, 3):
        cv2.imwrite(str(folder / f"labels/{number:05d}.png"), ids)
    result = check("synthia", folder)
    assert result.returncode == 0, result.stdout
    assert "modes: RGB (3)" in result.stdout
    assert "modes of label maps: RGB of 16 bits (3)" in result.stdout


def test_a_target_needs_no_labels(check: Check, folder: Path) -> None:
    Image.new("L", (20, 10)).save(folder / "images/gray.jpg")
    plain = check("cityscapes", folder / "images")
    assert plain.returncode == 0, plain.stdout
    assert "4 images" in plain.stdout
    assert "64x32 (3), 20x10 (1)" in plain.stdout
    assert "modes: RGB (3), L (1)" in plain.stdout
    assert "no label maps" in plain.stdout
    (folder / "images/00001.png").write_bytes(b"")
    assert "00001.png: it is empty" in check("cityscapes", folder / "images").stdout
    parts = folder.parent / "Cityscapes/leftImg8bit"
    (parts / "val").rename(parts / "test")
    test = check("cityscapes", parts.parent, "--split", "test")
    assert test.returncode == 0, test.stdout
    assert "no label maps" in test.stdout
    source = check("gta5", folder / "images")
    assert source.returncode == 2
    assert "error: no images under" in source.stderr
    assert str(folder / "images/labels") in source.stderr


@pytest.mark.parametrize("words", [["--show", "-3"], ["--split", "tset"], ["--shwo", "3"]])
def test_a_wrong_option_ends_in_one_message(check: Check, folder: Path, words: list[str]) -> None:
    result = check("gta5", folder, *words)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a group of processes")
def test_ctrl_c_ends_without_a_traceback(folder: Path) -> None:
    names = folder.parent / "list.txt"
    names.write_text("00001.png\n" * 100_000)
    command = [sys.executable, "-m", "dataset.check", "gta5", str(folder), "--list", str(names)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stderr is not None
    while process.stderr.read(1) not in (b"|", b""):  # of the bar
        pass
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, b"")
    assert b"Traceback" not in errors
