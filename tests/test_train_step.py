"""One iteration: the weighted sum of both losses, its learning rate, no waiting for a GPU."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.optim import SGD

from model.pretrained import initialize
from model.SEAN import SEANet
from model.teacher import make_teacher
from SEAN_GTA5 import EXPERIMENT
from training.options import TrainingOptions
from training.train_step import DomainBatch, make_optimizer, set_learning_rate, train_step

OPTIONS = dataclasses.replace(EXPERIMENT, noise=0.0, st_weight=100.0)


def make_batch(device: str = "cpu") -> DomainBatch:
    generator = torch.Generator().manual_seed(1)
    images = 50 * torch.randn(2, 1, 3, 16, 32, generator=generator)
    labels = torch.randint(0, 19, (1, 16, 32), generator=generator)
    source, target = images.to(device)
    return DomainBatch(source, labels.to(device), target, target, ("1.png",))


def make_networks(device: str = "cpu") -> tuple[SEANet, SEANet]:
    torch.manual_seed(0)
    student = SEANet(19, width=0.125)
    initialize(student, "none")
    student.to(device)
    return student, make_teacher(student)


def classifier_step(options: TrainingOptions, batch: DomainBatch) -> Tensor:
    """How far an iteration of plain gradient descent with step size 1 moves the classifier."""
    student, teacher = make_networks()
    generator = torch.Generator().manual_seed(0)
    for parameter in teacher.classifier.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    weight = student.classifier.conv2d_list[0].weight
    before = weight.detach().clone()
    optimizer = SGD([p for p in student.parameters() if p.requires_grad], lr=1.0)
    train_step(student, teacher, optimizer, batch, options)
    return weight.detach() - before


def test_the_step_is_linear_in_the_self_ensembling_weight() -> None:
    none, once, twice = (
        classifier_step(dataclasses.replace(OPTIONS, st_weight=weight), make_batch())
        for weight in (0, 100, 200)
    )
    assert (once - none).norm() > 0.01 * none.norm()
    assert (twice - none - 2 * (once - none)).norm() < 1e-3 * (twice - none).norm()


def test_without_a_target_the_segmentation_loss_alone_moves_the_student() -> None:
    zero = dataclasses.replace(OPTIONS, st_weight=0)
    alone = classifier_step(OPTIONS, make_batch()._replace(target=None))
    assert torch.equal(alone, classifier_step(zero, make_batch()))


@pytest.mark.parametrize("schedule", ["constant", "poly"])
def test_the_papers_learning_rate_is_constant_and_poly_rises_and_decays(schedule: str) -> None:
    options = dataclasses.replace(OPTIONS, lr_schedule=schedule, learning_rate=1e-3)
    optimizer = make_optimizer(SEANet(19, width=0.05), options)
    rates = []
    for iteration in range(100):
        set_learning_rate(optimizer, options, iteration / 100)
        rates.append(optimizer.param_groups[0]["lr"])
    if schedule == "constant":
        assert set(rates) == {1e-3}
        return
    assert rates[0] == pytest.approx(1e-5)
    assert rates[:6] == sorted(rates[:6])
    for iteration in (10, 50, 99):
        assert rates[iteration] == pytest.approx(1e-3 * (1 - iteration / 100) ** 0.9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_an_iteration_never_waits_for_the_gpu() -> None:
    (student, teacher), batch = make_networks("cuda"), make_batch("cuda")
    optimizer = make_optimizer(student, OPTIONS)

    def step() -> None:
        train_step(student, teacher, optimizer, batch, OPTIONS)

    step()  # the first one allocates
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
