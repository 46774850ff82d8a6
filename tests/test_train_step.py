"""One iteration: accumulated gradients, and no waiting for a GPU."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.optim import SGD

from SEAN_GTA5 import EXPERIMENT
from utils.options import TrainingConfig
from utils.training.batches import Domains
from utils.training.distributed import Processes
from utils.training.networks import Networks
from utils.training.train_step import train_step

CONFIG = dataclasses.replace(EXPERIMENT.defaults, restore_from="none", noise=0.0, st_weight=100.0)


def batch(seed: int, device: str = "cpu") -> Domains:
    generator = torch.Generator().manual_seed(seed)
    images = 50 * torch.randn(2, 1, 3, 16, 32, generator=generator)
    labels = torch.randint(0, 19, (1, 16, 32), generator=generator)
    return Domains(images[0].to(device), labels.to(device), images[1].to(device), (f"{seed}.png",))


def moved(batches: list[Domains], config: TrainingConfig) -> Tensor:
    """How far an iteration of plain gradient descent with step size 1 moves the classifier."""
    networks = Networks(config, torch.device("cpu"), Processes(), None)
    generator = torch.Generator().manual_seed(0)
    for parameter in networks.plain_teacher.classifier.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    weight = networks.plain_student.classifier.conv2d_list[0].weight
    before = weight.detach().clone()
    optimizer = SGD([p for p in networks.plain_student.parameters() if p.requires_grad], lr=1.0)
    train_step(networks.student, networks.teacher, optimizer, batches, config, Processes())
    return weight.detach() - before


def test_accumulated_batches_average_the_gradient() -> None:
    one, other = (moved([batch(seed)], CONFIG) for seed in (1, 2))
    both = moved([batch(1), batch(2)], CONFIG)
    assert (one - other).norm() > 0.1 * one.norm()
    assert (both - (one + other) / 2).norm() < 1e-4 * both.norm()


def test_both_losses_move_the_student() -> None:
    """The weighted sum: the step is linear in the self-ensembling weight."""
    none, once, twice = (
        moved([batch(1)], dataclasses.replace(CONFIG, st_weight=weight)) for weight in (0, 100, 200)
    )
    assert (once - none).norm() > 0.01 * none.norm()
    assert (twice - none - 2 * (once - none)).norm() < 1e-3 * (twice - none).norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_an_iteration_never_waits_for_the_gpu() -> None:
    networks = Networks(CONFIG, torch.device("cuda"), Processes(), None)

    def step() -> None:
        train_step(
            networks.student, networks.teacher, networks.optimizer, batches, CONFIG, Processes()
        )

    batches = [batch(1, "cuda")]
    step()  # the first one allocates
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
