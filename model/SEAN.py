"""SEANet: a VGG-16 DeepLab trunk, an attention head and a classifier (the paper's section 3).

The modules and their indices give the 39 names of the published checkpoints:
``features.{0..31}``, ``aconv``, ``classifier.conv2d_list.{0..3}``.
"""

import functools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)
"""Of the images that VGG-16 was trained on; gray levels, 0..255."""

POOL = (0, 0)
TRUNK = (
    *((64, 1), (64, 1), POOL),
    *((128, 1), (128, 1), POOL),
    *((256, 1), (256, 1), (256, 1), POOL),
    *((512, 1), (512, 1), (512, 1)),  # conv4, without a pool after it
    *((512, 2), (512, 2), (512, 2)),  # conv5
    *((1024, 4), (1024, 4)),  # fc6, fc7
)
"""Output channels and dilation of each 3x3 convolution."""

CLASSIFIER_DILATIONS = (6, 12, 18, 24)


class Output(NamedTuple):
    """The network's output for a batch of images."""

    attention: Tensor  # (B, 1, h, w), in (0, 1)
    logits: Tensor  # (B, C, h, w)


def vgg16_trunk(width: float = 1.0) -> nn.Sequential:
    """VGG-16 with dilated fc6 and fc7: (B, 3, H, W) to (B, 1024 * width, H // 8, W // 8)."""
    layers: list[nn.Module] = []
    channels = 3
    for wanted, dilation in TRUNK:
        if (wanted, dilation) == POOL:
            layers.append(nn.MaxPool2d(2))
        else:
            inputs, channels = channels, round(wanted * width)
            convolution = nn.Conv2d(inputs, channels, 3, padding=dilation, dilation=dilation)
            layers += [convolution, nn.ReLU(True)]
    return nn.Sequential(*layers)


class DilatedClassifier(nn.Module):
    """Parallel 3x3 convolutions with growing dilation, of which the first ``branches`` are summed.

    The original sums two, and its published checkpoints hold all four; the others are frozen.
    """

    def __init__(self, channels: int, num_classes: int, branches: int = 2) -> None:
        super().__init__()
        self.branches = branches
        self.conv2d_list = nn.ModuleList()
        for index, dilation in enumerate(CLASSIFIER_DILATIONS):
            branch = nn.Conv2d(channels, num_classes, 3, padding=dilation, dilation=dilation)
            nn.init.normal_(branch.weight, std=0.01)
            self.conv2d_list.append(branch.requires_grad_(index < branches))

    def forward(self, features: Tensor) -> Tensor:
        """Map features, (B, channels, h, w), to logits, (B, C, h, w)."""
        logits = [branch(features) for branch in self.conv2d_list[: self.branches]]
        return sum(logits[1:], start=logits[0])


class SEANet(nn.Module):
    """The network of student and teacher.

    ``classifier_branches``, 1..4, of the classifier's convolutions are used. Without
    ``use_attention``, an ablation, it takes the features themselves. ``width`` is a factor of the
    trunk's channels; 1 is the published network.
    """

    def __init__(
        self,
        num_classes: int,
        classifier_branches: int = 2,
        use_attention: bool = True,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.width = width
        channels = round(1024 * width)
        self.use_attention = use_attention
        self.num_classes = num_classes
        self.features = vgg16_trunk(width)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.aconv = nn.Conv2d(channels, 1, 1, bias=False).requires_grad_(use_attention)
        self.classifier = DilatedClassifier(channels, num_classes, classifier_branches)

    def forward(self, images: Tensor) -> Output:
        """Classify each cell of the 1/8 grid of images, (B, 3, H, W), from `network_input`."""
        features = self.features(images)
        if not self.use_attention:
            return Output(torch.ones_like(features[:, :1]), self.classifier(features))
        attention = self.attend(features)
        return Output(attention, self.classifier((1 + attention) * features))

    def attend(self, features: Tensor) -> Tensor:
        """Map features, (B, 1024 * width, h, w), to the attention M, (B, 1, h, w), in (0, 1).

        The attention has no loss of its own: it learns through its weighting of the features.
        It starts near 0.5, so the usual thresholds keep every cell at first.
        """
        size = features.shape[-2:]
        context = F.interpolate(self.pool(features), size, mode="bilinear", align_corners=True)
        return torch.sigmoid(self.aconv(context))


def network_input(images: Tensor) -> Tensor:
    """Turn images, uint8, (B, 3, H, W), RGB, into float32, BGR minus the mean, about -124..151."""
    return images.flip(1).float().sub_(mean_on(images.device))


@functools.cache
def mean_on(device: torch.device) -> Tensor:
    """Return the mean, (3, 1, 1). Copying it in each iteration would wait for the GPU."""
    return torch.tensor(MEAN_BGR, device=device).view(3, 1, 1)
