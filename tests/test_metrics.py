"""Predictions, confusion matrices and IoU, against loops over pixels and sets of pixels."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from inference.metrics import class_iou, confusion_matrix, mean_iou
from inference.predict import Prediction, confusion, predict, predict_pictures
from model.SEAN import SEANet
from utils.device import with_precision

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


# --- predictions ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 64), (37, 61), (3, 5)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_class_is_the_first_of_the_highest_with_its_probability(size, kind):
    logits = torch.randn(19, 4, 8, generator=torch.Generator().manual_seed(0)).to(kind)
    logits[3] += 2
    logits[7] = logits[3]  # a tie wherever either is the highest
    prediction = Prediction(logits, None, size)
    classes = prediction.classes
    upsampled = F.interpolate(logits[None].float(), size=size, mode="bilinear")[0]
    assert classes.dtype == torch.uint8
    assert torch.equal(classes.long(), upsampled.argmax(0))
    assert (classes == 3).any()
    odds = upsampled.double().exp()
    share = odds.gather(0, classes[None].long())[0] / odds.sum(0)
    torch.testing.assert_close(prediction.confidence.double(), share, atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = SEANet(5, width=1 / 16)
    torch.nn.init.normal_(network.features[0].weight, std=0.02)
    for branch in network.classifier.conv2d_list:
        torch.nn.init.normal_(branch.weight, std=10)
    return network


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(network, precision, training):
    running = with_precision(network, precision)
    network.train(training)
    network.features.eval()
    seen = []
    hook = network.register_forward_hook(
        lambda module, *_: seen.append((module.training, torch.is_inference_mode_enabled()))
    )
    (prediction,) = predict(running, torch.zeros(1, 3, 32, 64), [(32, 64)])
    hook.remove()
    assert seen == [(False, True)]
    assert not torch.is_inference_mode_enabled()
    assert (network.training, network.features.training) == (training, False)
    assert prediction.attention is not None


def test_batches_are_predicted_and_counted_image_by_image(network):
    """At the images' own sizes, pixel by pixel; another batch size gives the same counts."""
    generator = torch.Generator().manual_seed(1)
    inputs = 50 * torch.randn(3, 3, 32, 64, generator=generator)
    sizes = [(32, 64), (20, 30), (41, 11)]
    labels = [torch.randint(0, 6, size, generator=generator) for size in sizes]
    labels[1][:5] = 255
    expected = np.zeros((5, 5), np.int64)
    with torch.no_grad():
        attention, logits = network(inputs)
    for index, prediction in enumerate(predict(network, inputs, sizes)):
        assert torch.equal(prediction.attention, attention[index, 0])
        upsampled = F.interpolate(logits[index, None], size=sizes[index], mode="bilinear")[0]
        assert torch.equal(prediction.classes.long(), upsampled.argmax(0))
        expected += naive_confusion(upsampled.argmax(0).numpy(), labels[index].numpy(), 5)
    assert (expected.sum(0) > 0).sum() > 2
    one = [(inputs[i : i + 1], labels[i : i + 1]) for i in range(3)]
    two = [(inputs[:2], labels[:2]), (inputs[2:], labels[2:])]
    for batches in (one, two):
        np.testing.assert_array_equal(confusion(network, batches, 5).numpy(), expected)
    assert not confusion(network, [], 5).any()


def test_no_more_than_a_batch_of_pictures_is_held(network):
    taken = []

    def pictures():
        for value in range(10):
            taken.append(value)
            yield np.full((30 + value, 50, 3), 20 * value, np.uint8)

    predictions = predict_pictures(network, pictures(), (64, 32), 3)
    for done, (picture, prediction) in enumerate(predictions):
        assert len(taken) == min(10, 3 * (done // 3 + 1))
        assert prediction.classes.shape == picture.shape[:2] == (30 + done, 50)
