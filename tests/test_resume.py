"""Random generators continue where they were saved; a changed experiment is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from utils.command_line import plain_options
from utils.errors import UserError
from utils.files import load_tensors, save_tensors
from utils.options import TrainingOptions
from utils.training.resume import open_run, random_state, restore_random_state
from utils.training.run_files import STATE, RunFiles

CPU = torch.device("cpu")


def draw() -> list[float]:
    """An odd number of draws, so that generators of pairs keep the second for later."""
    return [*torch.rand(2).tolist(), torch.randn(()).item()]


def test_generators_continue_where_they_were_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    draw()
    save_tensors(tmp_path / "last.pth", random_state(CPU))
    expected = [draw(), draw()]
    torch.manual_seed(1)
    assert draw() != expected[0]
    restore_random_state(load_tensors(tmp_path / "last.pth"), CPU)
    assert [draw(), draw()] == expected


def fixed(options: TrainingOptions, processes: int = 1, **data: str) -> dict[str, Any]:
    parts = {"source": "s", "target": "t", "scored": "c"} | data
    saved = plain_options(options) | {"processes": processes}
    return {"options": saved, "data": parts, "iterations": 0}


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    made = RunFiles(tmp_path, "GTA")
    state = dict.fromkeys(STATE, 0) | fixed(TrainingOptions())
    made.save_last(state | {"progress": {"iteration": 5, "score_due": False}})
    return made


def test_an_unchanged_run_is_resumed(files: RunFiles) -> None:
    options = dataclasses.replace(TrainingOptions(), resume=True, num_workers=3)
    saved, warning = open_run(files, options, fixed(options), True)
    assert saved is not None
    assert saved["progress"]["iteration"] == 5
    assert warning == ""


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
    changes: dict[str, Any], processes: int, data: dict[str, str], named: list[str], files: RunFiles
) -> None:
    options = dataclasses.replace(TrainingOptions(), resume=True, **changes)
    with pytest.raises(UserError) as caught:
        open_run(files, options, fixed(options, processes, **data), True)
    listed = str(caught.value).splitlines()[0].partition("other options or data: ")[2]
    assert len(listed.split(", ")) == len(named) + any("other" in text for text in named)
    assert all(text in listed for text in named)


def test_a_new_run_overwrites_nothing(files: RunFiles) -> None:
    with pytest.raises(UserError, match="--resume"):
        open_run(files, TrainingOptions(), fixed(TrainingOptions()), True)
    assert files.last.exists()
