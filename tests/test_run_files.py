"""Checkpoints: which is read, which stays. metrics.jsonl: read, cut back, drawn."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from utils.errors import UserError
from utils.files import save_tensors
from utils.training.snapshots import STATE, Snapshots

LINES = [
    {"iteration": 10, "loss": 1.0123457, "cls_loss": 1.0, "st_loss": 1e-07, "kept": 0.5},
    {
        "iteration": 20,
        "network": "teacher",
        "target_miou": 0.25,
        "iou": {"road": 0.5, "train": None},
    },
    {"iteration": 30, "loss": 0.5, "cls_loss": 0.5, "st_loss": 0.0, "kept": 0.0},
]


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    made = Snapshots(tmp_path, "GTA")
    made.metrics.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return made


@pytest.mark.parametrize(("iteration", "kept"), [(0, 0), (19, 1), (20, 2), (30, 3), (99, 3)])
@pytest.mark.parametrize("torn", ["", '{"iteration": 40, "lo', "\x00\x00", "3", "{}"])
def test_later_lines_are_cut(snapshots: Snapshots, iteration: int, kept: int, torn: str) -> None:
    whole = snapshots.metrics.read_text().splitlines(keepends=True)
    snapshots.metrics.write_text("".join(whole) + torn)
    snapshots.cut_metrics(iteration, score_due=False)
    assert snapshots.metrics.read_text() == "".join(whole[:kept])
    assert snapshots.read_metrics() == LINES[:kept]


def test_a_scoring_that_is_made_up_for_is_cut(snapshots: Snapshots) -> None:
    snapshots.cut_metrics(20, score_due=True)
    assert snapshots.read_metrics() == LINES[:1]


def test_a_run_without_lines_is_left_alone(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, "GTA")
    snapshots.cut_metrics(5, score_due=False)
    assert snapshots.read_metrics() == []
    assert list(tmp_path.iterdir()) == []


def test_the_curves_are_drawn_anew(snapshots: Snapshots) -> None:
    snapshots.curves.write_bytes(b"an earlier picture")
    snapshots.draw_curves()
    assert Image.open(snapshots.curves).format == "PNG"


def test_no_drawing_stays_in_memory(snapshots: Snapshots) -> None:
    snapshots.draw_curves()
    assert not any(type(thing) is Figure for thing in gc.get_objects())


def test_unreadable_lines_are_named(snapshots: Snapshots) -> None:
    snapshots.metrics.unlink()
    snapshots.metrics.mkdir()
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        snapshots.read_metrics()


@pytest.mark.parametrize("name", ["metrics.jsonl", "curves.png", "tensorboard", "last.pth"])
def test_a_folder_that_holds_a_run_is_not_claimed(tmp_path: Path, name: str) -> None:
    snapshots = Snapshots(tmp_path, "GTA")
    snapshots.check_free()
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="--resume"):
        snapshots.check_free()


def state(iteration: int) -> dict[str, int]:
    return dict.fromkeys(STATE, 0) | {"iteration": iteration}


def test_a_damaged_checkpoint_does_not_take_the_place_of_the_whole_one(tmp_path: Path) -> None:
    earlier = Snapshots(tmp_path, "GTA")
    earlier.save_last(state(1))
    earlier.save_last(state(2))
    damaged = bytearray(earlier.last.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    earlier.last.write_bytes(damaged)
    snapshots = Snapshots(tmp_path, "GTA")
    saved, warning = snapshots.load_last()
    assert saved == state(1)
    assert "going on with the checkpoint before it" in warning
    snapshots.save_last(state(3))
    assert snapshots.load_last() == (state(3), "")
    snapshots.last.unlink()
    assert snapshots.load_last() == (state(1), "")
    snapshots.save_last(state(4))
    snapshots.save_last(state(5))
    snapshots.last.unlink()
    assert snapshots.load_last() == (state(4), "")


@pytest.mark.parametrize("content", [{"weight": 1.0}, [1, 2], None])
def test_other_files_are_no_checkpoint(tmp_path: Path, content: object) -> None:
    snapshots = Snapshots(tmp_path, "GTA")
    save_tensors(snapshots.last, content)
    with pytest.raises(UserError, match="not what a run saves"):
        snapshots.load_last()


def test_what_stands_in_the_way_of_a_checkpoint_is_named(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, "GTA")
    snapshots.save_last(state(1))
    snapshots.previous.mkdir()
    with pytest.raises(UserError, match=r"cannot write .*last\.pth"):
        snapshots.save_last(state(2))
    assert snapshots.load_last() == (state(2), "")
