"""Files of own classes: what they mean, and every mistake with its line and key."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset.cityscapes_dataset import CityscapesDataset
from dataset.custom_dataset import OwnClasses, read_classes
from dataset.gta5_dataset import GTA5Dataset
from dataset.labels import LabelSpace
from dataset.layout import Layout
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
ROAD, SKY, GATE = GOOD.splitlines()[1:5], GOOD.splitlines()[5], GOOD.splitlines()[6]
CLASS = "{color: [1, 2, %d], source: %d}"


def classes(count: int) -> str:
    return "classes:\n" + "".join(f"  c{i}: {CLASS % (i, i)}\n" for i in range(count))


# What replaces what, the line, the key, and what is said of it.
MISTAKES: dict[str, tuple[str, str, int, str, str]] = {
    "empty file": (GOOD, "", 1, "the file", "nothing instead of keys with values"),
    "comments alone": (GOOD, "# nothing\n", 1, "the file", "nothing instead of"),
    "list as file": (GOOD, "- road\n- sky\n", 1, "the file", "a list instead of"),
    "text as file": (GOOD, "road", 1, "the file", "'road' instead of"),
    "no classes": (GOOD, "source: {images: a, labels: b}\n", 1, "classes", "missing"),
    "classes as list": (GOOD, "# mine\nclasses: [road, sky]\n", 2, "classes", "a list instead of"),
    "classes as nothing": (GOOD, "classes:\n", 1, "classes", "nothing instead of"),
    "one class": (GOOD, classes(1), 1, "classes", "1 class\n"),
    "too many classes": (GOOD, classes(256), 257, "classes.c255", "256 classes"),
    "unknown section": ("target:\n  images", "taget:\n  images", 11, "taget", "unknown key"),
    "section twice": ("target:\n  images", "source:\n  images", 11, "source", "first in line 8"),
    "class twice": ("  fence gate:", "  road:", 7, "classes.road", "given twice, first in line 2"),
    "nameless class": ("  fence gate:", "  ' ':", 7, "classes. ", "no name"),
    "name of two lines": ("  fence gate:", '  "a\\nb":', 7, "classes.a?b", "no name"),
    "list as name": ("  fence gate:", "  [a]:", 7, "classes.a list", "unknown key"),
    "class as id": (SKY, "  sky: 3", 6, "classes.sky", "'3' instead of keys with values"),
    "class as nothing": (SKY, "  sky:", 6, "classes.sky", "nothing instead of"),
    "unknown key": ("    color:", "    color:", 3, "classes.road.color", "unknown key"),
    "key twice": ("    target: [7", "    source: [7", 5, "classes.road.source", "in line 4"),
    "no color": ("    color: [128, 64, 128]\n", "", 2, "classes.road.color", "missing"),
    "no source": ("    source: 1\n", "", 2, "classes.road.source", "missing"),
    "two color values": ("64, 128]", "64]", 3, "classes.road.color", "2 number(s) instead of 3"),
    "color of 256": ("64, 128]", "64, 256]", 3, "classes.road.color", "'256' instead of a whole"),
    "color in hex": ("[128, 64, 128]", "0x804080", 3, "classes.road.color", "'0x804080'"),
    "color by name": ("[128, 64, 128]", "violet", 3, "classes.road.color", "'violet'"),
    "no ids": ("[7, 8]", "[]", 5, "classes.road.target", "no label id"),
    "color of two classes": (
        "[70, 130, 180]", "[128, 64, 128]", 6, "classes.sky.color",
        "the color [128, 64, 128] is given to road already",
    ),
    "color as nothing": (
        "[128, 64, 128]", "", 3, "classes.road.color",
        "nothing instead of a whole number from 0 to 255",
    ),
    "negative id": ("source: 1\n", "source: -1\n", 4, "classes.road.source", "'-1' instead of"),
    "id of 17 bits": ("65535", "65536", 6, "classes.sky.source", "from 0 to 65535"),
    "id in words": ("[7, 8]", "[7,\n      x]", 6, "classes.road.target", "'x' instead of a whole"),
    "fraction as id": ("source: 1\n", "source: 1.5\n", 4, "classes.road.source", "'1.5' instead"),
    "id of two classes": ("400", "1", 6, "classes.sky.source", "1 is given to road already"),
    "id twice": ("[7, 8]", "[7, 7]", 5, "classes.road.target", "7 is given to road already"),
    "folders as text": (
        "source:\n  images: renders/rgb\n  labels: renders/ids", "source: renders", 8, "source",
        "'renders' instead of keys",
    ),
    "no labels folder": ("  labels: renders/ids\n", "", 8, "source.labels", "missing"),
    "unknown folder key": ("label_suffix", "suffix", 15, "target.suffix", "unknown key"),
    "number as suffix": ("_ids", "01", 15, "target.label_suffix", "'01' instead of text"),
    "other braces": ("renders/rgb", "r/{part}", 9, "source.images", "other braces than {split}"),
    "folder above": ("renders/rgb", "../rgb", 9, "source.images", "leaves the data folder"),
    "absolute folder": ("renders/ids", "/ids", 10, "source.labels", "leaves the data folder"),
    "labels as images": ("renders/ids", "renders/rgb", 10, "source.labels", "the same files"),
}  # fmt: skip


def read(folder: Path, text: str = GOOD) -> OwnClasses:
    path = folder / "classes.yaml"
    path.write_text(text, encoding="utf-8")
    return read_classes(path)


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_with_line_and_key(case: str, tmp_path: Path) -> None:
    old, new, line, key, problem = MISTAKES[case]
    assert GOOD.count(old) == 1
    with pytest.raises(UserError) as caught:
        read(tmp_path, GOOD.replace(old, new))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'classes.yaml'}, line {line}, {key}: ")
    assert problem in message
    assert "\n  " in message, "no remedy"


def test_what_a_file_means(tmp_path: Path) -> None:
    own = read(tmp_path)
    names = ("road", "sky", "fence gate")
    space = LabelSpace(names, ((128, 64, 128), (70, 130, 180), (0, 0, 0)))
    assert own.source.classes == own.target.classes == space
    assert space.table(own.source.label_ids) == {1: 0, 400: 1, 65535: 1, 0: 2}
    assert space.table(own.target.label_ids) == {7: 0, 8: 0, 1: 2}
    assert own.source.layout == Layout("renders/rgb", "renders/ids")
    assert own.target.layout == Layout("photos/{split}", "photos/{split}", "_photo", "_ids")


def test_255_classes_fit(tmp_path: Path) -> None:
    own = read(tmp_path, classes(255))
    assert own.source.classes.num_classes == 255
    assert own.source.layout is None


def test_meaning_is_all_but_the_colors(tmp_path: Path) -> None:
    meaning = read(tmp_path).meaning
    assert (
        read(tmp_path, "# mine\n" + GOOD.replace("[70, 130, 180]", "[1, 2, 3]")).meaning == meaning
    )
    for old, new in (("[7, 8]", "[7, 9]"), ("sky", "air"), ("renders/rgb", "r"), ("_ids", "_i")):
        assert read(tmp_path, GOOD.replace(old, new)).meaning != meaning


def write_pair(root: Path, image: str, label: str, ids: np.ndarray) -> None:
    for name, pixels in ((image, np.zeros((*ids.shape, 3), np.uint8)), (label, ids)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)


def test_data_sets_of_the_file(tmp_path: Path) -> None:
    own = read(tmp_path)
    rng = np.random.default_rng(0)
    rendered = rng.choice(np.array([0, 1, 7, 400, 65535], np.uint16), (24, 40))
    write_pair(tmp_path, "renders/rgb/a/1.png", "renders/ids/a/1.png", rendered)
    annotated = rng.choice(np.array([0, 1, 7, 8, 9], np.uint8), (24, 40))
    write_pair(tmp_path, "photos/val/1_photo.png", "photos/val/1_ids.png", annotated)
    source = own.source.data_set(GTA5Dataset)(tmp_path, (40, 24))
    target = own.target.data_set(CityscapesDataset)(tmp_path, (40, 24), labels="own size")
    assert isinstance(source, GTA5Dataset)  # and so reads split.mat
    assert (source.names, target.names) == (["a/1.png"], ["1_photo.png"])
    for data_set, ids, meaning in (
        (source, rendered, {1: 0, 400: 1, 65535: 1, 0: 2}),
        (target, annotated, {7: 0, 8: 0, 1: 2}),
    ):
        expected = [[meaning.get(label_id, 255) for label_id in row] for row in ids.tolist()]
        copy = pickle.loads(pickle.dumps(data_set))  # as for a worker process that is not forked
        for each in (data_set, copy):
            np.testing.assert_array_equal(each.read_label(each.names[0]), expected)
            assert each[0].name == each.names[0]
        assert copy.label_space == data_set.label_space


def test_without_folders_the_scripts_own_and_plain_ones_serve(tmp_path: Path) -> None:
    own = read(tmp_path, GOOD[: GOOD.index("source:\n")])
    ids = np.full((8, 8), 7, np.uint8)
    city = "leftImg8bit/val/x_leftImg8bit.png", "gtFine/val/x_gtFine_labelIds.png"
    write_pair(tmp_path / "city", *city, ids)
    write_pair(tmp_path / "plain", "images/x.png", "labels/x.png", ids)
    kind = own.target.data_set(CityscapesDataset)
    assert kind(tmp_path / "city", (8, 8)).names == ["x_leftImg8bit.png"]
    assert kind(tmp_path / "plain", (8, 8)).names == ["x.png"]
    with pytest.raises(UserError, match=r"leftImg8bit/val or .*/images"):
        kind(tmp_path / "none", (8, 8))


def test_label_maps_that_no_class_has_ids_for_are_not_read(tmp_path: Path) -> None:
    text = GOOD.replace("    target: [7, 8]\n", "").replace(", target: 1", "")
    own = read(tmp_path, text)
    write_pair(
        tmp_path, "photos/val/1_photo.png", "photos/val/1_ids.png", np.ones((8, 8), np.uint8)
    )
    kind = own.target.data_set(CityscapesDataset)
    assert len(kind(tmp_path, (8, 8), labels="none")) == 1
    with pytest.raises(UserError, match=r"no class has label ids for .*photos/val"):
        kind(tmp_path, (8, 8), labels="own size")
