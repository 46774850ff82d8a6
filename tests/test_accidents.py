"""Accidents: what an honest user can meet -> one message with path and remedy, nothing damaged."""

import shutil

import pytest
import torch
from PIL import Image

import evaluation
import SEAN_GTA5
from dataset.labels import CLASSES_16, CLASSES_19
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
    "void label map": (lambda r: painted(r / LABEL, "L", 200), "no pixel of a known class"),
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
