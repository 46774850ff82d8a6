"""From logits to class maps."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from utils.evaluation.predict import class_map


@pytest.mark.parametrize("size", [(32, 64), (37, 61), (4, 8), (3, 5)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_class_is_the_first_of_the_highest(size: tuple[int, int], kind: torch.dtype) -> None:
    logits = torch.randn(19, 4, 8, generator=torch.Generator().manual_seed(0)).to(kind)
    logits[3] += 2
    logits[7] = logits[3]  # a tie wherever either is the highest
    classes = class_map(logits, size)
    upsampled = F.interpolate(logits[None].float(), size=size, mode="bilinear")[0]
    assert classes.dtype == torch.uint8
    assert classes.shape == size
    assert torch.equal(classes.long(), upsampled.argmax(0))
    assert (classes == 3).any()
    assert not (classes == 7).any()
