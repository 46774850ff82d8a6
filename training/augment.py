"""Changes to the images of a batch that go beyond the paper; both are off by default."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from model.SEAN import MEAN_BGR, mean_on
from training.options import TrainingOptions
from training.train_step import DomainBatch

Crop = tuple[int, int, int, int, bool]  # top, left, height, width in pixels; whether to flip
SMALLEST_CROP = 0.4  # side, as a share of the image's
DRAWS = 10  # of a crop, until it has a labelled pixel; then the whole image is taken
COLOR_CHANGES = v2.Compose([
    v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    v2.RandomApply([v2.GaussianBlur(5, sigma=(0.15, 1.15))]),
    v2.RandomGrayscale(),
])  # fmt: skip

# The l-alpha-beta space (Ruderman et al., 1998): from blue, green and red to the responses of the
# long, middle and short cones; from their logarithms to lightness, yellow-blue and red-green, which
# hardly correlate in natural images. Exposure and color casts are offsets there.
CONES = ((0.0402, 0.5783, 0.3811), (0.0782, 0.7244, 0.1967), (0.8444, 0.1288, 0.0241))
COLORS = np.linalg.inv(CONES).tolist()  # and back
OPPONENTS = ((3**-0.5,) * 3, (6**-0.5, 6**-0.5, -2 * 6**-0.5), (2**-0.5, -(2**-0.5), 0.0))
BRIGHTEST = math.log(2550)  # ten times white: anything brighter could overflow, and is clipped


def change_views(
    batch: DomainBatch, label_maps: Sequence[Tensor], options: TrainingOptions, first: int
) -> DomainBatch:
    """Match the source's colors; crop, flip, and change the colors that only the student sees.

    All images have one size. ``label_maps`` are the source's train ids once more, uint8, (H, W), on
    the CPU: looking for a labelled pixel there does not wait for the device. ``first`` is the
    number of the batch's first image among all images of the run. An image's changes depend on the
    seed and this number: resumed and distributed runs repeat them.
    """
    sources, labels = list(batch.source), list(batch.labels)
    targets = [] if batch.target is None else list(batch.target)
    views = []
    with torch.random.fork_rng(devices=[]):
        for i in range(len(sources)):
            # Only the CPU's generator: torch.manual_seed would seed the noise's on a GPU as well.
            torch.default_generator.manual_seed(hash((options.seed, first + i)) % 2**63)
            if options.color_matching and targets:
                sources[i] = match_colors(sources[i][None], targets[i][None])[0]
            if options.augment:
                crop = draw_crop(label_maps[i] != options.ignore_label)
                sources[i] = change_colors(cut(sources[i], crop))
                labels[i] = cut(labels[i][None], crop, InterpolationMode.NEAREST_EXACT)[0]
                if targets:
                    targets[i] = cut(targets[i], draw_crop(torch.ones_like(label_maps[i])))
                    views.append(change_colors(targets[i]))
    target = torch.stack(targets) if targets else None
    view = torch.stack(views) if views else target
    return DomainBatch(torch.stack(sources), torch.stack(labels), target, view, batch.names)


def draw_crop(labelled: Tensor) -> Crop:
    """Draw a crop that has a pixel with ``labelled``, bool, (H, W), and the same aspect ratio."""
    height, width = labelled.shape
    for _ in range(DRAWS):
        side, down, right, flip = torch.rand(4).tolist()
        share = SMALLEST_CROP + (1 - SMALLEST_CROP) * side
        h, w = round(share * height), round(share * width)
        top, left = round(down * (height - h)), round(right * (width - w))
        if labelled[top : top + h, left : left + w].any():
            return top, left, h, w, flip < 0.5
    return 0, 0, height, width, flip < 0.5


def cut(image: Tensor, crop: Crop, mode: InterpolationMode = InterpolationMode.BILINEAR) -> Tensor:
    """Cut a crop out of an image, (C, H, W), and resize it to the image's size."""
    *box, flip = crop
    resized = functional.resized_crop(image, *box, list(image.shape[-2:]), mode)
    return resized.flip(-1) if flip else resized


def change_colors(image: Tensor) -> Tensor:
    """Change colors and sharpness of an image, network input, (3, H, W), at random."""
    mean = mean_on(image.device)
    levels = ((image + mean) / 255).clamp(0, 1)  # outside, a change of hue gives nan
    return COLOR_CHANGES(levels.flip(0)).flip(0) * 255 - mean


def match_colors(images: Tensor, references: Tensor) -> Tensor:
    """Give images, (B, 3, H, W), the color statistics of others (Reinhard et al., 2001)."""
    planes = []
    for plane, reference in zip(_opponents(images), _opponents(references), strict=True):
        deviation, mean = torch.std_mean(plane, (1, 2), keepdim=True)  # (B, 1, 1)
        wanted_deviation, wanted_mean = torch.std_mean(reference, (1, 2), keepdim=True)
        gain = wanted_deviation / deviation.clamp(min=1e-3)
        planes.append((plane - mean) * gain + wanted_mean)
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
