"""The network against the original's outputs, and the moving average against numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from model.SEAN import DilatedClassifier, SEANet
from model.teacher import make_teacher, update_teacher
from tests.fixture import reference_input
from tests.reference import CLASSES, golden, reference_network


@pytest.mark.parametrize("size", [(64, 96), (75, 133)])
@pytest.mark.parametrize("source", CLASSES)
def test_forward_is_the_originals(source, size):
    height, width = size
    prediction = reference_network(CLASSES[source])(torch.from_numpy(reference_input(*size)))
    for name, ours in prediction._asdict().items():
        expected = golden(source)[f"forward_{height}x{width}_{name}"]
        assert ours.shape == expected.shape
        tolerance = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=tolerance)


def test_without_attention_features_pass_unweighted():
    network = SEANet(3, use_attention=False, width=1 / 16)
    assert not network.aconv.weight.requires_grad
    images = 40 * torch.randn(1, 3, 64, 96)
    attention, logits = network(images)
    assert torch.equal(attention, torch.ones(1, 1, 8, 12))
    assert torch.equal(logits, network.classifier(network.features(images)))


@pytest.mark.parametrize("branches", [1, 2, 4])
def test_classifier_sums_the_first_branches(branches):
    """3x3 convolutions with padding = dilation, tap by tap."""
    torch.manual_seed(0)
    classifier = DilatedClassifier(1024, 5, branches)
    features = torch.randn(1, 1024, 20, 30)
    expected = np.zeros((5, 20, 30))
    for index, dilation in enumerate((6, 12, 18, 24)[:branches]):
        convolution = classifier.conv2d_list[index]
        weight, bias = (p.detach().double().numpy() for p in convolution.parameters())
        padded = np.pad(features[0].double().numpy(), ((0, 0), *[(dilation, dilation)] * 2))
        expected += bias[:, None, None]
        for row, column in np.ndindex(3, 3):
            window = padded[:, row * dilation :, column * dilation :][:, :20, :30]
            expected += np.einsum("oi,ihw->ohw", weight[..., row, column], window)
    logits = classifier(features)[0].detach().numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    used = [c.weight.requires_grad and c.bias.requires_grad for c in classifier.conv2d_list]
    assert used == [index < branches for index in range(4)]


def test_classifier_weights_are_drawn_with_deviation_001():
    for convolution in DilatedClassifier(1024, 19).conv2d_list:
        weight = convolution.weight.detach()
        assert weight.shape == (19, 1024, 3, 3)
        # 175,104 values: the deviation's own standard error is 0.17 %, the mean's 2.4e-5.
        assert weight.std().item() == pytest.approx(0.01, rel=0.01)
        assert weight.mean().item() == pytest.approx(0, abs=1.5e-4)


@pytest.mark.parametrize("alpha", [0.99, 0.0, 0.5, 1.0, 0.999])
def test_moving_average_is_numpys_to_the_bit(alpha):
    torch.manual_seed(0)
    student, teacher = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)
    means = [p.detach().numpy().copy() for p in teacher.parameters()]
    keep, take = np.float32(alpha), np.float32(1 - alpha)
    for step in range(5):
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        values = [p.detach().numpy().copy() for p in student.parameters()]
        update_teacher(teacher, student, alpha)
        means = [keep * mean + take * value for mean, value in zip(means, values, strict=True)]
        for network, expected in ((teacher, means), (student, values)):
            for ours, value in zip(network.parameters(), expected, strict=True):
                np.testing.assert_array_equal(ours.detach().numpy(), value, err_msg=f"step {step}")


def test_teacher_starts_equal_and_apart():
    student = SEANet(3, width=1 / 16)
    teacher = make_teacher(student)
    ours, theirs = teacher.state_dict(), student.state_dict()
    torch.testing.assert_close(dict(ours), dict(theirs), rtol=0, atol=0)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert student.aconv.weight.requires_grad
    assert not teacher.training
    storages = {p.data_ptr() for p in student.parameters()}
    assert not storages & {p.data_ptr() for p in teacher.parameters()}
