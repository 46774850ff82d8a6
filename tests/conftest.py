"""What several test files draw from; and how they run side by side (`pytest -n 2`)."""

import os
import signal

import numpy as np
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # each process computes with one thread
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; the programs under test inherit

# Started in the background, this process ignores Ctrl-C, and so would the programs under test.
signal.signal(signal.SIGINT, signal.default_int_handler)


def drawn(factory, sources, targets, size):
    from tools.demo import write_demo

    folder = factory.mktemp("data")
    write_demo(folder, "gta5", sources, targets, size)
    return folder


@pytest.fixture(scope="session")
def domains(tmp_path_factory):
    """GTA5 of 8 images and Cityscapes of 3, of 64x32; a test that changes them copies them."""
    return drawn(tmp_path_factory, 8, 3, (64, 32))


@pytest.fixture(scope="session")
def cityscapes(tmp_path_factory):
    """Three images and their labels, of 128x64."""
    return drawn(tmp_path_factory, 0, 3, (128, 64)) / "Cityscapes"


@pytest.fixture
def rng():
    return np.random.default_rng(0)
