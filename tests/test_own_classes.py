"""--classes from end to end: the example's data sets, trained on, resumed, scored, and refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import evaluation
import SEAN_GTA5
from examples.own_classes.draw import draw
from tests.runs import ROOT, Capture, refusal, run_main, scoring_words, words
from tests.test_metrics import naive_iou

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


def test_scores_are_those_of_the_files(trained: Trained, maps: Path) -> None:
    """Of the annotations' PNGs and those that were predicted."""
    files = list((trained.data / "annotations/val").iterdir())
    ids = np.stack([np.asarray(Image.open(path)) for path in files])
    pictures = [maps / path.name.replace("_ids", "_photo") for path in files]
    predictions = np.stack([np.asarray(Image.open(path)) for path in pictures])
    assert (ids == 42).any(), "the second id of vehicles"
    label = np.vectorize(lambda label_id: TRAIN_IDS.get(label_id, 255))(ids)
    expected = 100 * np.array(naive_iou(predictions, label, 6))
    assert (expected > 0).any()
    rows = [line.split() for line in (maps / "Evaluation.txt").read_text().splitlines()]
    found = dict(row for row in rows if len(row) == 2 and row[0] in (*NAMES, "mIoU"))
    np.testing.assert_allclose([float(found[name]) for name in NAMES], expected, atol=0.006)
    assert float(found["mIoU"]) == pytest.approx(np.nanmean(expected), abs=0.006)
    log = (trained.run / "GTA2Cityscapes_log.txt").read_text()
    assert [*re.findall(r"IoU in %: (.*)", log)][-1].split()[::2] == list(NAMES)
    logged = re.findall(r"target_miou (\S+)", log)[-1]
    assert 100 * float(logged) == pytest.approx(np.nanmean(expected), abs=0.006)


def test_a_repainted_file_is_resumed_with(trained: Trained, tmp_path: Path) -> None:
    repainted = tmp_path / "repainted.yaml"
    repainted.write_text(EXAMPLE.read_text().replace("[70, 70, 70]", "[80, 80, 80]"))
    assert run_main(SEAN_GTA5.main, *trained.options(classes=repainted), "--resume") == 0


def test_a_mistake_in_the_file_ends_both_programs(
    trained: Trained, tmp_path: Path, capfd: Capture
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(EXAMPLE.read_text().replace("source: 1002", "source: 1001"))
    where = f"error: {wrong}, classes.sidewalk.source: 1001 is given to road already"
    options = trained.options(classes=wrong, snapshot_dir=tmp_path / "run")
    assert refusal(capfd, SEAN_GTA5.main, *options).startswith(where)
    scoring = trained.scoring(tmp_path, "--classes", wrong)
    assert refusal(capfd, evaluation.main, *scoring).startswith(where)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wrong.yaml"]


def test_one_set_of_images_is_not_two_parts(
    trained: Trained, tmp_path: Path, capfd: Capture
) -> None:
    joined = tmp_path / "joined.yaml"
    joined.write_text(EXAMPLE.read_text().replace("/{split}", "/val"))
    options = trained.options(classes=joined, snapshot_dir=tmp_path / "run")
    assert "--target_split train: " in refusal(capfd, SEAN_GTA5.main, *options)


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
