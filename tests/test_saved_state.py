"""A last.pth that training did not write so: one message with the path, and nothing is changed."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from model.SEAN import SEANet
from model.teacher import make_teacher
from training.distributed import Processes
from training.networks import Networks
from training.options import TrainingOptions
from training.run_files import RunFiles
from training.saved_state import CLASSES, Progress, restoring
from utils.device import random_state, restore_random_state
from utils.errors import UserError
from utils.files import save_tensors

CPU = torch.device("cpu")


def make_networks(saved: dict[str, Any] | None = None) -> Networks:
    student = SEANet(2, width=1 / 64)
    return Networks(student, make_teacher(student), TrainingOptions(), CPU, Processes(), saved)


def resume(folder: Path) -> Networks:
    """Restore what a run restores, in its order."""
    saved, _ = RunFiles(folder, "GTA").load_last()
    assert saved is not None
    networks = make_networks(saved)
    with restoring("random", saved["path"]):
        restore_random_state(saved["random"][0], CPU)
    return networks


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """What a run saves after one iteration."""
    networks = make_networks()
    logits = networks.student(torch.randn(1, 3, 16, 16)).logits
    logits.square().sum().backward()
    networks.optimizer.step()
    return {
        **networks.state(),
        "options": dataclasses.asdict(TrainingOptions()) | {"processes": 1},
        "iterations": 0,
        "epoch_iterations": 7,
        "data": {"source images": "0", CLASSES: "1"},
        "progress": dataclasses.asdict(Progress(batch=1, iteration=1)),
        "history": torch.ones(1, 4),
        "random": [random_state(CPU)],
    }


def test_a_whole_state_is_restored(whole: dict[str, Any], tmp_path: Path) -> None:
    save_tensors(tmp_path / "last.pth", whole)
    networks = resume(tmp_path)
    assert networks.optimizer.param_groups[0]["lr"] == TrainingOptions().learning_rate
    for name, moment in whole["optimizer"][0].items():
        assert torch.equal(networks.state()["optimizer"][0][name], moment)


DELETE = object()
NAN = float("nan")
OTHERS = [None, 7, "text", [1, 2], {"a": 1}, torch.zeros(3), DELETE]
CHANGES: list[tuple[tuple[Any, ...], list[Any]]] = [
    *(((field,), OTHERS) for field in ("student", "teacher", "optimizer", "progress", "history")),
    *(((field,), OTHERS) for field in ("random", "options", "data")),
    *(((field,), [None, -1, 1.0, True, DELETE]) for field in ("iterations", "epoch_iterations")),
    (("extra",), [1]),
    (("student", "features.0.bias"), [torch.full((1,), NAN), torch.zeros(2), 3, DELETE]),
    (("teacher", "extra"), [torch.zeros(1)]),
    (("teacher", "aconv.weight"), [torch.full((1, 16, 1, 1), 1e300, dtype=torch.float64)]),
    (("optimizer", 0), [{}, DELETE]),
    (("optimizer", 99), [{}]),
    (("optimizer", 0, "exp_avg"), [torch.zeros(3), torch.full((1, 3, 3, 3), NAN), "text"]),
    (("optimizer", 0, "exp_avg_sq"), [torch.zeros(3), torch.full((1, 3, 3, 3), -1.0), DELETE]),
    (("optimizer", 0, "step"), [torch.tensor(NAN), torch.tensor(-1.0), torch.ones(2), "1"]),
    (("progress", "iteration"), [-1, 1.0, "1", True, 2, 10**500, DELETE]),
    (("progress", "batch"), [8, -1]),
    (("progress", "epoch"), [-1, None]),
    (("progress", "best_miou"), [NAN, 2.0, 1]),
    (("progress", "extra"), [1]),
    (("history",), [torch.ones(2, 4), torch.ones(1, 4).double(), torch.ones(1, 4).to_sparse()]),
    (("random",), [[], [{}], [{"cpu": 1, "device": None}]]),
    (("random", 0, "cpu"), [torch.zeros(5056), torch.zeros(3, dtype=torch.uint8), DELETE]),
    (("options", "noise"), [torch.zeros(2), [1]]),
    (("options", "input_size"), [(torch.zeros(2), 3)]),
    (("options", "processes"), [2, "1", DELETE]),
    (("data", "source images"), [1]),
]


@pytest.mark.parametrize(
    ("keys", "value"),
    [(keys, value) for keys, values in CHANGES for value in values],
    ids=lambda part: ".".join(map(str, part)) if isinstance(part, tuple) else "",
)
def test_changed_state_is_refused(
    keys: tuple[Any, ...], value: Any, whole: dict[str, Any], tmp_path: Path
) -> None:
    state = copy.deepcopy(whole)
    place = state
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    if value is DELETE:
        del place[keys[-1]]
    path = tmp_path / "last.pth"
    save_tensors(path, state)
    before = path.read_bytes()
    with pytest.raises(UserError) as caught:
        resume(tmp_path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["last.pth"]
