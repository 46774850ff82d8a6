"""What the original implementation gives on the inputs of `tests/fixture.py`, and how to ask ours.

`golden_*.npz` holds its outputs, in float32 on a CPU; the tolerances of the tests are those at
which the numbers were measured to be reproducible.
"""

import functools
from pathlib import Path

import numpy as np
import torch

from model.SEAN import SEANet
from tests import fixture

CLASSES = {"gta5": 19, "synthia": 16}  # source data set -> number of classes


@functools.cache
def golden(source):
    with np.load(Path(__file__).with_name(f"golden_{source}.npz")) as arrays:
        return dict(arrays)


def as_tensors(state):
    return {name: torch.from_numpy(value) for name, value in state.items()}


@functools.lru_cache(maxsize=1)
def reference_network(num_classes, seed=0):
    """The network with the reference weights; shared between tests, so not to be changed."""
    network = SEANet(num_classes)
    network.load_state_dict(as_tensors(fixture.reference_state(num_classes, seed)), strict=True)
    return network.eval().requires_grad_(False)
