"""Where to compute, and at which precision."""

from __future__ import annotations

import torch


class DeviceError(Exception):
    """The device asked for is not there: the message says so and what to do."""


def choose_device(name: str) -> torch.device:
    """Turn ``--device`` into a device.

    Args:
        name: cpu, cuda, mps, or auto: the first of CUDA, MPS, CPU that is there.

    Raises:
        DeviceError: the device is not available.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        raise DeviceError(f"no {name} device on this machine\n  use --device cpu, or auto")
    return torch.device(name)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which networks run: bfloat16 for ``bf16``, nothing for ``fp32``."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
