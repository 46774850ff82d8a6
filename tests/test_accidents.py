"""Accidents: what an honest user can meet -> one message with path and remedy, nothing damaged."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import evaluation
import SEAN_GTA5
from dataset.labels import CITYSCAPES_IDS, CLASSES_16, CLASSES_19
from model.SEAN import SEANet
from tests.runs import contents, refusal, save_network, scoring_words, words

IMAGE = "GTA5/images/00001.png"
LABEL, SPLIT = "GTA5/labels/00001.png", "Cityscapes/leftImg8bit/train"


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return []


def removed(path):
    path.unlink()
    return []


def cut(path):
    return written(path, path.read_bytes()[:-40])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    return written(path, bytes(content))


def painted(path, mode, color):
    Image.new(mode, (64, 32), color).save(path)
    return []


def trained_on(folder):
    """The label maps hold train ids."""
    table = np.full(256, 255, np.uint8)
    table[list(CITYSCAPES_IDS.values())] = range(19)
    for path in folder.rglob("*.png"):
        Image.fromarray(table[np.asarray(Image.open(path))]).save(path)
    return []


def turned(path):
    Image.open(path).rotate(90, expand=True).save(path)
    return []


def beside(root, photographs, masks):
    """A target folder of photographs with label maps next to them."""
    for kind, name in (("images", photographs), ("labels", masks)):
        for number, path in enumerate(sorted((root / "GTA5" / kind).iterdir())):
            new = root / "own" / name.format(number)
            new.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).convert("RGB" if kind == "images" else "P").save(new)
    return ["--data_dir_target", root / "own"]


def one_up(root):
    """A folder too high: around what the archives of Cityscapes hold."""
    for part in ("leftImg8bit", "gtFine"):
        (root / f"up/{part}_trainvaltest").mkdir(parents=True)
        (root / "Cityscapes" / part).rename(root / f"up/{part}_trainvaltest/{part}")
    return root / "up"


def linked(root):
    (root / "link").symlink_to(root / "GTA5/labels", target_is_directory=True)
    return ["--snapshot_dir", root / "link/new"]


def original(root, classes):
    """A checkpoint that says nothing of itself, as the original's."""
    torch.save(SEANet(classes).state_dict(), root / "original.pth")
    return ["--restore_from", root / "original.pth"]


def ours(root, space=CLASSES_19):
    network = SEANet(space.num_classes, width=0.05)
    return ["--restore_from", save_network(root / "ours.pth", network, space, (64, 32))]


TRAINING = {
    "source is a file": (lambda r: ["--data_dir_source", r / IMAGE], "00001.png/images"),
    "missing target": (lambda r: ["--data_dir_target", r / "no"], "leftImg8bit/val"),
    "missing split": (lambda r: shutil.rmtree(r / "Cityscapes/leftImg8bit/val") or [], "val"),
    "no labels to score": (
        lambda r: removed(max(r.glob("Cityscapes/gtFine/val/*/*_labelIds.png"))), "labelIds.png",
    ),
    "no source label": (lambda r: removed(r / LABEL), "labels/00001.png"),
    "empty image": (lambda r: written(r / IMAGE, b""), "images/00001.png"),
    "truncated image": (lambda r: cut(r / IMAGE), "images/00001.png"),
    "flipped bit": (lambda r: flipped(r / IMAGE), "images/00001.png"),
    "truncated label map": (lambda r: cut(r / LABEL), "labels/00001.png"),
    "colored label map": (lambda r: painted(r / LABEL, "RGB", "red"), "it holds colors"),
    "void label map": (lambda r: painted(r / LABEL, "L", 0), "no pixel of a known class"),
    "foreign label ids": (lambda r: painted(r / LABEL, "L", 200), "ids, not GTA-5's"),
    "train ids in the source": (lambda r: trained_on(r / "GTA5/labels"), ": train ids"),
    "train ids to score": (lambda r: trained_on(r / "Cityscapes/gtFine"), "_labelIds.png holds"),
    "turned label map": (lambda r: turned(r / LABEL), "its label map"),
    "target too high": (lambda r: ["--data_dir_target", one_up(r)], "up/leftImg8bit_trainvaltest,"),
    "target too low": (
        lambda r: ["--data_dir_target", r / "Cityscapes/leftImg8bit"], "/Cityscapes, and",
    ),
    "target of labels": (
        lambda r: ["--data_dir_target", r / "Cityscapes/gtFine"], "/Cityscapes, and",
    ),
    "masks in a folder": (lambda r: beside(r, "a/img/{}.jpg", "a/masks/{}.png"), "own/a/img\n"),
    "masks by name": (lambda r: beside(r, "img_{}.png", "mask_{}.png"), "own/mask_"),
    "masks by suffix": (lambda r: beside(r, "x/{}.jpg", "x/{}.png"), ".png\n  move"),
    "missing list": (lambda r: ["--data_list_source", r / "no.txt"], "no.txt"),
    "list of others": (
        lambda r: [*written(r / "l.txt", b"7.png\n"), "--data_list_source", r / "l.txt"], "7.png",
    ),
    "other class count": (lambda r: ours(r, CLASSES_16), "16 classes"),
    "missing weights": (lambda r: ["--restore_from", r / "no.pth"], "no.pth"),
    "batch too large": (lambda r: ["--batch_size", 99], "smaller --batch_size"),
    "output in a file": (lambda r: ["--snapshot_dir", r / IMAGE / "x"], "00001.png/x"),
    "output where none may write": (lambda r: ["--snapshot_dir", "/proc/run"], "/proc/run"),
    "output among the data": (lambda r: ["--snapshot_dir", r / "GTA5/labels/new"], "outside"),
    "output in another split": (lambda r: ["--snapshot_dir", r / SPLIT / "new"], "outside"),
    "the same through a link": (linked, "outside"),
    "damaged checkpoint": (
        lambda r: [*written(r / "run/last.pth", b"x"), "--snapshot_dir", r / "run", "--resume"],
        "last.pth",
    ),
    "two baselines": (lambda r: ["--oracle", "--source_only"], "two baselines"),
    "class count": (lambda r: ["--num_classes", 16], "--num_classes 16: Cityscapes has 19"),
    "ignored class": (lambda r: ["--ignore_label", 3], "--ignore_label 3"),
    "missing device": (lambda r: ["--device", "mps"], "no mps device"),
    "typing mistake": (lambda r: ["--learnig_rate", 1], "--learnig_rate"),
}  # fmt: skip

EVALUATION = {
    "no checkpoint": (lambda r: [], "none.pth"),
    "other class count": (lambda r: [*ours(r, CLASSES_16), "--num-classes", 19], "16 classes"),
    "unheard-of class count": (lambda r: original(r, 7), "7 classes"),
    "missing data": (lambda r: [*ours(r), "--data_dir", r / "no"], "no/leftImg8bit"),
    "output among the data": (
        lambda r: [*ours(r), "--snapshot_dir", r / "Cityscapes/gtFine/val"], "gtFine/val",
    ),
    "train ids": (lambda r: [*ours(r), *trained_on(r / "Cityscapes/gtFine")], ": train ids"),
    "turned label map": (
        lambda r: [*ours(r), *turned(min(r.glob("Cityscapes/gtFine/val/*/*")))], "its label map",
    ),
    "missing image": (lambda r: [*ours(r), "--images", r / "no.jpg"], "no.jpg"),
    "no image": (
        lambda r: [*ours(r), *written(r / "a.mp4", b"x"), "--images", r / "a.mp4"],
        "a.mp4",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("program", "accident"),
    [(SEAN_GTA5, name) for name in TRAINING] + [(evaluation, name) for name in EVALUATION],
)
def test_a_program_refuses(program, accident, domains, tmp_path, capfd):
    root, output = shutil.copytree(domains, tmp_path / "data"), tmp_path / "output"
    if program is SEAN_GTA5:
        spoil, fragment = TRAINING[accident]
        given = words(root, output, "--no_shuffle", max_iters=1)
    else:
        spoil, fragment = EVALUATION[accident]
        given = scoring_words(root / "none.pth", root / "Cityscapes", output)
    options = spoil(root)
    before = contents(root)
    assert fragment in refusal(capfd, program.main, *given, *options)
    after = contents(root)
    assert {path: after.get(path) for path in before} == before
