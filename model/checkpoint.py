"""Checkpoints of a SEANet: the state dict, and what it says of itself.

The original's evaluation loads them too: classes, variant, input size and protocol are in the state
dict's ``_metadata``, which torch.save keeps, ``weights_only=True`` reads and ``load_state_dict``
ignores.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.SEAN import SEANet
from utils.errors import UserError

VERSION = 1
INPUT_SIZE = (1024, 512)

NUMBERS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64)
"""Types in state dicts; int64 is for the batch counters of batch norms, which SEANet lacks."""

MOST_CLASSES = 255
"""Train ids are stored in 8 bits, and one of them is for pixels without a class."""

CLASSIFIER_BIAS = "classifier.conv2d_list.0.bias"

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

    def is_valid(self, num_classes: int) -> bool:
        """Return whether all values, read from a file, have their types and ranges.

        Args:
            num_classes: of the network in the file.
        """
        lists = [self.names, self.colors, self.input_size]
        if not all(type(values) is tuple for values in (*lists, *self.colors)):
            return False
        texts = [self.protocol, *self.names]
        numbers = [self.branches, *self.input_size]
        levels = [level for color in self.colors for level in color]
        return (
            all(type(text) is str for text in texts)
            and all(type(number) is int for number in (*numbers, *levels))
            and type(self.attention) is bool
            and type(self.width) in (int, float)
            and self.version == VERSION
            and len(set(self.names)) == len(self.colors) == num_classes
            and all(len(color) == 3 for color in self.colors)
            and all(0 <= level <= 255 for level in levels)
            and 1 <= self.branches <= 4
            and 0 < self.width <= 16
            and len(self.input_size) == 2
            and all(8 <= side <= 16384 for side in self.input_size)
        )


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
    """Read a checkpoint; the network's variant is taken from the file if the file says it.

    Args:
        path: a checkpoint of ours or of the original.
        num_classes: expected number of classes; None accepts any.
        branches: for a file that does not say it; by default 2.
        attention: the same; by default True.
        input_size: the same; by default 1024,512.

    Returns:
        The network on the CPU, and the file's description; ``names`` and ``colors`` are empty if
        the file has none.

    Raises:
        UserError: the file cannot be used, its description is damaged, or an argument contradicts
            the file.
    """
    state = read_state_dict(path)
    classes = class_count(state, path)
    info = _read_info(state, classes, path)
    if info is None:
        use_attention, size = attention is not False, input_size or INPUT_SIZE
        info = CheckpointInfo((), (), use_attention, branches or 2, 1.0, size, "")
    width, height = info.input_size
    for option, given, value, words in (
        ("--num-classes", num_classes, classes, f"{classes} classes"),
        ("--classifier_branches", branches, info.branches, f"{info.branches} branches"),
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
    check_sean(network, state, path)
    network.to_empty(device="cpu").load_state_dict(dict(state))  # its metadata may be damaged
    return network, info


def read_state_dict(path: str | Path) -> StateDict:
    """Read a file of tensors by name, without running any code in it.

    Returns:
        Dense tensors on the CPU that hold all of their numbers, so that none is larger than the
        file. Whether they fit a network is not checked.

    Raises:
        UserError: the file is missing, damaged, or not a state dict.
    """
    if not os.path.isfile(path):
        raise UserError(
            f"no checkpoint {path}\n"
            "  give the path of one that training has written, such as Snap/GTA_TeacherNet.pth"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # PyTorch's reader raises a dozen kinds, and advises to run the file's code
        raise UserError(
            f"{path} is not a checkpoint: it is damaged, or holds something other than tensors "
            "and plain values\n"
            "  give a state dict: tensors by name, saved with torch.save"
        ) from None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise UserError(
            f"{path} is not a state dict\n"
            "  to continue a stopped run use --resume; its teacher alone is in *_TeacherNet.pth "
            "and in the files named after their score"
        )
    for name, value in state.items():
        if not _is_plain(value):
            raise UserError(
                f"{path}: {name} ({value.dtype}, {value.layout}, {value.device}) is not a plain "
                "tensor\n  give the state dict of a network: dense floats, not meta or expanded"
            )
    return state


def _is_plain(value: Tensor) -> bool:
    return (
        value.layout == torch.strided
        and value.device.type == "cpu"
        and value.dtype in NUMBERS
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def class_count(state: StateDict, source: str | Path) -> int:
    """Return the number of classes of a SEANet checkpoint.

    Raises:
        UserError: the state dict is not a SEANet's.
    """
    bias = state.get(CLASSIFIER_BIAS)
    if bias is None or "aconv.weight" not in state:
        raise no_fit(state, source)
    if bias.ndim != 1 or not 2 <= len(bias) <= MOST_CLASSES:
        raise UserError(
            f"{source}: {CLASSIFIER_BIAS} is {tuple(bias.shape)}, not one number for each of 2 to "
            f"{MOST_CLASSES} classes\n  the file is of another network"
        )
    return len(bias)


def check_sean(network: SEANet, state: StateDict, source: str | Path) -> None:
    """Check that a state dict has the names and shapes of the network's.

    Raises:
        UserError: it has not.
    """
    classes = class_count(state, source)
    if classes != network.num_classes:
        raise UserError(
            f"{source} is a checkpoint for {classes} classes, not {network.num_classes}\n"
            "  19 classes: SEAN_GTA5.py, 16 classes: SEAN_Synthia.py; or give --num_classes"
        )
    own = network.state_dict()
    if own.keys() != state.keys():
        differing = ", ".join(sorted(own.keys() ^ state.keys())[:4])
        raise UserError(
            f"{source} is not a SEANet checkpoint of {len(own)} tensors: see {differing}\n"
            "  give a state dict with the names of SEANet's, no more and no fewer"
        )
    check_shapes(network, state, source)


def check_shapes(network: SEANet, state: StateDict, source: str | Path) -> None:
    """Check that tensors have the shapes of the network's of the same names.

    Raises:
        UserError: one has not, or holds whole numbers.
    """
    own = network.state_dict()
    for name, value in state.items():
        if own[name].shape != value.shape or not value.is_floating_point():
            raise UserError(
                f"{source}: {name} is {tuple(value.shape)} of {value.dtype}, not "
                f"{tuple(own[name].shape)} of {own[name].dtype}\n  the file is of another network"
            )


def no_fit(state: StateDict, source: str | Path) -> UserError:
    """Return the error that a state dict is of none of the usable kinds."""
    return UserError(
        f"{source}: none of its {len(state)} tensors fits SEANet "
        f"(the first: {', '.join(list(state)[:3]) or 'none'})\n"
        "  usable: fcn8s_from_caffe.pth, a torchvision VGG-16, a SEANet checkpoint"
    )


def _read_info(state: StateDict, num_classes: int, path: str | Path) -> CheckpointInfo | None:
    values: Any = getattr(state, "_metadata", None)
    for key in ("", "sean"):
        values = values.get(key) if isinstance(values, dict) else None
    if values is None:
        return None
    try:
        info = CheckpointInfo(**values)
        if info.is_valid(num_classes):
            return info
    except TypeError:  # other names, or numbers instead of lists
        pass
    raise UserError(
        f"{path}: its description (classes, variant, input size) is damaged, or of a later version "
        "of this project\n  fetch or save the file again"
    )
