"""Learning rate over a run."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.SEAN import SEANet
from model.teacher import make_teacher
from utils.options import TrainingOptions
from utils.training.distributed import Processes
from utils.training.networks import Networks


def rates(schedule: str) -> list[float]:
    student = SEANet(2, width=1 / 64)
    options = dataclasses.replace(TrainingOptions(), lr_schedule=schedule, learning_rate=1e-3)
    teacher = make_teacher(student)
    networks = Networks(student, teacher, options, torch.device("cpu"), Processes(), None)
    found = []
    for iteration in range(100):
        networks.set_learning_rate(iteration / 100)
        found.append(networks.optimizer.param_groups[0]["lr"])
    return found


def test_the_papers_learning_rate_is_constant() -> None:
    assert set(rates("constant")) == {1e-3}


def test_poly_rises_and_decays() -> None:
    found = rates("poly")
    assert found[0] == pytest.approx(1e-5)
    assert found[:6] == sorted(found[:6])
    for iteration in (10, 50, 99):
        assert found[iteration] == pytest.approx(1e-3 * (1 - iteration / 100) ** 0.9)
