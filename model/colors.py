"""Color statistics of images in l-alpha-beta: give an image another's, or those of a photograph.

The space consists of logarithms of the cones' responses, rotated so that they hardly correlate in
natural images (Ruderman et al., 1998). Exposure and color casts are offsets there, and dark images
keep their texture. Mean and standard deviation of each channel are matched (Reinhard et al., 2001).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)

CONES = ((0.0402, 0.5783, 0.3811), (0.0782, 0.7244, 0.1967), (0.8444, 0.1288, 0.0241))
"""From blue, green and red to the responses of the long, middle and short cones."""
COLORS = np.linalg.inv(CONES).tolist()
"""And back."""

OPPONENTS = ((3**-0.5,) * 3, (6**-0.5, 6**-0.5, -2 * 6**-0.5), (2**-0.5, -(2**-0.5), 0.0))
"""From their logarithms to l (lightness), alpha (yellow, blue), beta (red, green); orthogonal."""

BRIGHTEST = math.log(2550)  # ten times white: anything brighter could overflow, and is clipped

DAYLIGHT = ((8.0, 1.0), (0.0, 0.06), (0.0, 0.02))
"""Mean and standard deviation of l, alpha and beta in a street photograph by day, without a color
cast; a gray of level 100 has l = 8."""


def match_colors(images: Tensor, references: Tensor, share: float = 1.0) -> Tensor:
    """Give images the color statistics of others.

    Args:
        images: network input, (B, 3, H, W).
        references: network input, (B, 3, H', W'); image i takes mean and standard deviation of
            l, alpha and beta from reference i.
        share: how far they change from an image's own to the reference's, 0..1.

    Returns:
        Network input, (B, 3, H, W), clipped to gray levels 0..255.
    """
    statistics = [torch.std_mean(plane, (1, 2), keepdim=True) for plane in _opponents(references)]
    return _with_statistics(images, [(mean, deviation) for deviation, mean in statistics], share)


def normalize_colors(images: Tensor) -> Tensor:
    """Give all images the color statistics of a street photograph by day.

    Args:
        images: network input, (B, 3, H, W).

    Returns:
        Network input, (B, 3, H, W), clipped to gray levels 0..255.
    """
    return _with_statistics(images, DAYLIGHT)


def _with_statistics(
    images: Tensor, wanted: Iterable[tuple[Tensor | float, Tensor | float]], share: float = 1.0
) -> Tensor:
    planes = []
    for plane, (wanted_mean, wanted_deviation) in zip(_opponents(images), wanted, strict=True):
        deviation, mean = torch.std_mean(plane, (1, 2), keepdim=True)  # (B, 1, 1)
        gain = (share * wanted_deviation + (1 - share) * deviation) / deviation.clamp(min=1e-3)
        planes.append((plane - mean) * gain + share * wanted_mean + (1 - share) * mean)
    transposed = list(zip(*OPPONENTS, strict=True))
    responses = [plane.clamp(max=BRIGHTEST).exp() for plane in _mix(transposed, planes)]
    levels = [plane.clamp(0, 255) for plane in _mix(COLORS, responses)]
    return torch.stack([p - m for p, m in zip(levels, MEAN_BGR, strict=True)], 1)


def _opponents(images: Tensor) -> list[Tensor]:
    """Return l, alpha and beta, each (B, H, W)."""
    levels = [p + m for p, m in zip(images.unbind(1), MEAN_BGR, strict=True)]
    responses = _mix(CONES, [plane.clamp(min=1) for plane in levels])
    return _mix(OPPONENTS, [plane.log() for plane in responses])


def _mix(matrix: Sequence[Sequence[float]], planes: Sequence[Tensor]) -> list[Tensor]:
    x, y, z = planes
    return [a * x + b * y + c * z for a, b, c in matrix]
