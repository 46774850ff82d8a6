"""Checkpoints of a SEANet: the state dict, and what it says of itself.

The original's evaluation loads them too: classes, variant, input size and protocol are in the state
dict's ``_metadata``, which torch.save keeps, ``weights_only=True`` reads and ``load_state_dict``
ignores.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from model.SEAN import SEANet
from utils.command_line import Size
from utils.errors import UserError
from utils.files import load_tensors

VERSION = 2  # of the description; version 1 is read too
INPUT_SIZE = (1024, 512)
CLASSIFIER_BIAS = "classifier.conv2d_list.0.bias"
WRAPPERS = ("state_dict", "model", "model_state_dict")  # where other programs keep a state dict
PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")  # torch.compile and DataParallel, both orders

StateDict = dict[str, Tensor]
Colors = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself, as plain values."""

    names: tuple[str, ...]  # of the classes, by train id; empty if the file does not say
    colors: Colors  # of the classes, RGB, 0..255
    attention: bool
    branches: int  # how many of the classifier's convolutions are summed, 1..4
    width: float  # factor of the trunk's channels
    input_size: Size  # width and height
    protocol: str  # what it was trained on, in words
    version: int = VERSION

    @classmethod
    def of(
        cls, network: SEANet, names: Sequence[str], colors: Colors, input_size: Size, protocol: str
    ) -> CheckpointInfo:
        """Describe a network."""
        variant = network.use_attention, network.classifier.branches, network.width
        return cls(tuple(names), colors, *variant, input_size, protocol)


def released(network: SEANet, info: CheckpointInfo) -> StateDict:
    """Return the state dict to publish: 39 tensors on the CPU, with ``info`` in its metadata."""
    state = network.state_dict()
    for name, value in state.items():
        state[name] = value.cpu().clone(memory_format=torch.contiguous_format)
    state._metadata[""]["sean"] = asdict(info)  # type: ignore[attr-defined]
    return state


def load_network(
    path: str | Path,
    num_classes: int | None = None,
    branches: int | None = None,
    attention: bool | None = None,
    input_size: Size | None = None,
) -> tuple[SEANet, CheckpointInfo]:
    """Read a checkpoint of ours or of the original.

    The network is on the CPU. The last three arguments are for a file that does not describe
    itself; without them it has 2 branches, attention, and the input size 1024,512. UserError if
    the file cannot be used, or an argument contradicts it.
    """
    state = read_state_dict(path)
    classes = class_count(state, path)
    info = _read_info(state, path) or CheckpointInfo(
        (), (), attention is not False, branches or 2, 1.0, input_size or INPUT_SIZE, ""
    )
    for option, given, value, words in (
        ("--num-classes", num_classes, classes, f"{classes} classes"),
        ("--classifier_branches", branches, info.branches, f"{info.branches} of 4 branches"),
        ("--no_attention", attention, info.attention, "attention"),
        ("--input_size", input_size, info.input_size, "{},{}".format(*info.input_size)),
    ):
        if given not in (None, value):
            remedy = "leave the option out: it is read from the checkpoint"
            raise UserError(f"{option} contradicts {path}: it was trained with {words}\n  {remedy}")
    with torch.device("meta"):  # without drawing weights that the file replaces
        network = SEANet(classes, info.branches, info.attention, info.width)
    load_state(network, state, path, assign=True)
    return network, info


def load_state(network: SEANet, state: StateDict, source: str | Path, **how: bool) -> None:
    """Call ``load_state_dict``; a UserError if the state does not fit, or is not finite."""
    try:
        network.load_state_dict(state, **how)
    except RuntimeError as error:
        differences = textwrap.shorten(str(error).partition("\n")[2], 400, placeholder=" ...")
        remedy = "give a state dict with the names and shapes of SEANet's"
        raise UserError(f"{source} does not fit the network: {differences}\n  {remedy}") from None
    for name, parameter in network.float().named_parameters():
        if not parameter.isfinite().all():
            remedy = "give another file: this one is damaged, or its training had diverged"
            raise UserError(f"{source}: {name} holds numbers that are not finite\n  {remedy}")


def read_state_dict(path: str | Path) -> StateDict:
    """Read tensors by name, on the CPU; a UserError if the file is missing, damaged or another.

    A state dict in another dict (``{"state_dict": ...}``) is found, and the prefixes of wrapped
    networks (``module.``) are removed.
    """
    if not os.path.isfile(path):
        raise UserError(f"no checkpoint {path}\n  train first, or give another --restore_from")
    content = load_tensors(path)
    state = content if isinstance(content, dict) else {}
    if "student" in state:
        remedy = "continue it with --resume; the teacher alone is in *_TeacherNet.pth"
        raise UserError(f"{path} is a stopped run, not a network's weights\n  {remedy}")
    state = next((state[name] for name in WRAPPERS if isinstance(state.get(name), dict)), state)
    if not state or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        remedy = "save one with torch.save(network.state_dict(), FILE)"
        raise UserError(f"{path} is not a state dict (tensors by name)\n  {remedy}")
    for prefix in PREFIXES:
        consume_prefix_in_state_dict_if_present(state, prefix)
    return state


def class_count(state: StateDict, source: str | Path) -> int:
    """Return the number of classes of a SEANet checkpoint; a UserError if it is none."""
    if CLASSIFIER_BIAS not in state:
        remedy = "give one that SEAN_GTA5.py or SEAN_Synthia.py has written"
        raise UserError(f"{source} has no {CLASSIFIER_BIAS}: it is not a SEANet's\n  {remedy}")
    return len(state[CLASSIFIER_BIAS])


def _read_info(state: StateDict, path: str | Path) -> CheckpointInfo | None:
    values = dict(getattr(state, "_metadata", {}).get("", {}).get("sean", {}))
    if not values:
        return None
    if values["version"] > VERSION:
        raise UserError(f"{path} is of a later version of this project\n  update the project")
    if values.pop("normalize_colors", False):
        remedy = "train again, or use the version of the project that wrote it"
        raise UserError(f"{path} was trained with --normalize_colors, which is gone\n  {remedy}")
    return CheckpointInfo(**values)
