"""The losses, against loops in float64 and the original's numbers; and one iteration."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.optim import SGD

from dataset.gta5_dataset import GTA5
from dataset.segmentation_dataset import SegmentationDataset
from dataset.synthia_dataset import SYNTHIA
from model.pretrained import initialize
from model.SEAN import SEANet
from model.teacher import make_teacher
from SEAN_GTA5 import EXPERIMENT
from tests import fixture
from tests.reference import CLASSES, golden, reference_network
from training.losses import segmentation_loss, self_ensembling_loss
from training.train_step import DomainBatch, make_optimizer, set_learning_rate, train_step

OPTIONS = dataclasses.replace(EXPERIMENT, noise=0.0, st_weight=100.0)


def naive_softmax(scores):
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def assert_is(loss, total, elements):
    assert loss.elements.item() == elements
    assert loss.sum.item() == pytest.approx(total, rel=1e-5)
    assert loss.mean().item() == pytest.approx(total / elements, rel=1e-5)


@pytest.mark.parametrize(("classes", "ignore_label"), [(19, 255), (16, 255), (4, 200), (2, 0)])
def test_segmentation_loss(rng, classes, ignore_label):
    logits = rng.normal(0, 3, (2, classes, 7, 5)).astype(np.float32)
    labels = rng.integers(0, classes, (2, 7, 5))
    labels[rng.random(labels.shape) < 0.3] = ignore_label
    loss = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(labels), ignore_label)
    total, pixels = 0.0, 0
    for batch, y, x in np.ndindex(labels.shape):
        if labels[batch, y, x] != ignore_label:
            chances = naive_softmax(logits[batch, :, y, x].astype(np.float64))
            total -= math.log(chances[labels[batch, y, x]])
            pixels += 1
    assert_is(loss, total, pixels)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_self_ensembling_loss(rng, threshold):
    logits = rng.normal(0, 3, (2, 2, 19, 5, 6)).astype(np.float32)
    attention = rng.random((2, 1, 5, 6)).astype(np.float32)
    loss = self_ensembling_loss(*map(torch.from_numpy, (*logits, attention)), threshold)
    total, cells = 0.0, 0
    for batch, _, y, x in np.ndindex(attention.shape):
        if attention[batch, 0, y, x] > threshold:
            ours, theirs = map(naive_softmax, logits[:, batch, :, y, x].astype(np.float64))
            total += sum((a - b) ** 2 for a, b in zip(ours, theirs, strict=True)) / len(ours)
            cells += 1
    assert_is(loss, total, cells)


@pytest.mark.parametrize(("source", "data_set"), [("gta5", GTA5), ("synthia", SYNTHIA)])
def test_losses_are_the_originals(tmp_path, source, data_set):
    arrays, paths = golden(source), fixture.write_reference_dataset(tmp_path, source)
    data = SegmentationDataset(data_set, paths["source"], (160, 96), paths["source_list"])
    label = torch.from_numpy(data[1].label)[None].long()
    student = torch.from_numpy(arrays["forward_64x96_logits"])
    logits = F.interpolate(student, size=(96, 160), mode="bilinear")
    loss = segmentation_loss(logits, label).mean()
    assert loss.item() == pytest.approx(arrays["segmentation_loss"].item(), rel=1e-5)
    images = torch.from_numpy(fixture.reference_input(64, 96))
    teacher = reference_network(CLASSES[source], 1)(images)
    threshold = arrays["consistency_threshold"].item()
    loss = self_ensembling_loss(student, teacher.logits, teacher.attention, threshold)
    assert 0.3 * loss.mean().item() == pytest.approx(arrays["consistency_loss"].item(), rel=1e-4)
    rate = loss.elements.item() / teacher.attention.numel()
    assert rate == pytest.approx(arrays["consistency_mask_rate"].item(), rel=1e-6)
    assert 0 < rate < 1


def test_where_nothing_counts_loss_and_gradient_are_zero():
    logits = torch.randn(1, 19, 4, 4, requires_grad=True)
    attention = torch.full((1, 1, 4, 4), 0.3)
    ignored = segmentation_loss(logits, torch.full((1, 4, 4), 255))
    left_out = self_ensembling_loss(logits, torch.randn(1, 19, 4, 4), attention, 0.5)
    for loss in (ignored, left_out):
        loss.mean().backward()
        assert loss.mean().item() == loss.elements.item() == 0
        assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_cells_at_the_threshold_are_left_out_and_no_gradient_reaches_the_teacher():
    student, teacher = torch.randn(2, 1, 5, 1, 3, requires_grad=True)
    attention = torch.tensor([0.25, 0.5, 0.75]).view(1, 1, 1, 3).requires_grad_()
    assert self_ensembling_loss(student, teacher, attention, 0.5).elements.item() == 1
    loss = self_ensembling_loss(student, teacher, attention, 0.49)
    assert loss.elements.item() == 2
    inputs = student, teacher, attention
    ours, *others = torch.autograd.grad(loss.mean(), inputs, allow_unused=True)
    assert ours.abs().max() > 0
    assert others == [None, None]
    assert self_ensembling_loss(student, student.clone(), attention, 0.1).mean().item() == 0


def test_losses_of_bfloat16_logits_are_computed_in_float32():
    student, teacher = torch.randn(2, 1, 19, 4, 4).bfloat16()
    label, attention = torch.randint(0, 19, (1, 4, 4)), torch.rand(1, 1, 4, 4)
    loss = segmentation_loss(student, label)
    assert_is(loss, *map(float, segmentation_loss(student.float(), label)))
    assert loss.sum.dtype == loss.elements.dtype == torch.float32
    loss = self_ensembling_loss(student, teacher, attention, 0.1)
    expected = self_ensembling_loss(student.float(), teacher.float(), attention, 0.1)
    assert_is(loss, *map(float, expected))


def make_batch(device="cpu"):
    torch.manual_seed(1)
    source, target = 50 * torch.randn(2, 1, 3, 16, 32).to(device)
    labels = torch.randint(0, 19, (1, 16, 32)).to(device)
    return DomainBatch(source, labels, target, target, ("1.png",))


def make_networks(device="cpu"):
    torch.manual_seed(0)
    student = SEANet(19, width=0.125)
    initialize(student, "none")
    student.to(device)
    return student, make_teacher(student)


def classifier_step(options, batch):
    """How far an iteration of plain gradient descent with step size 1 moves the classifier."""
    student, teacher = make_networks()
    for parameter in teacher.classifier.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    weight = student.classifier.conv2d_list[0].weight
    before = weight.detach().clone()
    optimizer = SGD([p for p in student.parameters() if p.requires_grad], lr=1.0)
    train_step(student, teacher, optimizer, batch, options)
    return weight.detach() - before


def test_the_step_is_linear_in_the_self_ensembling_weight_and_needs_no_target():
    options = [dataclasses.replace(OPTIONS, st_weight=weight) for weight in (0, 100, 200)]
    none, once, twice = (classifier_step(x, make_batch()) for x in options)
    assert (once - none).norm() > 0.01 * none.norm()
    assert (twice - none - 2 * (once - none)).norm() < 1e-3 * (twice - none).norm()
    assert torch.equal(classifier_step(OPTIONS, make_batch()._replace(target=None)), none)


def test_the_papers_learning_rate_is_constant_and_poly_rises_and_decays():
    def rates(schedule):
        options = dataclasses.replace(OPTIONS, lr_schedule=schedule, learning_rate=1e-3)
        optimizer = make_optimizer(SEANet(19, width=0.05), options)
        for iteration in range(100):
            set_learning_rate(optimizer, options, iteration / 100)
            yield optimizer.param_groups[0]["lr"]

    assert set(rates("constant")) == {1e-3}
    poly = list(rates("poly"))
    assert poly[0] == pytest.approx(1e-5)
    assert poly[:6] == sorted(poly[:6])
    for iteration in (10, 50, 99):
        assert poly[iteration] == pytest.approx(1e-3 * (1 - iteration / 100) ** 0.9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_an_iteration_never_waits_for_the_gpu():
    (student, teacher), batch = make_networks("cuda"), make_batch("cuda")
    iteration = student, teacher, make_optimizer(student, OPTIONS), batch, OPTIONS
    train_step(*iteration)  # the first one allocates
    torch.cuda.set_sync_debug_mode("error")
    try:
        train_step(*iteration)
    finally:
        torch.cuda.set_sync_debug_mode("default")
