"""The convolutions that `speed --parts precision` uses where bfloat16 instructions are missing."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from benchmarks.long_runs import Float32Convolutions


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_convolutions_round_once_after_summing_in_float32(mode: type) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, 8, 8, generator=generator)
    weight = torch.randn(4, 3, 3, 3, generator=generator)
    expected = F.conv2d(images.bfloat16().float(), weight.bfloat16().float()).bfloat16()
    with mode(), Float32Convolutions(), torch.autocast("cpu", torch.bfloat16):
        result = F.conv2d(images, weight)
    assert torch.equal(result, expected)
    assert not torch.equal(result.float(), F.conv2d(images, weight))


def test_gradients_are_those_of_rounded_values() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, 8, 8, generator=generator)
    weight = torch.randn(4, 3, 3, 3, generator=generator, requires_grad=True)
    with Float32Convolutions():
        with torch.autocast("cpu", torch.bfloat16):
            result = F.conv2d(images, weight)
        result.sum().backward()
    rounded = weight.detach().bfloat16().float().requires_grad_()
    F.conv2d(images.bfloat16().float(), rounded).sum().backward()
    assert weight.grad is not None
    assert rounded.grad is not None
    assert torch.equal(weight.grad, rounded.grad.bfloat16().float())
