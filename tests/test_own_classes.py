"""--classes from end to end: the example's data sets, trained on, resumed, scored, and refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import evaluation
import SEAN_GTA5
from dataset.custom_dataset import read_classes
from dataset.gta5_dataset import GTA5Dataset
from examples.own_classes.draw import draw
from tests.parity import ROOT
from tests.runs import Capture, refusal, run_main, scoring_words, words

EXAMPLE = ROOT / "examples/own_classes/classes.yaml"
NAMES = ("road", "sidewalk", "building", "nature", "sky", "vehicle")
TRAIN_IDS = {1: 0, 3: 1, 10: 2, 20: 3, 30: 4, 41: 5, 42: 5}  # of the photographs' annotations


class Trained(NamedTuple):
    data: Path
    classes: Path
    run: Path

    def options(self, **changes: object) -> list[str]:
        own: dict[str, object] = {
            "classes": self.classes, "data_dir_source": self.data, "data_dir_target": self.data,
            "target_split": "train", "learning_rate": 1e-3,
        }  # fmt: skip
        return words(self.data, self.run, **(own | changes))

    def scoring(self, folder: Path, *more: object) -> list[object]:
        return scoring_words(self.run / "GTA_TeacherNet.pth", self.data, folder, *more)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("own")
    draw(folder / "data", count=6, size=(64, 32))
    place = Trained(folder / "data", folder / "classes.yaml", folder / "run")
    shutil.copy(EXAMPLE, place.classes)
    assert run_main(SEAN_GTA5.main, *place.options()) == 0
    return place


@pytest.fixture(scope="module")
def maps(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    assert run_main(evaluation.main, *trained.scoring(folder, "--classes", trained.classes)) == 0
    return folder


def scores(trained: Trained, maps: Path) -> NDArray[np.float64]:
    """IoU in % from the files alone: the annotations' PNGs and those that were predicted."""
    intersection, union = np.zeros(6), np.zeros(6)
    for path in sorted((trained.data / "annotations/val").iterdir()):
        ids = np.asarray(Image.open(path))
        stem = path.name.removesuffix("_ids.png")
        predicted = np.asarray(Image.open(maps / f"{stem}_photo.png"))
        scored = np.isin(ids, list(TRAIN_IDS))
        for train_id in range(6):
            mine = predicted == train_id
            theirs = np.isin(ids, [i for i in TRAIN_IDS if TRAIN_IDS[i] == train_id])
            intersection[train_id] += (mine & theirs).sum()
            union[train_id] += ((mine & scored) | theirs).sum()
    return 100 * intersection / union


def check_scores(expected: NDArray[np.float64], maps: Path) -> None:
    lines = (maps / "Evaluation.txt").read_text().splitlines()
    rows = [line.split() for line in lines]
    found = dict(row for row in rows if len(row) == 2 and row[0] in (*NAMES, "mIoU"))
    np.testing.assert_allclose([float(found[name]) for name in NAMES], expected, atol=0.006)
    assert float(found["mIoU"]) == pytest.approx(np.nanmean(expected), abs=0.006)


def test_scores_are_those_of_the_files(trained: Trained, maps: Path) -> None:
    expected = scores(trained, maps)
    assert (expected > 0).any()
    check_scores(expected, maps)
    log = (trained.run / "GTA2Cityscapes_log.txt").read_text()
    assert [*re.findall(r"IoU in %: (.*)", log)][-1].split()[::2] == list(NAMES)
    logged = re.findall(r"target_miou (\S+)", log)[-1]
    assert 100 * float(logged) == pytest.approx(np.nanmean(expected), abs=0.006)


def test_all_ids_of_a_class_are_scored(trained: Trained, tmp_path: Path) -> None:
    state = torch.load(trained.run / "GTA_TeacherNet.pth")
    for name in state:
        if name.startswith("classifier"):
            state[name].zero_()
    state["classifier.conv2d_list.0.bias"][5] = 1  # vehicles everywhere
    torch.save(state, tmp_path / "vehicles.pth")
    words = trained.scoring(tmp_path / "maps", "--classes", trained.classes)
    assert run_main(evaluation.main, *words, "--restore_from", tmp_path / "vehicles.pth") == 0
    labels = trained.data / "annotations/val"
    ids = np.stack([np.asarray(Image.open(path)) for path in labels.iterdir()])
    vehicles = np.isin(ids, [41, 42]).sum() / np.isin(ids, list(TRAIN_IDS)).sum()
    assert vehicles > (ids == 41).mean() > 0
    check_scores(np.array([0, 0, 0, 0, 0, 100 * vehicles]), tmp_path / "maps")


def test_pictures_have_the_files_colors(trained: Trained, maps: Path) -> None:
    colors = re.findall(r"color: \[(\d+), (\d+), (\d+)\]", trained.classes.read_text())
    palette = np.array(colors, np.uint8)
    predicted = np.asarray(Image.open(maps / "0000_photo.png"))
    painted = np.asarray(Image.open(maps / "0000_photo_color.png"))
    np.testing.assert_array_equal(painted, palette[predicted])


def test_source_labels_reach_the_network(trained: Trained) -> None:
    own = read_classes(trained.classes)
    label = GTA5Dataset(trained.data, (64, 32), own_classes=own)[0].label
    ids = np.asarray(Image.open(trained.data / "renders/ids/0000.png"))
    assert label is not None
    train_ids = {1001: 0, 1002: 1, **dict.fromkeys((1010, 1011, 1012), 2)}
    train_ids |= dict.fromkeys((1020, 1021), 3) | {1030: 4} | dict.fromkeys(range(1041, 1045), 5)
    expected = [[train_ids.get(label_id, 255) for label_id in row] for row in ids.tolist()]
    np.testing.assert_array_equal(label, expected)


def train_refuses(capfd: Capture, options: list[str], *flags: str) -> str:
    return refusal(capfd, SEAN_GTA5.main, *options, *flags)


def test_an_edited_file_is_not_resumed_with(
    trained: Trained, tmp_path: Path, capfd: Capture
) -> None:
    edited = tmp_path / "edited.yaml"
    edited.write_text(EXAMPLE.read_text().replace("target: [41, 42]", "target: 41"))
    message = train_refuses(capfd, trained.options(classes=edited), "--resume")
    assert "was trained with other options or data: " in message
    assert f"other classes or label ids in {edited}" in message


def test_a_repainted_file_is_resumed_with(trained: Trained, tmp_path: Path) -> None:
    repainted = tmp_path / "repainted.yaml"
    repainted.write_text(EXAMPLE.read_text().replace("[70, 70, 70]", "[80, 80, 80]"))
    assert run_main(SEAN_GTA5.main, *trained.options(classes=repainted), "--resume") == 0


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"num_classes": 19}, "--num_classes 19: {classes} has 6"),
        ({"ignore_label": 5}, "--ignore_label 5 is the train id of a class"),
    ],
)
def test_training_refuses(
    changes: dict[str, object], fragment: str, trained: Trained, tmp_path: Path, capfd: Capture
) -> None:
    options = trained.options(snapshot_dir=tmp_path / "run", **changes)
    message = train_refuses(capfd, options)
    assert message.startswith(f"error: {fragment.format(classes=trained.classes)}")


def test_a_mistake_in_the_file_ends_both_programs(
    trained: Trained, tmp_path: Path, capfd: Capture
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(EXAMPLE.read_text().replace("source: 1002", "source: 1001"))
    where = f"error: {wrong}, classes.sidewalk.source: 1001 is given to road already"
    options = trained.options(classes=wrong, snapshot_dir=tmp_path / "run")
    assert train_refuses(capfd, options).startswith(where)
    scoring = trained.scoring(tmp_path, "--classes", wrong)
    assert refusal(capfd, evaluation.main, *scoring).startswith(where)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wrong.yaml"]


def test_one_set_of_images_is_not_two_parts(
    trained: Trained, tmp_path: Path, capfd: Capture
) -> None:
    joined = tmp_path / "joined.yaml"
    joined.write_text(EXAMPLE.read_text().replace("/{split}", "/val"))
    options = trained.options(classes=joined, snapshot_dir=tmp_path / "run")
    assert "--target_split train: " in train_refuses(capfd, options)


@pytest.mark.parametrize("with_file", [True, False])
def test_checkpoint_and_classes_must_agree(
    with_file: bool, trained: Trained, tmp_path: Path, capfd: Capture
) -> None:
    fewer = tmp_path / "fewer.yaml"
    fewer.write_text(re.sub("\n  sky: .*", "", EXAMPLE.read_text()))
    classes = ("--classes", fewer) if with_file else ()
    message = refusal(capfd, evaluation.main, *trained.scoring(tmp_path / "maps", *classes))
    assert "GTA_TeacherNet.pth is a checkpoint for 6 classes; " in message
    assert (f"{tmp_path / 'fewer.yaml'} is labelled for 5" if with_file else "19 or 16") in message
