"""Bad input that a program meets: one message with the path and the remedy, nothing damaged.

What each reader refuses is in the tests of that reader.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import evaluation
import SEAN_GTA5
from model.SEAN import SEANet
from tests.runs import Capture, contents, refusal, scoring_words, words
from tools.demo import write_demo

Case = tuple[Callable[[Path], list[object]], str]
"""Spoils a folder of data and returns options; and what the message must hold."""

IMAGE = "GTA5/images/00001.png"
TARGET_LABEL = "Cityscapes/gtFine/val/demo/demo_000000_000019_gtFine_labelIds.png"


def without_target_label(root: Path) -> list[object]:
    (root / TARGET_LABEL).unlink()
    return []


def weights(root: Path, content: Any) -> list[object]:
    torch.save(content, root / "weights.pth")
    return ["--restore_from", root / "weights.pth"]


def weights_of(root: Path, classes: int) -> list[object]:
    """A file that says nothing of itself, as the original's."""
    with torch.device("meta"):
        shapes = SEANet(classes).state_dict()
    return weights(root, {name: torch.zeros(value.shape) for name, value in shapes.items()})


def damaged_checkpoint(root: Path) -> list[object]:
    (root / "run").mkdir()
    (root / "run/last.pth").write_bytes(b"precious")
    return ["--snapshot_dir", root / "run", "--resume"]


TRAINING: dict[str, Case] = {
    "source is a file": (lambda r: ["--data_dir_source", r / IMAGE], "00001.png/images"),
    "missing target folder": (lambda r: ["--data_dir_target", r / "no"], "leftImg8bit/val"),
    "target without label": (without_target_label, "gtFine_labelIds.png"),
    "list as weights": (lambda r: weights(r, [torch.zeros(3)]), "not a state dict"),
    "batch too large": (lambda r: ["--batch_size", 99], "smaller --batch_size"),
    "snapshots in a file": (lambda r: ["--snapshot_dir", r / IMAGE / "x"], "00001.png/x"),
    "snapshots where none may write": (lambda r: ["--snapshot_dir", "/proc/run"], "/proc/run"),
    "cache in a file": (lambda r: ["--cache_dir", r / IMAGE / "x"], "--cache_dir"),
    "damaged checkpoint": (damaged_checkpoint, "last.pth"),
}

EVALUATION: dict[str, Case] = {
    "other class count": (lambda r: [*weights_of(r, 16), "--num-classes", 19], "16 classes"),
    "unheard-of class count": (lambda r: weights_of(r, 7), "7 classes"),
    "missing data": (lambda r: [*weights_of(r, 19), "--data_dir", r / "no"], "no/leftImg8bit"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_demo(tmp_path, "gta5", count_source=2, count_target=2, size=(64, 32))
    return tmp_path


def check_refusal(
    root: Path, program: Callable[[], None], case: Case, base: list[object], capfd: Capture
) -> None:
    make, fragment = case
    options = make(root)
    before = contents(root)
    assert fragment in refusal(capfd, program, *base, *options)
    after = contents(root)
    assert {path: after.get(path) for path in before} == before


@pytest.mark.parametrize("case", TRAINING)
def test_training_refuses(case: str, root: Path, capfd: Capture) -> None:
    base: list[object] = [*words(root, root / "snapshots")]
    check_refusal(root, SEAN_GTA5.main, TRAINING[case], base, capfd)


@pytest.mark.parametrize("case", EVALUATION)
def test_evaluation_refuses(case: str, root: Path, capfd: Capture) -> None:
    base = scoring_words(root / "none.pth", root / "Cityscapes", root / "maps")
    check_refusal(root, evaluation.main, EVALUATION[case], base, capfd)
