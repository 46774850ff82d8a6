"""python -m dataset.check on whole and on spoilt folders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset.check import check_pair, report
from dataset.demo import write_demo
from dataset.gta5_dataset import GTA5Dataset
from dataset.labels import CITYSCAPES_IDS
from tests.parity import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_demo(tmp_path, "gta5", count_source=3, count_target=1, size=(64, 32))
    return tmp_path / "GTA5"


def check(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dataset.check", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


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


def test_own_classes_are_summed_over_their_ids(folder: Path, tmp_path: Path) -> None:
    classes = tmp_path / "classes.yaml"
    classes.write_text(
        "classes:\n"
        "  ground: {colour: [1, 2, 3], source: [7, 8], target: 99}\n"
        "  air: {colour: [4, 5, 6], source: 23, target: 23}\n"
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


def test_problems_are_counted_and_named(folder: Path) -> None:
    (folder / "images/00002.png").write_bytes(b"")
    Image.new("L", (32, 16), 7).save(folder / "labels/00001.png")
    Image.new("L", (64, 32), 200).save(folder / "labels/00003.png")
    result = check("gta5", folder)
    assert result.returncode == 2
    assert "problems: 2" in result.stdout
    assert "00002.png: it is empty" in result.stdout
    assert "00003.png has no pixel of a known class" in result.stdout
    assert "another size than their image: 1" in result.stdout


def test_whole_folder_and_wrong_path(folder: Path) -> None:
    whole = check("cityscapes", folder.parent / "Cityscapes", "--split", "train")
    assert whole.returncode == 0
    assert "problems: 0" in whole.stdout
    missing = check("gta5", folder / "no")
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: no images under")
