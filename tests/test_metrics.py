"""Confusion matrix and IoU, against loops over pixels and sets of pixels."""

import math

import numpy as np
import pytest
import torch

from inference.metrics import class_iou, confusion_matrix, mean_iou

IGNORED = (255, 200)


def naive_confusion(prediction, label, classes):
    counts = np.zeros((classes, classes), np.int64)
    for predicted, true in zip(prediction.flat, label.flat, strict=True):
        if true < classes:
            counts[true, predicted] += 1
    return counts


def naive_iou(prediction, label, classes):
    """Overlap of two sets of pixels over their union, among the pixels that have a class."""
    pixels = list(zip(prediction.flat, label.flat, strict=True))
    known = [(i, p, t) for i, (p, t) in enumerate(pixels) if t < classes]
    scores = []
    for index in range(classes):
        predicted = {i for i, p, _ in known if p == index}
        true = {i for i, _, t in known if t == index}
        union = predicted | true
        scores.append(len(predicted & true) / len(union) if union else math.nan)
    return scores


@pytest.fixture(params=[(2, (4, 5)), (19, (2, 23, 31)), (16, (40, 30))])
def example(request):
    """Prediction, label, number of classes, and our confusion matrix of them."""
    classes, shape = request.param
    rng = np.random.default_rng(classes)
    label = rng.integers(0, classes, shape)
    prediction = np.where(rng.random(shape) < 0.6, label, rng.integers(0, classes, shape))
    label[rng.random(shape) < 0.15] = IGNORED[0]
    label[rng.random(shape) < 0.05] = IGNORED[1]
    assert set(IGNORED) <= set(label.flat)
    confusion = confusion_matrix(torch.from_numpy(prediction), torch.from_numpy(label), classes)
    return prediction, label, classes, confusion


def test_confusion_and_iou(example):
    prediction, label, classes, confusion = example
    assert confusion.dtype == torch.int64
    np.testing.assert_array_equal(confusion.numpy(), naive_confusion(prediction, label, classes))
    expected = naive_iou(prediction, label, classes)
    iou = class_iou(confusion)
    assert iou.dtype == torch.float64
    np.testing.assert_allclose(iou.numpy(), expected, rtol=1e-12)
    assert mean_iou(confusion).item() == pytest.approx(sum(expected) / classes, rel=1e-12)


def test_absent_class_is_nan_and_one_only_predicted_counts_as_zero():
    label = torch.tensor([0, 0, 0, 1, 1, 255])
    prediction = torch.tensor([0, 0, 1, 1, 1, 3])  # the class only predicted where ignored: absent
    confusion = confusion_matrix(prediction, label, 4)
    iou = class_iou(confusion).tolist()
    assert iou[:2] == pytest.approx([2 / 3, 2 / 3], rel=1e-12)
    assert all(math.isnan(value) for value in iou[2:])
    assert mean_iou(confusion).item() == pytest.approx(2 / 3, rel=1e-12)
    assert mean_iou(torch.zeros(4, 4, dtype=torch.int64)).isnan()
    confusion = confusion_matrix(torch.tensor([0, 1]), torch.tensor([0, 0]), 2)
    assert class_iou(confusion).tolist() == [0.5, 0]
    assert mean_iou(confusion).item() == 0.25


def test_matrices_add_up_and_floats_keep_their_type():
    rng = np.random.default_rng(0)
    prediction, label = (torch.from_numpy(rng.integers(0, 5, (2, 60))) for _ in range(2))
    parts = [confusion_matrix(prediction[i], label[i], 5) for i in range(2)]
    assert torch.equal(sum(parts), confusion_matrix(prediction, label, 5))
    stacked = torch.stack(parts)
    assert torch.equal(class_iou(stacked), torch.stack([class_iou(part) for part in parts]))
    assert torch.equal(mean_iou(stacked), torch.stack([mean_iou(part) for part in parts]))
    iou = class_iou(torch.tensor([[3.0, 1.0], [0.0, 4.0]]))
    assert iou.dtype == torch.float32
    assert iou.tolist() == pytest.approx([3 / 4, 4 / 5], rel=1e-6)
