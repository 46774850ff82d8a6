"""The path on CUDA without a GPU: tensors have a device and a shape; gradients are replaced."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import Adam
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2 import functional

from dataset.loaders import Batch
from inference.predict import confusion, on_device
from model import SEAN
from model.SEAN import SEANet
from training.augment import cut, match_colors
from training.options import TrainingOptions
from training.train_step import DomainBatch, train_step
from utils.device import with_precision

CUDA = torch.device("cuda", 0)


class NoWaiting(TorchDispatchMode):
    """Refuses what waits for the device: copies to the CPU, and sizes that depend on values."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select"), name
        result = function(*args, **(kwargs or {}))
        if name in ("_to_copy", "copy_") and args[-1 if name == "copy_" else 0].is_cuda:
            assert result.is_cuda, f"{name} to the CPU"
        return result


@pytest.fixture(autouse=True)
def fake_cuda(monkeypatch):
    """Also lets autocast believe that there is a GPU; without one it turns itself off."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    SEAN.mean_on.cache_clear()
    with FakeTensorMode():
        yield
    SEAN.mean_on.cache_clear()


@pytest.mark.parametrize("wait", [Tensor.item, Tensor.cpu, Tensor.nonzero])
def test_waiting_is_noticed(wait):
    values = torch.zeros(1, device=CUDA)
    with pytest.raises(AssertionError), NoWaiting():
        wait(values)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_iteration_stays_on_the_device(monkeypatch, precision):
    with CUDA:
        student, teacher = SEANet(19), SEANet(19).requires_grad_(False).eval()
        images, labels = torch.zeros(2, 3, 64, 96), torch.zeros(2, 64, 96, dtype=torch.int64)
    trained = [p for p in student.parameters() if p.requires_grad]

    def backward(loss):
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)

    monkeypatch.setattr(Tensor, "backward", backward)
    optimizer = Adam(trained, fused=True)
    running = with_precision(student, precision)
    with torch.no_grad():
        assert (running(images).logits.dtype == torch.bfloat16) == (precision == "bf16")
    following = with_precision(teacher, precision)
    with NoWaiting():
        batch = DomainBatch(match_colors(images, images), labels, images, images, ("image",))
        result = train_step(running, following, optimizer, batch, TrainingOptions())
        kept = torch.stack(result)  # as the history keeps it until the next log line
    assert {value.device for value in result} == {CUDA}
    assert (kept.device, kept.dtype) == (CUDA, torch.float32)


def test_a_scoring_stays_on_the_device():
    with CUDA:
        network = SEANet(19, width=0.25)
    shapes = (2, 3, 64, 96), (80, 120), (64, 96)
    images, *labels = (torch.zeros(shape, dtype=torch.uint8) for shape in shapes)
    batch = Batch(images, tuple(labels), ("first", "second"))
    with NoWaiting():
        running = with_precision(network, "bf16")
        counts = confusion(running, [on_device(batch, CUDA)] * 2, 19)
    assert (counts.device, counts.shape) == (CUDA, (19, 19))


def test_augmented_images_stay_on_the_device():
    """The steps of `change_views`; which of them an image takes is drawn on the CPU."""
    image = torch.zeros(3, 64, 96, device=CUDA)
    with NoWaiting():
        image = cut(image, (8, 8, 40, 60, True))
        for change in ("brightness", "contrast", "saturation", "hue"):
            image = getattr(functional, f"adjust_{change}")(image, 0.4)
        image = functional.gaussian_blur(image, [5, 5], [1.0, 1.0])
        image = functional.rgb_to_grayscale(image, 3)
    assert (image.device, image.shape) == (CUDA, (3, 64, 96))
