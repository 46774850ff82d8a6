"""Predictions, confusion matrices, scores and comparisons, against loops and sets of pixels."""

import json
import math
import os
import re
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from inference.metrics import class_iou, confusion_matrix, mean_iou
from inference.predict import Prediction, confusion, predict
from inference.scores import compare, result_files, score
from model.SEAN import SEANet
from utils.device import with_precision


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


@pytest.mark.parametrize(("classes", "shape"), [(2, (4, 5)), (19, (2, 23, 31)), (16, (40, 30))])
def test_confusion_and_iou(rng, classes, shape):
    label = rng.integers(0, classes, shape)
    prediction = np.where(rng.random(shape) < 0.6, label, rng.integers(0, classes, shape))
    label[rng.random(shape) < 0.15] = 255
    label.flat[:2] = 200
    confusion = confusion_matrix(torch.from_numpy(prediction), torch.from_numpy(label), classes)
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
    expected = [2 / 3, 2 / 3, math.nan, math.nan]
    assert class_iou(confusion).tolist() == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert mean_iou(confusion).item() == pytest.approx(2 / 3, rel=1e-12)
    assert mean_iou(torch.zeros(4, 4, dtype=torch.int64)).isnan()
    confusion = confusion_matrix(torch.tensor([0, 1]), torch.tensor([0, 0]), 2)
    assert class_iou(confusion).tolist() == [0.5, 0]


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


NAMES = ("road", "wall", "sky", "never", "rare")
IMAGES = [os.fsdecode(b"caf\xe9.png"), *(f"{index}.png" for index in range(1, 12))]
approx = partial(pytest.approx, rel=1e-12, nan_ok=True)


def shares(counts):
    """IoU of each class, which the tests above check, then their mean."""
    iou = class_iou(torch.as_tensor(counts))
    return [*iou.tolist(), iou.nanmean().item()]


def numbers(values):
    return [math.nan if value is None else value for value in values]


def pairs_of(gain=4):
    """12 pairs of matrices, of A and of B, which labels ``gain`` pixels better per class and image.

    The fourth class is nowhere, the fifth in one image, and image 3 has no label.
    """
    generator = torch.Generator().manual_seed(1)
    first = torch.randint(20, 200, (12, 5, 5), generator=generator)
    first += torch.diag(torch.tensor([900, 90, 300, 0, 0]))
    first[:, 3] = first[:, :, 3] = first[:, 4] = first[:, :, 4] = first[3] = 0
    first[5, 4, :3] = 50
    noise = torch.randint(-15, 16, (12, 3), generator=generator)
    second = first.clone()
    for index in range(3):  # pixels move from wrong to right, or back
        moved = (noise[:, index] + gain) * (first[:, index].sum(1) > 0)
        second[:, index, index] += moved
        second[:, index, (index + 1) % 3] -= moved
    assert (second >= 0).all()
    return torch.stack([first, second], 1)


def test_scores_against_loops():
    confusions = pairs_of()[:, 0]
    scores = score(confusions, NAMES, IMAGES, ("wall",))
    counts = confusions.sum(0).tolist()
    *iou, miou = shares(counts)
    assert scores["confusion"] == counts
    assert numbers(scores["class_iou"].values()) == approx(iou)
    assert scores["miou"] == approx(miou)
    low, high = scores["miou_95_percent"]
    assert low < miou < high
    assert scores["miou_13"] == approx(np.nanmean([iou[0], *iou[2:]]))
    right, rows = [counts[i][i] for i in range(5)], [sum(row) for row in counts]
    assert scores["pixel_accuracy"] == approx(sum(right) / sum(rows))
    accuracy = [r / row if row else math.nan for r, row in zip(right, rows, strict=True)]
    assert numbers(scores["class_accuracy"].values()) == approx(accuracy)
    assert scores["mean_accuracy"] == approx(np.nanmean(accuracy))
    assert scores["image_miou"]["3.png"] is None
    assert scores["image_miou"]["5.png"] == approx(shares(confusions[5])[-1])


def test_against_a_naive_paired_bootstrap():
    pairs = pairs_of().numpy()
    rows = compare(torch.from_numpy(pairs), NAMES, "a.pth", "b.pth")["iou"]
    assert list(rows) == [*NAMES, "mIoU"]
    a, b = (shares(pairs[:, network].sum(0).tolist()) for network in (0, 1))
    assert numbers(row["a"] for row in rows.values()) == approx(a)
    assert numbers(row["b"] for row in rows.values()) == approx(b)
    difference = pytest.approx(np.subtract(b, a), abs=1e-12, nan_ok=True)
    assert numbers(row["difference"] for row in rows.values()) == difference
    labelled, draws = np.delete(pairs, 3, axis=0), np.random.default_rng(7)
    differences = []
    for _ in range(4000):
        first, second = sum(labelled[draws.integers(11)] for _ in range(11))
        differences.append(np.subtract(shares(second), shares(first)))
    assert rows.pop("never")["interval_95_percent"] == [None, None]
    for row, values in zip(rows.values(), np.delete(differences, 3, axis=1).T, strict=True):
        low, high = np.nanpercentile(values, (2.5, 97.5))
        ends = pytest.approx([low, high], abs=0.08 * (high - low))
        assert row["interval_95_percent"] == ends


@pytest.mark.parametrize("gain", [15, -15, 0])
def test_the_sentence(gain):
    comparison = compare(pairs_of(gain), NAMES, "a.pth", "b.pth")
    low, high = comparison["iou"]["mIoU"]["interval_95_percent"]
    assert comparison["beyond_chance"] is (low > 0 or high < 0) is (gain != 0)
    words = "a difference beyond" if gain else "no difference beyond"
    assert f"{100 * low:+.2f} to {100 * high:+.2f}: {words}" in comparison["sentence"]


def test_files_tell_the_same():
    scores = score(pairs_of()[:, 0], NAMES, IMAGES, ("wall",))
    comparison = compare(pairs_of(), NAMES, "A", "B")
    files = result_files("what was scored", scores, comparison)
    names = ("scores.json", "compare.json")
    saved = [json.loads(files[name].encode(), parse_constant=pytest.fail) for name in names]
    assert saved == [{"protocol": "what was scored", **scores}, comparison]
    first, second = files["Evaluation.txt"].split("\n\n")
    protocol, *lines, interval = first.splitlines()
    low, high = (100 * end for end in scores["miou_95_percent"])
    assert protocol == "what was scored"
    assert interval == f"mIoU, 95 % interval {low:.2f} to {high:.2f}"
    means = ("miou", "miou_13", "pixel_accuracy", "mean_accuracy")
    expected = numbers([*scores["class_iou"].values(), *(scores[mean] for mean in means)])
    names = [*NAMES, "mIoU", "mIoU (13)", "pixel accuracy", "mean accuracy"]
    for line, name, value in zip(lines, names, expected, strict=True):
        assert line.rsplit(maxsplit=1) == [name, f"{100 * value:.2f}"]
    a, b, _, *lines, sentence = second.splitlines()
    assert (a, b, sentence) == ("A: A", "B: B", comparison["sentence"])
    for line, (name, row) in zip(lines, comparison["iou"].items(), strict=True):
        values = [row["a"], row["b"], row["difference"], *row["interval_95_percent"]]
        told = [float(number) / 100 for number in re.findall(r"\S*\d", line)]
        assert line.startswith(name)
        assert told == pytest.approx([value for value in values if value is not None], abs=6e-5)
