"""Checkpoints of a SEANet: the state dict, and what it says of itself.

The original's evaluation loads them too: classes, variant, input size and protocol are in the state
dict's ``_metadata``, which torch.save keeps, ``weights_only=True`` reads and ``load_state_dict``
ignores.
"""

from __future__ import annotations

import os
import textwrap
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.SEAN import SEANet
from utils.errors import UserError, counted
from utils.files import load_tensors

VERSION = 2
"""Of the description; version 1 is read too."""
INPUT_SIZE = (1024, 512)

MOST_CLASSES = 255
"""Train ids are stored in 8 bits, and one of them is for pixels without a class."""

CLASSIFIER_BIAS = "classifier.conv2d_list.0.bias"

MOST_BYTES = 2_200_000_000
"""Of a file of weights: a float32 SEANet of the largest width, 4, has 2.0 GB; VGG-16 has 0.55."""

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself, as plain values.

    Attributes:
        names: of the classes, in the order of the train ids; empty if the file does not say.
        colors: RGB, 0..255, of the classes; empty if the file does not say.
        attention: whether the network uses attention.
        branches: how many of the classifier's convolutions are summed, 1..4.
        width: factor of the trunk's channels.
        input_size: width and height of the images it was trained on.
        protocol: what it was trained on, in words.
        version: of this list.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    attention: bool
    branches: int
    width: float
    input_size: tuple[int, int]
    protocol: str
    version: int = VERSION

    @classmethod
    def of(
        cls,
        network: SEANet,
        names: Sequence[str],
        colors: Sequence[tuple[int, int, int]],
        input_size: tuple[int, int],
        protocol: str,
    ) -> CheckpointInfo:
        """Describe a network."""
        return cls(
            tuple(names), tuple(colors), network.use_attention, network.classifier.branches,
            network.width, input_size, protocol,
        )  # fmt: skip


def released(network: SEANet, info: CheckpointInfo) -> OrderedDict[str, Tensor]:
    """Return the state dict to publish: 39 tensors on the CPU, with ``info`` in its metadata."""
    own = network.state_dict()
    layout = torch.contiguous_format
    state = OrderedDict((name, v.cpu().clone(memory_format=layout)) for name, v in own.items())
    metadata = OrderedDict(own._metadata)  # type: ignore[attr-defined]
    metadata[""] = metadata[""] | {"sean": asdict(info)}
    state._metadata = metadata  # type: ignore[attr-defined]
    return state


def load_network(
    path: str | Path,
    num_classes: int | None = None,
    branches: int | None = None,
    attention: bool | None = None,
    input_size: tuple[int, int] | None = None,
) -> tuple[SEANet, CheckpointInfo]:
    """Read a checkpoint of ours or of the original.

    Args:
        path: of the file.
        num_classes: expected number of classes; None accepts any.
        branches: for a file that does not describe itself; by default 2.
        attention: the same; by default True.
        input_size: the same; by default 1024,512.

    Returns:
        The network on the CPU, and the file's description.

    Raises:
        UserError: the file cannot be used, or an argument contradicts it.
    """
    state = read_state_dict(path)
    classes = class_count(state, path)
    info = _read_info(state, classes, path)
    if info is None:
        use_attention, size = attention is not False, input_size or INPUT_SIZE
        info = CheckpointInfo((), (), use_attention, branches or 2, 1.0, size, "")
    width, height = info.input_size
    convolutions = counted(info.branches, "classifier convolution")
    for option, given, value, words in (
        ("--num-classes", num_classes, classes, f"{classes} classes"),
        ("--classifier_branches", branches, info.branches, convolutions),
        ("--no_attention", attention, info.attention, "attention"),
        ("--input_size", input_size, info.input_size, f"{width},{height}"),
    ):
        if given not in (None, value):
            raise UserError(
                f"{option} contradicts {path}: it was trained with {words}\n"
                "  leave the option out: it is read from the checkpoint"
            )
    with torch.device("meta"):  # without drawing weights that the file replaces
        network = SEANet(classes, info.branches, info.attention, info.width)
    load_state(network, state, path, assign=True)
    return network, info


def load_state(network: SEANet, state: StateDict, source: str | Path, **how: bool) -> None:
    """Load a state dict; ``how`` is that of ``load_state_dict``: ``strict``, ``assign``.

    Raises:
        UserError: names or shapes are not the network's, or a weight is not a finite float32.
    """
    try:
        network.load_state_dict(dict(state), **how)  # its metadata may be damaged
    except RuntimeError as error:
        differences = textwrap.shorten(str(error).partition("\n")[2], 400, placeholder=" ...")
        raise UserError(
            f"{source} is not a checkpoint of this network: {differences}\n"
            "  give a state dict with the names and shapes of SEANet's"
        ) from None
    for name, parameter in network.float().named_parameters():
        if not parameter.isfinite().all():
            raise UserError(
                f"{source}: {name} holds numbers that are not finite\n"
                "  give another file: this one is damaged, or its training had diverged"
            )


def read_state_dict(path: str | Path) -> StateDict:
    """Read a file of tensors by name, without running any code in it.

    Returns:
        Dense tensors on the CPU that hold all of their numbers, so that none is larger than the
        file. Whether they fit a network and are finite is checked by `load_state`.

    Raises:
        UserError: the file is missing, damaged, or not a state dict.
    """
    if not os.path.isfile(path):
        raise UserError(
            f"no checkpoint {path}\n"
            "  train first, or give the path of one that training has written (--restore_from)"
        )
    state = load_tensors(path, MOST_BYTES)
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and is_dense(value) for name, value in state.items()
    ):
        raise UserError(
            f"{path} is not a state dict of dense, unquantized tensors\n"
            "  to continue a stopped run use --resume; its teacher alone is in *_TeacherNet.pth "
            "and in the files named after their score"
        )
    return state


def is_dense(value: object) -> bool:
    """Return whether a value is a tensor on the CPU that holds all of its numbers."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_complex()
        and not value.is_quantized
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def class_count(state: StateDict, source: str | Path) -> int:
    """Return the number of classes of a SEANet checkpoint.

    Raises:
        UserError: the state dict is not a SEANet's.
    """
    bias = state.get(CLASSIFIER_BIAS)
    if bias is None or bias.ndim != 1 or not 2 <= len(bias) <= MOST_CLASSES:
        raise UserError(
            f"{source} is not a SEANet checkpoint: it has no {CLASSIFIER_BIAS} that "
            f"fits 2 to {MOST_CLASSES} classes\n"
            "  give one that SEAN_GTA5.py or SEAN_Synthia.py has written"
        )
    return len(bias)


def _read_info(state: StateDict, num_classes: int, path: str | Path) -> CheckpointInfo | None:
    values: Any = getattr(state, "_metadata", None)
    for key in ("", "sean"):
        values = values.get(key) if isinstance(values, dict) else None
    if values is None:
        return None
    if values.get("normalize_colors"):
        raise UserError(
            f"{path} normalizes the colors of its images, which this version of the "
            "project no longer does\n  train again, or use the version that wrote the file"
        )
    try:
        width, height = map(int, values["input_size"])
        version = int(values["version"])
        info = CheckpointInfo(
            names=tuple(map(str, values["names"])),
            colors=tuple(
                (int(red), int(green), int(blue)) for red, green, blue in values["colors"]
            ),
            attention=bool(values["attention"]),
            branches=int(values["branches"]),
            width=float(values["width"]),
            input_size=(width, height),
            protocol=str(values["protocol"]),
            version=version,
        )
        if (
            info.version in (1, VERSION)
            and len(set(info.names)) == len(info.names) == len(info.colors) == num_classes
            and "".join((info.protocol, *info.names)).isprintable()
            and all(0 <= level <= 255 for color in info.colors for level in color)
            and 1 <= info.branches <= 4
            and 1 / 64 <= info.width <= 16
            and all(8 <= side <= 16384 for side in info.input_size)
        ):
            return info
    except Exception:  # values of other types fail in many ways
        pass
    raise UserError(
        f"{path}: its description (classes, variant, input size) is damaged, or of a "
        "later version of this project\n  fetch or save the file again"
    )
