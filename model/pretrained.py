"""Which files can initialize a SEANet, and how: always by parameter name, never by position."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from model.checkpoint import StateDict, check_sean, check_shapes, no_fit, read_state_dict
from model.SEAN import SEANet
from utils.errors import UserError

TRUNK_INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 23, 25, 27)
"""SEANet's index of each of VGG-16's 13 convolutions, conv1_1 to conv5_3."""

CAFFE_NAMES = tuple(
    f"conv{block}_{layer}" for block, layers in enumerate((2, 2, 3, 3, 3), 1)
    for layer in range(1, layers + 1)
)  # fmt: skip
TORCHVISION_INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""torchvision numbers pool4 too, SEANet does not have it."""

MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_STYLE_MEAN, CAFFE_STYLE_STD = (0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)
"""The transforms of torchvision's IMAGENET1K_V1 and IMAGENET1K_FEATURES weights."""

INPUT_STD = 58.0
"""Standard deviation of BGR-minus-mean street photographs, in gray levels."""


def initialize(network: SEANet, restore_from: str) -> str:
    """Give a network its first weights.

    Args:
        network: changed in place; what the file does not hold keeps PyTorch's own initialization.
        restore_from: a path (fcn8s_from_caffe.pth, a torchvision VGG-16 or a SEANet state dict),
            ``torchvision`` to download VGG16_Weights.IMAGENET1K_FEATURES, or ``none`` for He
            initialization (He et al., ICCV 2015) that trains from scratch.

    Returns:
        What was loaded and what was not, for the log.

    Raises:
        UserError: no such file, not a state dict, for another class count, or nothing fits.
    """
    if restore_from == "none":
        he_initialize(network)
        return "He initialization, nothing loaded"
    if restore_from == "torchvision":
        return load_weights(network, download_torchvision(), "torchvision's IMAGENET1K_FEATURES")
    if not os.path.isfile(restore_from):
        raise UserError(
            f"no weights file {restore_from}\n"
            "  give one with --restore_from: fcn8s_from_caffe.pth (what the published numbers "
            "start from), a torchvision VGG-16, a SEANet checkpoint; or 'torchvision' to download, "
            "or 'none' to train from scratch"
        )
    return load_weights(network, read_state_dict(restore_from), restore_from)


def he_initialize(network: SEANet) -> None:
    """Draw weights with which a network of ReLUs trains from scratch; the classifier keeps its own.

    The first layer is scaled down by the input's spread, so that every layer's output is of size 1.
    """
    trunk = [layer for layer in network.features if isinstance(layer, nn.Conv2d)]
    for layer in trunk:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        trunk[0].weight /= INPUT_STD


def load_weights(network: SEANet, state: StateDict, source: str) -> str:
    """Copy what fits from a state dict, recognizing its kind by its names.

    Args:
        network: changed in place.
        state: tensors by name.
        source: where they come from, for messages.

    Returns:
        What was loaded and what was not.

    Raises:
        UserError: the class count differs, shapes differ, or nothing fits.
    """
    if "aconv.weight" in state:
        check_sean(network, state, source)
        network.load_state_dict(dict(state))  # its metadata may be damaged
        return f"loaded all {len(state)} tensors of {source}"
    if "conv1_1.weight" in state:
        kind, names = "fcn8s_from_caffe", CAFFE_NAMES
    elif "features.28.weight" in state:
        kind, names = "torchvision VGG-16", tuple(f"features.{i}" for i in TORCHVISION_INDICES)
    else:
        raise no_fit(state, source)
    trunk: StateDict = {}
    for index, name in zip(TRUNK_INDICES, names, strict=True):
        for part in ("weight", "bias"):
            if f"{name}.{part}" not in state:
                raise UserError(
                    f"{source} has no {name}.{part}, which {kind} should hold\n"
                    "  the file is incomplete: fetch it again"
                )
            trunk[f"features.{index}.{part}"] = state[f"{name}.{part}"]
    check_shapes(network, trunk, source)
    if names is not CAFFE_NAMES:
        kind += f" of {_convert_first_layer(trunk, state.get('classifier.0.weight'))} input"
    network.load_state_dict(trunk, strict=False)
    left_out = sorted({name.rsplit(".", 1)[0] for name in state} - set(names))
    fresh = sorted({name.rsplit(".", 1)[0] for name in network.state_dict().keys() - trunk.keys()})
    return (
        f"loaded the 13 convolutions of {source} ({kind}); "
        f"left out: {', '.join(left_out) or 'nothing'}; newly initialized: {', '.join(fresh)}"
    )


def download_torchvision() -> StateDict:
    """Fetch torchvision's VGG-16 weights trained Caffe's way, into torch.hub's cache.

    Raises:
        UserError: the download failed.
    """
    from torchvision.models import VGG16_Weights

    weights = VGG16_Weights.IMAGENET1K_FEATURES
    try:
        return dict(weights.get_state_dict(progress=True, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"cannot download {weights.url}: {error}\n"
            "  fetch that file elsewhere and give its path with --restore_from"
        ) from None


def _convert_first_layer(trunk: StateDict, head: Tensor | None) -> str:
    """Convert the first layer from torchvision's input to ours, in place.

    With w and b for x = (rgb / 255 - mean) / std, and y = bgr - MEAN_BGR, the outputs are the same
    with w' = w / (255 std) and b' = b + sum(w (MEAN_BGR / 255 - mean) / std). Zero padding stands
    for another gray in y than in x, so outputs at the border differ by at most 0.02 |w|.

    Args:
        trunk: holds ``features.0``.
        head: torchvision's first classifier weight; its Caffe-style file fills it with nan.

    Returns:
        Which input the file's first layer was made for.
    """
    caffe_style = head is not None and bool(head.isnan().any())
    mean, std = (
        (CAFFE_STYLE_MEAN, CAFFE_STYLE_STD) if caffe_style else (IMAGENET_MEAN, IMAGENET_STD)
    )
    weight, bias = trunk["features.0.weight"].double(), trunk["features.0.bias"].double()
    scale = torch.tensor(std, dtype=torch.float64).view(1, 3, 1, 1)
    shift = torch.tensor(MEAN_BGR[::-1], dtype=torch.float64) / 255 - torch.tensor(mean)
    offset = (weight / scale * shift.view(1, 3, 1, 1)).sum((1, 2, 3))
    trunk["features.0.weight"] = (weight / (255 * scale)).flip(1).float()
    trunk["features.0.bias"] = (bias + offset).float()
    return "Caffe-style" if caffe_style else "ImageNet-normalized"
