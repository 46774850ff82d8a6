"""Files of own classes: what they mean, and every mistake with its key."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from textwrap import indent

import numpy as np
import pytest
from PIL import Image

from dataset.cityscapes_dataset import CITYSCAPES, CityscapesDataset
from dataset.description import Layout
from dataset.gta5_dataset import GTA5, GTA5Dataset
from dataset.labels import LabelSpace
from dataset.own_classes import OwnClasses, read_classes
from tests.runs import ROOT
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
CLASS = "{color: [1, 2, %d], source: %d}"


def classes(count: int) -> str:
    return "classes:\n" + "".join(f"  c{i}: {CLASS % (i, i)}\n" for i in range(count))


# What replaces what, and how the message begins.
MISTAKES: dict[str, tuple[str, str, str]] = {
    "empty file": (GOOD, "", "the file: '' instead of keys with values"),
    "list as file": (GOOD, "- road\n- sky\n", "the file: a list instead of"),
    "no classes": (GOOD, "source: {images: a}\n", "the file: the key classes is missing"),
    "classes as list": (GOOD, "classes: [road, sky]\n", "classes: a list instead of"),
    "one class": (GOOD, classes(1), "classes: 1 instead of 2 to 255"),
    "too many classes": (GOOD, classes(256), "classes: 256 instead of 2 to 255"),
    "unknown section": ("target:\n  images", "taget:\n  images", "the file: unknown key taget"),
    "class as id": ("  sky: {color: [70, 130, 180], source: [400, 65535]}", "  sky: 3",
                    "classes.sky: '3' instead of keys with values"),
    "unknown key": ("    color:", "    colour:", "classes.road: unknown key colour"),
    "no color": ("    color: [128, 64, 128]\n", "", "classes.road: the key color is missing"),
    "no source": ("    source: 1\n", "", "classes.road: the key source is missing"),
    "two color values": ("64, 128]", "64]", "classes.road.color: 2 numbers instead of red"),
    "color of 256": ("64, 128]", "64, 256]", "classes.road.color: '256' instead of a whole"),
    "color in hex": ("[128, 64, 128]", "0x804080", "classes.road.color: '0x804080' instead"),
    "color of two classes": ("[70, 130, 180]", "[128, 64, 128]",
                             "classes.sky.color: (128, 64, 128) is given to road already"),
    "id of 17 bits": ("65535", "65536", "classes.sky.source: '65536' instead of a whole number"),
    "id of two classes": ("400", "1", "classes.sky.source: 1 is given to road already"),
    "folders as text": ("source:\n  images: renders/rgb\n  labels: renders/ids", "source: renders",
                        "source: 'renders' instead of keys"),
    "no labels folder": ("  labels: renders/ids\n", "", "source: the key labels is missing"),
    "escape in class": ("fence gate", '"\\e[2J\\n"', r"classes.\x1b[2J\n: a character in the name"),
    "surrogate in key": ("    color:", '    "\\ud800":', r"classes.road: unknown key \ud800;"),
    "unknown folder key": ("label_suffix", "suffix", "target: unknown key suffix"),
    "list as suffix": ("_ids", "[a]", "target.label_suffix: a list instead of text"),
    "NUL in folder": ("renders/rgb", '"a\\0"', r"source.images: 'a\x00' has a character that"),
    "labels as images": ("renders/ids", "renders/rgb", "source.labels: the same files"),
} | {
    f"{value} as id": ("source: 1\n", f"source: {value}\n", "classes.road.source: ")
    for value in ("-1", "1.5", "1e0", "010", "1_0", "yes", "~", "[[1]]", "9" * 5000)
}  # fmt: skip

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
NOT_PLAIN = {
    "unclosed": (b"a:\n  b: [1, 2\nc: 3\n", "line 3"),
    "two documents": (b"a: 1\n---\nb: 2\n", "line 2"),
    "class twice": (GOOD.replace("fence gate", "road").encode(), "the key road is given twice"),
    "key twice": (GOOD.replace("target: [7", "source: [7").encode(), "twice at line 3"),
    "list as name": (GOOD.replace("fence gate", "[a]").encode(), "line 7"),
    "recursive alias": (b"classes: &x\n  a: *x\n", "recursive"),
    "control character": (b"a: 1\nb: \x07\n", "special characters"),
    "nested too deeply": (b"a: " + b"[" * 5000 + b"]" * 5000, "recursion"),
    "UTF-16": (b"\xff\xfea\x00", "utf-8"),
    "escape as key": (b'"\\e[2J": 1\n"\\e[2J": 2\n', r"the key \x1b[2J is given twice"),
    "large": (b" " * 1_000_001, "it has 1 MB; at most 1 MB are read"),
    "pipe": (None, "it is not a file, but a folder, pipe"),
}


def read(folder: Path, text: str | bytes | None = GOOD) -> OwnClasses:
    path = folder / "classes.yaml"
    if text is None:
        os.mkfifo(path)
    else:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_classes(path)


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_with_its_key(case: str, tmp_path: Path) -> None:
    old, new, problem = MISTAKES[case]
    assert GOOD.count(old) == 1
    with pytest.raises(UserError) as caught:
        read(tmp_path, GOOD.replace(old, new))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'classes.yaml'}, {problem}")
    assert "\n  " in message, "no remedy"
    assert len(message) < len(str(tmp_path)) + 250


@pytest.mark.parametrize("case", NOT_PLAIN)
def test_what_is_not_plain_yaml_is_refused(case: str, tmp_path: Path) -> None:
    content, fragment = NOT_PLAIN[case]
    with pytest.raises(UserError) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert message.startswith(f"cannot read {tmp_path / 'classes.yaml'}: ")
    assert fragment in message
    assert len(message.splitlines()) == 2
    assert message.count("classes.yaml") == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*none\.yaml: No such file.*\n.*--classes"):
        read_classes(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "text", [LAUGHS, "classes:\n" + indent(LAUGHS, "  "), "a: !!python/name:os.abort 1"]
)
def test_nothing_in_a_file_multiplies_or_runs(text: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert len(str(caught.value)) < len(str(tmp_path)) + 200
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("start", ["", "\ufeff", "---\n", "# a comment\n\n"])
def test_what_a_file_means(start: str, tmp_path: Path) -> None:
    own = read(tmp_path, start + GOOD.replace("sky", "on").replace("_ids", "01"))
    names = ("road", "on", "fence gate")  # "on" is no truth value, and "01" no number
    space = LabelSpace(names, ((128, 64, 128), (70, 130, 180), (0, 0, 0)))
    source, target = own.describe(GTA5), own.describe(CITYSCAPES)
    assert own.num_classes == 3
    assert own.label_space == source.label_space == target.label_space == space
    assert space.table(source.label_ids) == {1: 0, 400: 1, 65535: 1, 0: 2}
    assert space.table(target.label_ids) == {7: 0, 8: 0, 1: 2}
    assert source.layouts == (Layout("renders/rgb", "renders/ids"),)
    assert target.layouts == (Layout("photos/{split}", "photos/{split}", "_photo", "01"),)
    assert (source.name, source.is_target, target.is_target) == ("GTA-5", False, True)


def test_255_classes_and_the_example_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, classes(255)).num_classes == 255
    own = read_classes(str(ROOT / "examples/own_classes/classes.yaml"))
    assert own.label_space.names[0] == "road"
    assert own.describe(CITYSCAPES).layouts[0].label_suffix == "_ids"


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
    source = GTA5Dataset(tmp_path, (40, 24), own_classes=own)
    target = CityscapesDataset(tmp_path, (40, 24), labels="own size", own_classes=own)
    assert (source.names, target.names) == (["a/1.png"], ["1_photo.png"])
    for data_set, ids, meaning in (
        (source, rendered, {1: 0, 400: 1, 65535: 1, 0: 2}),
        (target, annotated, {7: 0, 8: 0, 1: 2}),
    ):
        expected = [[meaning.get(label_id, 255) for label_id in row] for row in ids.tolist()]
        copy = pickle.loads(pickle.dumps(data_set))  # as for a worker process that is not forked
        for each in (data_set, copy, data_set.with_labels("resized")):
            np.testing.assert_array_equal(each.read_label(each.names[0]), expected)
            assert each[0].name == each.names[0]
            assert each.label_space == own.label_space


def test_without_folders_the_scripts_own_and_plain_ones_serve(tmp_path: Path) -> None:
    own = read(tmp_path, GOOD[: GOOD.index("source:\n")])
    ids = np.full((8, 8), 7, np.uint8)
    city = "leftImg8bit/val/x_leftImg8bit.png", "gtFine/val/x_gtFine_labelIds.png"
    write_pair(tmp_path / "city", *city, ids)
    write_pair(tmp_path / "plain", "images/x.png", "labels/x.png", ids)
    for folder, name in (("city", "x_leftImg8bit.png"), ("plain", "x.png")):
        assert CityscapesDataset(tmp_path / folder, (8, 8), own_classes=own).names == [name]
    with pytest.raises(UserError, match=r"leftImg8bit/val/.* or .*/images/"):
        CityscapesDataset(tmp_path / "none", (8, 8), own_classes=own)


def test_label_maps_that_no_class_has_ids_for_are_not_read(tmp_path: Path) -> None:
    text = GOOD.replace("    target: [7, 8]\n", "").replace(", target: 1", "")
    own = read(tmp_path, text)
    label = np.ones((8, 8), np.uint8)
    write_pair(tmp_path, "photos/val/1_photo.png", "photos/val/1_ids.png", label)
    unread = CityscapesDataset(tmp_path, (8, 8), labels="none", own_classes=own)
    assert len(unread) == 1
    assert not unread.has_labels()
    with pytest.raises(UserError, match=r"no class has label ids for .*photos/val"):
        unread.with_labels("own size")
