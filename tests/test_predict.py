"""From images to predictions: class maps, confidence, scoring, and the network's state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from inference.pictures import Picture
from inference.predict import Prediction, confusion, predict, predict_pictures
from model.SEAN import SEANet
from tests.test_metrics import naive_confusion
from utils.device import with_precision


@pytest.fixture(scope="module")
def network() -> SEANet:
    torch.manual_seed(0)
    network = SEANet(5, width=1 / 16)
    nn.init.normal_(network.features[0].weight, std=0.02)  # type: ignore[arg-type]
    for branch in network.classifier.conv2d_list:
        nn.init.normal_(branch.weight, std=10)  # type: ignore[arg-type]
    return network


def images(batch: int) -> torch.Tensor:
    return 50 * torch.randn(batch, 3, 32, 64, generator=torch.Generator().manual_seed(batch))


@pytest.mark.parametrize("size", [(32, 64), (37, 61), (3, 5)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_class_and_its_probability(size: tuple[int, int], kind: torch.dtype) -> None:
    """The class is the first of the highest."""
    logits = torch.randn(19, 4, 8, generator=torch.Generator().manual_seed(0)).to(kind)
    logits[3] += 2
    logits[7] = logits[3]  # a tie wherever either is the highest
    prediction = Prediction(logits, None, size)
    classes = prediction.classes
    upsampled = F.interpolate(logits[None].float(), size=size, mode="bilinear")[0]
    assert classes.dtype == torch.uint8
    assert classes.shape == size
    assert torch.equal(classes.long(), upsampled.argmax(0))
    assert (classes == 3).any()
    assert not (classes == 7).any()
    odds = upsampled.double().exp()
    share = odds.gather(0, classes[None].long())[0] / odds.sum(0)
    torch.testing.assert_close(prediction.confidence.double(), share, atol=1e-6, rtol=0)


def test_a_batch_is_predicted_image_by_image(network: SEANet) -> None:
    sizes = [(32, 64), (7, 9), (50, 40)]
    with torch.no_grad():
        attention, logits = network(images(3))
    for index, prediction in enumerate(predict(network, images(3), sizes)):
        assert torch.equal(prediction.attention, attention[index, 0])  # type: ignore[arg-type]
        assert torch.equal(prediction.logits, logits[index])
        assert prediction.classes.shape == sizes[index]
    with pytest.raises(ValueError, match="zip"):
        predict(network, images(3), sizes[:2])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(network: SEANet, precision: str, training: bool) -> None:
    running = with_precision(network, precision)
    network.train(training)
    network.features.eval()
    seen = []
    hook = network.register_forward_hook(
        lambda module, *_: seen.append((module.training, torch.is_inference_mode_enabled()))
    )
    (prediction,) = predict(running, images(1), [(32, 64)])
    hook.remove()
    assert seen == [(False, True)]
    assert not torch.is_inference_mode_enabled()
    assert (network.training, network.features.training) == (training, False)
    assert prediction.attention is not None


def test_confusion_is_that_of_the_class_maps(network: SEANet) -> None:
    """Over batches and sizes, pixel by pixel; another batch size gives the same counts."""
    generator = torch.Generator().manual_seed(1)
    sizes = [(32, 64), (20, 30), (41, 11)]
    labels = [torch.randint(0, 6, size, generator=generator) for size in sizes]
    labels[1][:5] = 255
    inputs = images(3)
    expected = np.zeros((5, 5), np.int64)
    for image, label in zip(inputs, labels, strict=True):
        with torch.no_grad():
            logits = network(image[None]).logits
        upsampled = F.interpolate(logits, size=label.shape, mode="bilinear")
        expected += naive_confusion(upsampled.argmax(1)[0].numpy(), label.numpy(), 5)
    assert (expected.sum(0) > 0).sum() > 2
    one = confusion(network, [(inputs[i : i + 1], labels[i : i + 1]) for i in range(3)], 5)
    many: Any = [(inputs[:2], labels[:2]), (inputs[2:], labels[2:])]
    for counts in (one, confusion(network, many, 5)):
        assert counts.dtype == torch.int64
        np.testing.assert_array_equal(counts.numpy(), expected)
    assert not confusion(network, [], 5).any()


def test_no_more_than_a_batch_of_pictures_is_held(network: SEANet) -> None:
    taken = 0

    def pictures() -> Iterator[Picture]:
        nonlocal taken
        for value in range(10):
            taken += 1
            yield np.full((30 + value, 50, 3), 20 * value, np.uint8)

    predictions = predict_pictures(network, pictures(), (64, 32), 3)
    for done, (picture, prediction) in enumerate(predictions):
        assert taken == min(10, 3 * (done // 3 + 1))
        assert prediction.classes.shape == picture.shape[:2] == (30 + done, 50)
