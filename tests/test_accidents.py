"""Accidents: what an honest user can meet -> one message with path and remedy, nothing damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import evaluation
import SEAN_GTA5
from model.SEAN import SEANet
from tests.runs import Capture, contents, refusal, scoring_words, words

Spoil = Callable[[Path], list[object]]
"""Spoils a folder of data and returns options."""

IMAGE = "GTA5/images/00001.png"
LABEL = "GTA5/labels/00001.png"


def target_label(root: Path) -> Path:
    return sorted((root / "Cityscapes/gtFine/val").rglob("*_labelIds.png"))[0]


def removed(path: Path) -> list[object]:
    path.unlink()
    return []


def written(path: Path, content: bytes) -> list[object]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return []


def cut(path: Path) -> list[object]:
    return written(path, path.read_bytes()[:-40])


def flipped(path: Path) -> list[object]:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    return written(path, bytes(content))


def weights(root: Path, content: Any) -> list[object]:
    torch.save(content, root / "weights.pth")
    return ["--restore_from", root / "weights.pth"]


def weights_of(root: Path, classes: int, value: float = 0.0) -> list[object]:
    """A file that says nothing of itself, as the original's."""
    with torch.device("meta"):
        shapes = SEANet(classes).state_dict()
    return weights(root, {name: torch.full(v.shape, value) for name, v in shapes.items()})


def colored(root: Path) -> list[object]:
    Image.new("RGB", (64, 32), "red").save(root / LABEL)
    return []


def empty_label(root: Path) -> list[object]:
    Image.new("L", (64, 32), 200).save(root / LABEL)
    return []


def linked(root: Path) -> list[object]:
    (root / "link").symlink_to(root / "GTA5/labels", target_is_directory=True)
    return ["--snapshot_dir", root / "link/new"]


def page(root: Path) -> list[object]:
    written(root / "w.pth", b"<html>quota exceeded</html>")
    return ["--restore_from", root / "w.pth"]


TRAINING: dict[str, tuple[Spoil, str]] = {
    "source is a file": (lambda r: ["--data_dir_source", r / IMAGE], "00001.png/images"),
    "missing target": (lambda r: ["--data_dir_target", r / "no"], "leftImg8bit/val"),
    "missing split": (lambda r: shutil.rmtree(r / "Cityscapes/leftImg8bit/val") or [], "val"),
    "no labels to score": (lambda r: removed(target_label(r)), "gtFine_labelIds.png"),
    "no source label": (lambda r: removed(r / LABEL), "labels/00001.png"),
    "empty image": (lambda r: written(r / IMAGE, b""), "images/00001.png"),
    "truncated image": (lambda r: cut(r / IMAGE), "images/00001.png"),
    "flipped bit": (lambda r: flipped(r / IMAGE), "images/00001.png"),
    "truncated label map": (lambda r: cut(r / LABEL), "labels/00001.png"),
    "colored label map": (colored, "it holds colors"),
    "void label map": (empty_label, "no pixel of a known class"),
    "missing list": (lambda r: ["--data_list_source", r / "no.txt"], "no.txt"),
    "list of others": (
        lambda r: [*written(r / "l.txt", b"7.png\n"), "--data_list_source", r / "l.txt"], "7.png",
    ),
    "list as weights": (lambda r: weights(r, [torch.zeros(3)]), "not a state dict"),
    "other network": (lambda r: weights(r, {"a": torch.zeros(3)}), "nothing that fits"),
    "other class count": (lambda r: weights_of(r, 16), "16 classes"),
    "missing weights": (lambda r: ["--restore_from", r / "no.pth"], "no.pth"),
    "web page as weights": (page, "web page"),
    "weights are nan": (lambda r: [*weights_of(r, 19, float("nan")), "--width", 1], "not finite"),
    "batch too large": (lambda r: ["--batch_size", 99], "smaller --batch_size"),
    "output in a file": (lambda r: ["--snapshot_dir", r / IMAGE / "x"], "00001.png/x"),
    "output where none may write": (lambda r: ["--snapshot_dir", "/proc/run"], "/proc/run"),
    "output among the data": (lambda r: ["--snapshot_dir", r / "GTA5/labels/new"], "outside"),
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

EVALUATION: dict[str, tuple[Spoil, str]] = {
    "no checkpoint": (lambda r: [], "none.pth"),
    "other class count": (lambda r: [*weights_of(r, 16), "--num-classes", 19], "16 classes"),
    "unheard-of class count": (lambda r: weights_of(r, 7), "7 classes"),
    "missing data": (lambda r: [*weights_of(r, 19), "--data_dir", r / "no"], "no/leftImg8bit"),
    "output among the data": (
        lambda r: [*weights_of(r, 19), "--snapshot_dir", r / "Cityscapes/gtFine/val"], "gtFine/val",
    ),
    "missing image": (lambda r: [*weights_of(r, 19), "--images", r / "no.jpg"], "no.jpg"),
    "no image": (
        lambda r: [*weights_of(r, 19), *written(r / "a.mp4", b"x"), "--images", r / "a.mp4"],
        "a.mp4",
    ),
}  # fmt: skip


@pytest.fixture
def root(domains: Path, tmp_path: Path) -> Path:
    return shutil.copytree(domains, tmp_path / "data")


def check_refusal(
    root: Path, program: Callable[[], None], accident: tuple[Spoil, str], base: list[object],
    capfd: Capture,
) -> None:  # fmt: skip
    spoil, fragment = accident
    options = spoil(root)
    before = contents(root)
    message = refusal(capfd, program, *base, *options)
    assert fragment in message
    after = contents(root)
    assert {path: after.get(path) for path in before} == before


@pytest.mark.parametrize("accident", TRAINING)
def test_training_refuses(accident: str, root: Path, capfd: Capture) -> None:
    base: list[object] = words(root, root.parent / "run", "--no_shuffle", max_iters=1)
    check_refusal(root, SEAN_GTA5.main, TRAINING[accident], base, capfd)


@pytest.mark.parametrize("accident", EVALUATION)
def test_evaluation_refuses(accident: str, root: Path, capfd: Capture) -> None:
    base = scoring_words(root / "none.pth", root / "Cityscapes", root.parent / "maps")
    check_refusal(root, evaluation.main, EVALUATION[accident], base, capfd)
