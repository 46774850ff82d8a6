"""The two losses, against loops over pixels in float64 and against the original's numbers."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dataset.gta5_dataset import GTA5Dataset
from dataset.synthia_dataset import SynthiaDataset
from tests import fixture
from tests.reference import CLASSES, golden, reference_network
from training.losses import segmentation_loss, self_ensembling_loss

SOURCES = {"gta5": GTA5Dataset, "synthia": SynthiaDataset}


def naive_softmax(scores):
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def naive_cross_entropy(logits, labels, ignore_label):
    """The sum over the pixels with a class, and how many those are."""
    total, pixels = 0.0, 0
    for batch, y, x in np.ndindex(labels.shape):
        if labels[batch, y, x] != ignore_label:
            total -= math.log(naive_softmax(logits[batch, :, y, x])[labels[batch, y, x]])
            pixels += 1
    return total, pixels


def naive_self_ensembling(student, teacher, attention, threshold):
    """The sum over the kept cells of the class mean, and how many cells those are."""
    total, cells = 0.0, 0
    for batch, _, y, x in np.ndindex(attention.shape):
        if attention[batch, 0, y, x] > threshold:
            ours = naive_softmax(student[batch, :, y, x])
            theirs = naive_softmax(teacher[batch, :, y, x])
            total += sum((a - b) ** 2 for a, b in zip(ours, theirs, strict=True)) / len(ours)
            cells += 1
    return total, cells


@pytest.mark.parametrize(("classes", "ignore_label"), [(19, 255), (16, 255), (4, 200), (2, 0)])
def test_segmentation_loss(rng, classes, ignore_label):
    logits = rng.normal(0, 3, (2, classes, 7, 5)).astype(np.float32)
    labels = rng.integers(0, classes, (2, 7, 5))
    labels[rng.random(labels.shape) < 0.3] = ignore_label
    total, pixels = naive_cross_entropy(logits.astype(np.float64), labels, ignore_label)
    loss = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(labels), ignore_label)
    assert loss.elements.item() == pixels
    assert loss.sum.item() == pytest.approx(total, rel=1e-5)
    assert loss.mean().item() == pytest.approx(total / pixels, rel=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_self_ensembling_loss(rng, threshold):
    student, teacher = rng.normal(0, 3, (2, 2, 19, 5, 6)).astype(np.float32)
    attention = rng.random((2, 1, 5, 6)).astype(np.float32)
    total, cells = naive_self_ensembling(
        student.astype(np.float64), teacher.astype(np.float64), attention, threshold
    )
    loss = self_ensembling_loss(*map(torch.from_numpy, (student, teacher, attention)), threshold)
    assert loss.elements.item() == cells
    assert loss.sum.item() == pytest.approx(total, rel=1e-5)
    assert loss.mean().item() == pytest.approx(total / cells, rel=1e-5)


@pytest.mark.parametrize("source", SOURCES)
def test_segmentation_loss_is_the_originals(tmp_path, source):
    paths = fixture.write_reference_dataset(tmp_path, source)
    label = SOURCES[source](paths["source"], (160, 96), paths["source_list"])[1].label  # image 2
    logits = torch.from_numpy(golden(source)["forward_64x96_logits"])
    logits = F.interpolate(logits, size=(96, 160), mode="bilinear")
    loss = segmentation_loss(logits, label[None].long()).mean()
    assert loss.item() == pytest.approx(golden(source)["segmentation_loss"].item(), rel=1e-5)


@pytest.mark.parametrize("source", SOURCES)
def test_self_ensembling_loss_is_the_originals(source):
    arrays = golden(source)
    student = torch.from_numpy(arrays["forward_64x96_logits"])
    images = torch.from_numpy(fixture.reference_input(64, 96))
    teacher = reference_network(CLASSES[source], 1)(images)
    threshold = arrays["consistency_threshold"].item()
    loss = self_ensembling_loss(student, teacher.logits, teacher.attention, threshold)
    assert 0.3 * loss.mean().item() == pytest.approx(arrays["consistency_loss"].item(), rel=1e-4)
    rate = loss.elements.item() / teacher.attention.numel()
    assert rate == pytest.approx(arrays["consistency_mask_rate"].item(), rel=1e-6)
    assert 0 < rate < 1


def test_everything_ignored_is_zero_with_a_finite_gradient():
    logits = torch.randn(1, 19, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 4, 4), 255)).mean()
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_no_kept_cell_is_zero_with_a_finite_gradient():
    student = torch.randn(1, 19, 4, 4, requires_grad=True)
    attention = torch.full((1, 1, 4, 4), 0.3)
    loss = self_ensembling_loss(student, torch.randn(1, 19, 4, 4), attention, 0.5)
    loss.mean().backward()
    assert loss.elements.item() == 0
    assert loss.mean().item() == 0
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_cells_at_the_threshold_are_left_out():
    attention = torch.tensor([0.25, 0.5, 0.75]).view(1, 1, 1, 3)
    student, teacher = torch.randn(2, 1, 5, 1, 3)
    assert self_ensembling_loss(student, teacher, attention, 0.5).elements.item() == 1
    assert self_ensembling_loss(student, teacher, attention, 0.49).elements.item() == 2
    assert self_ensembling_loss(student, student.clone(), attention, 0.1).mean().item() == 0


def test_gradient_reaches_the_student_and_not_the_teacher():
    student, teacher = (torch.randn(1, 5, 3, 3, requires_grad=True) for _ in range(2))
    attention = torch.rand(1, 1, 3, 3, requires_grad=True)
    self_ensembling_loss(student, teacher, attention, 0.0).mean().backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad is None
    assert attention.grad is None


def test_losses_of_bfloat16_logits_are_computed_in_float32():
    student, teacher = torch.randn(2, 1, 19, 4, 4).bfloat16()
    label, attention = torch.randint(0, 19, (1, 4, 4)), torch.rand(1, 1, 4, 4).bfloat16()
    pairs = [
        (segmentation_loss(student, label), segmentation_loss(student.float(), label)),
        (
            self_ensembling_loss(student, teacher, attention, 0.1),
            self_ensembling_loss(student.float(), teacher.float(), attention.float(), 0.1),
        ),
    ]
    for ours, expected in pairs:
        assert ours.sum.dtype == ours.elements.dtype == torch.float32
        assert ours.sum.item() == pytest.approx(expected.sum.item(), rel=1e-6)
        assert ours.elements.item() == expected.elements.item()
