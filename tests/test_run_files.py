"""Checkpoints: read, kept, refused to a changed run. The curves of metrics.jsonl."""

from __future__ import annotations

import dataclasses
import gc
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from tests.test_records import LINES
from training.options import TrainingOptions, demo_training
from training.run_files import RunFiles, can_resume
from training.saved_state import CLASSES, FIELDS, Progress
from utils.errors import UserError
from utils.files import save_tensors
from utils.output_folder import LOCK


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    made = RunFiles(tmp_path, "GTA")
    made.metrics.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return made


def test_the_curves_replace_an_earlier_picture(files: RunFiles) -> None:
    files.curves.write_bytes(b"an earlier picture")
    files.draw_curves()
    assert Image.open(files.curves).format == "PNG"


def test_no_drawing_stays_in_memory(files: RunFiles) -> None:
    files.draw_curves()
    assert not any(type(thing) is Figure for thing in gc.get_objects())


def test_the_folders_name_can_be_in_any_script(tmp_path: Path) -> None:
    (tmp_path / "日本").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RunFiles(tmp_path / "日本", "GTA").draw_curves()


BEST = "GTA2Cityscapes_epoch0batch2tgt_miu_15.pth"


@pytest.mark.parametrize("name", ["metrics.jsonl", "last.complete.pth", "tensorboard", BEST])
def test_a_folder_that_holds_a_run_is_not_claimed(tmp_path: Path, name: str) -> None:
    files = RunFiles(tmp_path, "GTA")
    assert files.open_run(TrainingOptions(), {}, True) == (None, "")
    (tmp_path / name).symlink_to("nothing")
    with pytest.raises(UserError, match="--resume"):
        files.open_run(TrainingOptions(), {}, True)
    assert (tmp_path / name).is_symlink()


DEMO = TrainingOptions(demo=True, **demo_training("GTA", "GTA5"))


def earlier_demo(folder: Path) -> RunFiles:
    files = RunFiles(folder, "GTA")
    files.board.mkdir(parents=True)
    for path in (files.board / "events.out.tfevents.1", files.last, folder / BEST):
        path.touch()
    files.final.symlink_to("nothing")
    return files


def test_a_demo_is_replaced_but_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = earlier_demo(Path(DEMO.snapshot_dir))
    assert files.open_run(DEMO, {}, True) == (None, "")
    assert [path.name for path in files.folder.iterdir()] == [LOCK]


@pytest.mark.parametrize("name", ["mine", "tensorboard/mine", "last.pth/mine"])
def test_files_of_others_stay_when_a_demo_is_replaced(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = earlier_demo(Path(DEMO.snapshot_dir))
    mine = files.folder / name
    if name.startswith("last.pth"):
        files.last.unlink()
        files.last.mkdir()
    mine.touch()
    if "/" in name:  # in place of a run's file
        with pytest.raises(UserError, match="holds an earlier run"):
            files.open_run(DEMO, {}, True)
    else:
        assert files.open_run(DEMO, {}, True) == (None, "")
    assert mine.exists()


@pytest.mark.parametrize("kind", ["linked folder", "own data"])
def test_only_a_demo_is_replaced(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files, options = earlier_demo(Path(DEMO.snapshot_dir)), DEMO
    if kind == "linked folder":
        files.folder.rename("elsewhere")
        files.folder.symlink_to(tmp_path / "elsewhere")
    else:
        options = dataclasses.replace(DEMO, data_dir_source="mine")
    before = {*files.folder.rglob("*"), files.folder / LOCK}
    with pytest.raises(UserError, match="holds an earlier run"):
        files.open_run(options, {}, True)
    assert set(files.folder.rglob("*")) == before


def test_a_name_that_is_too_long_holds_no_run() -> None:
    assert not can_resume(TrainingOptions(resume=True, snapshot_dir="a" * 256))


def fixed(options: TrainingOptions, processes: int = 1, **data: str) -> dict[str, Any]:
    parts = {"source images": "s", "scored images": "c", CLASSES: "i"} | data
    saved = dataclasses.asdict(options) | {"processes": processes}
    return {"options": saved, "data": parts, "iterations": 0, "epoch_iterations": 30}


def state(iteration: int) -> dict[str, Any]:
    progress = Progress(batch=iteration, iteration=iteration, score_due=True)
    return dict.fromkeys(FIELDS, "most of the file" * 999) | {
        **fixed(TrainingOptions()),
        "progress": dataclasses.asdict(progress),
        "history": torch.zeros(iteration, 4),
        "random": [None],
    }


def load_last(files: RunFiles) -> tuple[int, str]:
    saved, warning = files.load_last()
    assert saved is not None
    return saved["progress"]["iteration"], warning


def test_a_damaged_checkpoint_does_not_take_the_place_of_the_whole_one(tmp_path: Path) -> None:
    earlier = RunFiles(tmp_path, "GTA")
    earlier.save_last(state(1))
    earlier.save_last(state(2))
    damaged = bytearray(earlier.last.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    earlier.last.write_bytes(damaged)
    files = RunFiles(tmp_path, "GTA")
    iteration, warning = load_last(files)
    assert iteration == 1
    assert "using the checkpoint before it" in warning
    files.save_last(state(3))
    assert load_last(files) == (3, "")
    files.last.unlink()
    assert load_last(files) == (1, "")
    files.save_last(state(4))
    files.save_last(state(5))
    files.last.unlink()
    assert load_last(files) == (4, "")


@pytest.mark.parametrize("content", [{"weight": 1.0}, [1, 2], None])
def test_other_files_are_refused(tmp_path: Path, content: object) -> None:
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
    assert load_last(files) == (2, "")


@pytest.mark.parametrize(
    ("changes", "processes", "data", "named"),
    [
        ({"noise": 0.5, "seed": 2}, 1, {}, ["--noise 0.1 -> 0.5", "--seed 0 -> 2"]),
        ({}, 2, {}, ["processes 1 -> 2"]),
        ({}, 1, {"source images": "x"}, ["other source images"]),
        ({"classes": "my.yaml"}, 1, {CLASSES: "x"}, ["other classes or label ids in my.yaml"]),
        ({}, 1, {CLASSES: "x", "scored images": "x"}, ["other scored images", f"other {CLASSES}"]),
    ],
)
def test_a_changed_run_is_refused(
    changes: dict[str, Any], processes: int, data: dict[str, str], named: list[str],
    files: RunFiles,
) -> None:  # fmt: skip
    files.save_last(state(20))
    options = dataclasses.replace(TrainingOptions(), resume=True, **changes)
    with pytest.raises(UserError) as caught:
        files.open_run(options, fixed(options, processes, **data), True)
    problem, remedy = str(caught.value).splitlines()
    assert "--restore_from" in remedy
    listed = problem.partition("other options or data: ")[2]
    assert len(listed.split(", ")) == len(named)
    assert all(text in listed for text in named)
