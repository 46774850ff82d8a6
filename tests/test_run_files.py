"""Checkpoints: read, kept, refused to a changed run. metrics.jsonl: read, cut back, drawn."""

from __future__ import annotations

import dataclasses
import gc
import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from utils.command_line import plain_options
from utils.errors import UserError
from utils.files import save_tensors
from utils.options import TrainingOptions
from utils.training.run_files import STATE, RunFiles

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
def files(tmp_path: Path) -> RunFiles:
    made = RunFiles(tmp_path, "GTA")
    made.metrics.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return made


@pytest.mark.parametrize(("iteration", "kept"), [(0, 0), (19, 1), (20, 2), (30, 3), (99, 3)])
@pytest.mark.parametrize("torn", ["", '{"iteration": 40, "lo', "\x00\x00", "3", "{}"])
def test_later_lines_are_cut(files: RunFiles, iteration: int, kept: int, torn: str) -> None:
    whole = files.metrics.read_text().splitlines(keepends=True)
    files.metrics.write_text("".join(whole) + torn)
    files.cut_metrics(iteration, score_due=False)
    assert files.metrics.read_text() == "".join(whole[:kept])
    assert files.read_metrics() == LINES[:kept]


def test_a_scoring_that_is_made_up_for_is_cut(files: RunFiles) -> None:
    files.cut_metrics(20, score_due=True)
    assert files.read_metrics() == LINES[:1]


def test_a_run_without_lines_is_left_alone(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, "GTA")
    files.cut_metrics(5, score_due=False)
    assert files.read_metrics() == []
    assert list(tmp_path.iterdir()) == []


def test_the_curves_replace_an_earlier_picture(files: RunFiles) -> None:
    files.curves.write_bytes(b"an earlier picture")
    files.draw_curves()
    assert Image.open(files.curves).format == "PNG"


def test_no_drawing_stays_in_memory(files: RunFiles) -> None:
    files.draw_curves()
    assert not any(type(thing) is Figure for thing in gc.get_objects())


def test_unreadable_lines_are_named(files: RunFiles) -> None:
    files.metrics.unlink()
    files.metrics.mkdir()
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        files.read_metrics()


@pytest.mark.parametrize("name", ["metrics.jsonl", "curves.png", "tensorboard", "last.pth"])
def test_a_folder_that_holds_a_run_is_not_claimed(tmp_path: Path, name: str) -> None:
    files = RunFiles(tmp_path, "GTA")
    assert files.open_run(TrainingOptions(), {}, True) == (None, "")
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="--resume"):
        files.open_run(TrainingOptions(), {}, True)
    assert (tmp_path / name).exists()


def state(iteration: int) -> dict[str, Any]:
    return dict.fromkeys(STATE, 0) | {"progress": iteration, "student": "most of the file" * 999}


def test_a_damaged_checkpoint_does_not_take_the_place_of_the_whole_one(tmp_path: Path) -> None:
    earlier = RunFiles(tmp_path, "GTA")
    earlier.save_last(state(1))
    earlier.save_last(state(2))
    damaged = bytearray(earlier.last.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    earlier.last.write_bytes(damaged)
    files = RunFiles(tmp_path, "GTA")
    saved, warning = files.load_last()
    assert saved == state(1)
    assert "using the checkpoint before it" in warning
    files.save_last(state(3))
    assert files.load_last() == (state(3), "")
    files.last.unlink()
    assert files.load_last() == (state(1), "")
    files.save_last(state(4))
    files.save_last(state(5))
    files.last.unlink()
    assert files.load_last() == (state(4), "")


EARLIER_LAYOUT = dict.fromkeys([*(STATE - {"progress", "data"}), "epoch", "iteration", "images"], 0)


@pytest.mark.parametrize("content", [EARLIER_LAYOUT, {"weight": 1.0}, [1, 2], None])
def test_other_files_and_earlier_layouts_are_refused(tmp_path: Path, content: object) -> None:
    files = RunFiles(tmp_path, "GTA")
    save_tensors(files.last, content)
    with pytest.raises(UserError, match="not written by this version"):
        files.load_last()


def test_what_stands_in_the_way_of_a_checkpoint_is_named(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, "GTA")
    files.save_last(state(1))
    files.previous.mkdir()
    with pytest.raises(UserError, match=r"cannot write .*last\.pth"):
        files.save_last(state(2))
    assert files.load_last() == (state(2), "")


def fixed(options: TrainingOptions, processes: int = 1, **data: str) -> dict[str, Any]:
    parts = {"source": "s", "target": "t", "scored": "c"} | data
    saved = plain_options(options) | {"processes": processes}
    return {"options": saved, "data": parts, "iterations": 0}


@pytest.fixture
def interrupted(files: RunFiles) -> RunFiles:
    state = dict.fromkeys(STATE, 0) | fixed(TrainingOptions())
    files.save_last(state | {"progress": {"iteration": 20, "score_due": True}})
    return files


def test_an_unchanged_run_is_resumed(interrupted: RunFiles) -> None:
    options = dataclasses.replace(TrainingOptions(), resume=True, num_workers=3)
    saved, warning = interrupted.open_run(options, fixed(options), True)
    assert saved is not None
    assert saved["progress"]["iteration"] == 20
    assert warning == ""
    assert interrupted.read_metrics() == LINES[:1]


@pytest.mark.parametrize(
    ("changes", "processes", "data", "named"),
    [
        ({"noise": 0.5, "seed": 2}, 1, {}, ["--noise 0.1 -> 0.5", "--seed 0 -> 2"]),
        ({}, 2, {}, ["processes 1 -> 2"]),
        ({}, 1, {"source": "x"}, ["other source images, classes or label ids"]),
        ({}, 1, {"scored": "x"}, ["other scored images, classes or label ids"]),
    ],
)
def test_a_changed_run_is_refused(
    changes: dict[str, Any],
    processes: int,
    data: dict[str, str],
    named: list[str],
    interrupted: RunFiles,
) -> None:
    options = dataclasses.replace(TrainingOptions(), resume=True, **changes)
    with pytest.raises(UserError) as caught:
        interrupted.open_run(options, fixed(options, processes, **data), True)
    listed = str(caught.value).splitlines()[0].partition("other options or data: ")[2]
    assert len(listed.split(", ")) == len(named) + any("other" in text for text in named)
    assert all(text in listed for text in named)
