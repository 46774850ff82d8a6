"""Files of own classes: what they mean, every mistake with its key, and --classes end to end."""

import pickle
import re

import numpy as np
import pytest
from PIL import Image

import evaluation
import SEAN_GTA5
from dataset.cityscapes_dataset import CITYSCAPES
from dataset.gta5_dataset import GTA5
from dataset.labels import LabelSpace
from dataset.own_classes import with_classes
from dataset.segmentation_dataset import SegmentationDataset
from examples.own_classes.draw import draw
from tests.runs import ROOT, refusal, run_main, scoring_words, words
from tests.test_metrics import naive_iou
from utils.errors import UserError

GOOD = """\
classes:
  road:
    color: [128, 64, 128]
    source: 1
    target: [7, 8]
  sky: {color: [70, 130, 180], source: [400, 65535]}
  fence gate: {color: [0, 0, 0], source: 0, target: 1}
source:
  images: renders/rgb
  labels: renders/ids
target:
  images: photos/{split}
  labels: photos/{split}
  image_suffix: _photo
  label_suffix: _ids
"""

# What replaces what, and how the message begins.
MISTAKES = (
    ("sky: {", "on: {", "classes: the key True is no text; put it in quotes"),
    ("sky: {", "road: {", "line 6: the key road is there twice"),
    ("target:\n  images", "taget:\n  images", "the file: unknown key taget"),
    ("64, 128]", "64]", "classes.road.color: 2 numbers instead of three"),
    ("64, 128]", "64, 256]", "classes.road.color: 256 instead of a whole"),
    ("[70, 130, 180]", "[128, 64, 128]", "classes.sky.color: (128, 64, 128) is given to road"),
    ("65535", "65536", "classes.sky.source: 65536 instead of a whole number"),
    ("source: 1\n", "source: yes\n", "classes.road.source: True instead of a whole number"),
    ("400", "1", "classes.sky.source: 1 is given to road already"),
    ("  labels: renders/ids\n", "", "source: the key labels is missing"),
    (GOOD, "", "the file: None instead of keys with values"),
    (GOOD, "classes: {a: {color: [1, 2, 3], source: 1}}", "classes: 1 instead of 2 to 255"),
)


def read(folder, text=GOOD):
    (folder / "classes.yaml").write_text(text, encoding="utf-8")
    return with_classes(folder / "classes.yaml", GTA5, CITYSCAPES)


@pytest.mark.parametrize(("old", "new", "problem"), MISTAKES)
def test_a_mistake_is_told_with_its_key(old, new, problem, tmp_path):
    assert GOOD.count(old) == 1
    with pytest.raises(UserError) as caught:
        read(tmp_path, GOOD.replace(old, new))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'classes.yaml'}, {problem}")
    assert "\n  " in message, "no remedy"


def test_what_is_no_yaml_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"^cannot read .*classes.yaml: .*line 3.*\n  "):
        read(tmp_path, "a:\n  b: [1, 2\nc: 3\n")


def write_pair(root, image, label, ids):
    for name, pixels in ((image, np.zeros((*ids.shape, 3), np.uint8)), (label, ids)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_data_sets_of_the_file(start, tmp_path, rng):
    renders, photographs = read(tmp_path, start + GOOD)
    colors = (128, 64, 128), (70, 130, 180), (0, 0, 0)
    space = LabelSpace(("road", "sky", "fence gate"), colors)
    assert renders.label_space == photographs.label_space == space
    rendered = rng.choice(np.array([0, 1, 7, 400, 65535], np.uint16), (24, 40))
    write_pair(tmp_path, "renders/rgb/a/1.png", "renders/ids/a/1.png", rendered)
    annotated = rng.choice(np.array([0, 1, 7, 8, 9], np.uint8), (24, 40))
    write_pair(tmp_path, "photos/val/1_photo.png", "photos/val/1_ids.png", annotated)
    source = SegmentationDataset(renders, tmp_path, (40, 24))
    target = SegmentationDataset(photographs, tmp_path, (40, 24), labels="own size")
    assert (source.names, target.names) == (["a/1.png"], ["1_photo.png"])
    for data_set, ids, meaning in (
        (source, rendered, {1: 0, 400: 1, 65535: 1, 0: 2}),
        (target, annotated, {7: 0, 8: 0, 1: 2}),
    ):
        expected = [[meaning.get(label_id, 255) for label_id in row] for row in ids.tolist()]
        copy = pickle.loads(pickle.dumps(data_set))  # as for a worker process that is not forked
        for each in (data_set, copy, data_set.with_labels("resized")):
            np.testing.assert_array_equal(each[0].label, expected)
            assert each.label_space == renders.label_space


def test_without_folders_the_scripts_own_and_plain_ones_serve(tmp_path):
    _, photographs = read(tmp_path, GOOD[: GOOD.index("source:\n")])
    city = "leftImg8bit/val/x_leftImg8bit.png", "gtFine/val/x_gtFine_labelIds.png"
    for folder, files in (("city", city), ("plain", ("images/x.png", "labels/x.png"))):
        write_pair(tmp_path / folder, *files, np.full((8, 8), 7, np.uint8))
        assert len(SegmentationDataset(photographs, tmp_path / folder, (8, 8))) == 1


EXAMPLE = ROOT / "examples/own_classes/classes.yaml"
NAMES = ("road", "sidewalk", "building", "nature", "sky", "vehicle")
TRAIN_IDS = {1: 0, 3: 1, 10: 2, 20: 3, 30: 4, 41: 5, 42: 5}  # of the photographs' annotations


def training(root, classes=EXAMPLE):
    data, more = root / "data", {"target_split": "train", "learning_rate": 1e-3}
    folders = {"data_dir_source": data, "data_dir_target": data}
    return words(data, root / "run", **folders, **more, classes=classes)


def scoring(root, maps, *more):
    return scoring_words(root / "run/GTA_TeacherNet.pth", root / "data", maps, *more)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    draw(root / "data", count=6, size=(64, 32))
    assert run_main(SEAN_GTA5.main, *training(root)) == 0
    return root


def changed(folder, pattern, replacement):
    """The example with a change."""
    path = folder / "changed.yaml"
    path.write_text(re.sub(pattern, replacement, EXAMPLE.read_text()))
    return path


def test_scores_are_those_of_the_files(trained, tmp_path):
    """Of the annotations' PNGs and those that were predicted."""
    assert run_main(evaluation.main, *scoring(trained, tmp_path, "--classes", EXAMPLE)) == 0
    files = list((trained / "data/annotations/val").iterdir())
    ids = np.stack([np.asarray(Image.open(path)) for path in files])
    pictures = [tmp_path / path.name.replace("_ids", "_photo") for path in files]
    predictions = np.stack([np.asarray(Image.open(path)) for path in pictures])
    assert (ids == 42).any(), "the second id of vehicles"
    label = np.vectorize(lambda label_id: TRAIN_IDS.get(label_id, 255))(ids)
    expected = 100 * np.array(naive_iou(predictions, label, 6))
    rows = [line.split() for line in (tmp_path / "Evaluation.txt").read_text().splitlines()]
    found = dict(row for row in rows if len(row) == 2 and row[0] in (*NAMES, "mIoU"))
    np.testing.assert_allclose([float(found[name]) for name in NAMES], expected, atol=0.006)
    assert float(found["mIoU"]) == pytest.approx(np.nanmean(expected), abs=0.006)
    log = (trained / "run/GTA2Cityscapes_log.txt").read_text()
    assert [*re.findall(r"IoU in %: (.*)", log)][-1].split()[::2] == list(NAMES)
    logged = re.findall(r"target_miou (\S+)", log)[-1]
    assert 100 * float(logged) == pytest.approx(np.nanmean(expected), abs=0.006)


def test_files_that_do_not_fit_are_refused_but_repainted_ones_fit(trained, tmp_path, capfd):
    joined = changed(tmp_path, "/{split}", "/val")
    assert "--target_split train: " in refusal(capfd, SEAN_GTA5.main, *training(trained, joined))
    fewer = changed(tmp_path, "\n  sky: .*", "")
    cases = {"19 or 16": (), f"those of {fewer}": ("--classes", fewer)}
    for reason, given in cases.items():
        message = refusal(capfd, evaluation.main, *scoring(trained, tmp_path / "maps", *given))
        assert "GTA_TeacherNet.pth is a checkpoint for 6 classes" in message
        assert reason in message
    repainted = changed(tmp_path, r"\[70, 70, 70\]", "[80, 80, 80]")
    assert run_main(SEAN_GTA5.main, *training(trained, repainted), "--resume") == 0
