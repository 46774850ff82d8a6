"""The lines of metrics.jsonl and TensorBoard's events: complete, valid, never doubled."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.runs import LOG, make_special
from training.log import Log
from training.run_files import RunFiles
from utils.errors import UserError

MEANS = (1.5, 1.25, 0.25, 0.125, 0.75, 3.0)  # exact in binary: read back as they are
NAMES = ("loss", "cls_loss", "st_loss", "source_miou", "kept", "gradient")


def make_log(folder: Path, done: int = 0, board: bool = False, show: bool = True) -> Log:
    return Log(RunFiles(folder, "GTA"), 100, done, board, show)


def lines(folder: Path) -> list[Any]:
    """Read JSON as other languages do: NaN and Infinity are no numbers."""
    text = (folder / "metrics.jsonl").read_text()
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def test_a_log_interval_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    log = make_log(tmp_path, done=20)
    now[0] += 4
    log.losses(30, 1, "5/25", 1e-5, MEANS)
    now[0] += 60  # spent on scoring and saving
    log.restart_clock()
    now[0] += 1
    log.losses(35, 1, "10/25", 1e-5, MEANS)
    constant = {"epoch": 1, **dict(zip(NAMES, MEANS, strict=True)), "learning_rate": 1e-5}
    assert lines(tmp_path) == [
        {"iteration": 30, **constant, "iterations_per_s": 2.5},
        {"iteration": 35, **constant, "iterations_per_s": 5.0},
    ]


def test_a_scoring_is_a_line_without_nan(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.score(50, "teacher", 1 / 3, {"road": 2 / 3, "train": math.nan, "bus": 0.0})
    log.losses(60, 0, "60/100", 1e-5, (*MEANS[:3], math.nan, *MEANS[4:]))
    scoring, interval = lines(tmp_path)
    assert scoring == {
        "iteration": 50,
        "target_miou": pytest.approx(1 / 3, rel=1e-6),
        "network": "teacher",
        "iou": {"road": pytest.approx(2 / 3, rel=1e-6), "train": None, "bus": 0.0},
    }
    assert interval["source_miou"] is None
    assert "train nan bus 0.0" in (tmp_path / LOG).read_text()


def test_names_are_written_on_one_line_in_utf_8(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = make_log(tmp_path)
    log.line("cannot read " + os.fsdecode(b"caf\xe9.png\nforged"))
    assert "cannot read caf\\udce9.png\\nforged\n" in (tmp_path / LOG).read_text()
    assert "cannot read caf\\udce9.png\\nforged\n" in "".join(capfd.readouterr())


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    log = make_log(tmp_path, board=True, show=False)
    log.losses(10, 0, "10/100", 1e-5, MEANS)
    log.score(10, "teacher", 0.5, {"road": 0.5})
    log.pictures(10, [("a", np.zeros((4, 4, 3), np.uint8))])
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_shows_what_the_lines_hold(tmp_path: Path) -> None:
    log = make_log(tmp_path, board=True)
    log.losses(10, 0, "10/100", 1e-5, MEANS)
    log.score(10, "student", 0.5, {"road": 0.25, "train": math.nan})
    picture = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    log.pictures(10, [("a.png", picture)])
    expected = {f"train/{name}": value for name, value in zip(NAMES, MEANS, strict=True)}
    expected |= {"train/learning_rate": pytest.approx(1e-5), "student/target_miou": 0.5}
    expected |= {"student iou/road": 0.25}
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(shown.Tags()["scalars"]) == {*expected, "train/iterations_per_s"}
    assert {tag: shown.Scalars(tag)[0].value for tag in expected} == expected
    assert {shown.Scalars(tag)[0].step for tag in expected} == {10}
    (image,) = shown.Images("target/a.png")
    assert (image.step, image.width, image.height) == (10, 9, 6)


def test_without_tensorboard_one_message_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match=r"--tensorboard: .* not installed\n  pip install"):
        make_log(tmp_path, board=True)


def test_tensorboard_needs_a_name_in_utf_8(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--tensorboard: .*caf\\udce9.*\n  choose another"):
        make_log(tmp_path / os.fsdecode(b"caf\xe9"), board=True)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    make_special(tmp_path / LOG, kind)
    with pytest.raises(UserError, match=f"cannot write .*{LOG}: .*\n  remove what is in the way"):
        make_log(tmp_path).line("text")


@pytest.mark.parametrize("broken", [LOG, "metrics.jsonl", "tensorboard"])
def test_what_cannot_be_written_is_named(broken: str, tmp_path: Path) -> None:
    if broken == "tensorboard":
        (tmp_path / broken).write_text("in the way")
    else:
        (tmp_path / broken).mkdir()
    with pytest.raises(UserError, match=re.escape(f"cannot write {tmp_path / broken}: ")):
        make_log(tmp_path, board=broken == "tensorboard").losses(10, 0, "10/100", 1e-5, MEANS)
