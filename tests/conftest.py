"""Processes that run tests side by side (`pytest -n 2`) compute with one thread each."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; the programs under test inherit
