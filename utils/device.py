"""Where and in which precision networks run, and the random generators there."""

import os
import sys
from typing import Any

import torch
from torch import Tensor, nn

from utils.errors import UserError

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> torch.device:
    """Turn ``--device`` into a device that is available; auto is the first of CUDA, MPS, CPU."""
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    available = {"cuda": has_cuda, "mps": has_mps, "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        raise UserError(f"no {name} device on this machine\n  use --device cpu, or auto")
    if name != "cuda":
        return torch.device(name)
    rank, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if rank >= count:
        remedy = f"start at most {count} with --nproc_per_node, or use --device cpu"
        raise UserError(f"process {rank + 1} has no GPU: there are {count}\n  {remedy}")
    torch.backends.cudnn.allow_tf32 = False  # fp32 means float32
    torch.backends.cudnn.benchmark = True  # input sizes are fixed: keep the fastest algorithm
    torch.cuda.set_device(rank)
    return torch.device("cuda", rank)


def choose_precision(name: str, device: torch.device) -> str:
    """Turn ``--precision`` (fp32, bf16, auto) into fp32 or bf16; warn of an emulated bf16."""
    found = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    native = any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16"))
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "bf16" and not native:
        text = f"warning: this {device.type} has no bfloat16 instructions, and emulates them slowly"
        print(f"{text}; --precision auto avoids it", file=sys.stderr)
    return ("bf16" if native else "fp32") if name == "auto" else name


def check_compiler(device: torch.device) -> None:
    """Compile a function for the device; UserError if this machine lacks a compiler for it."""
    try:
        torch.compile(torch.sin)(torch.zeros(2, device=device))
    except RuntimeError as error:  # PyTorch's compilers raise a dozen kinds of it
        remedy = "install a C++ compiler (g++; on Windows MSVC), or leave --compile out"
        raise UserError(f"--compile: {str(error).splitlines()[0]}\n  {remedy}") from None


def place(network: nn.Module, device: torch.device) -> None:
    """Move a network to the device, with its weights in the memory order that is fastest there."""
    layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    network.to(device, memory_format=layout)  # type: ignore[call-overload]


def make_deterministic() -> None:
    """Choose algorithms that give the same bits every time, on CUDA too."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the state of every generator that this process draws from."""
    generator = None if device.type == "cpu" else torch.get_device_module(device).get_rng_state()
    return {"cpu": torch.get_rng_state(), "device": generator}


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Set every generator to a saved state; a device of another kind keeps its generator."""
    torch.set_rng_state(state["cpu"])
    if state["device"] is not None and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state["device"])


class InBfloat16(nn.Module):
    """A network that runs in bfloat16 with float32 weights (autocast)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = network.training

    def forward(self, images: Tensor) -> Any:
        """Return what the network returns."""
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            return self.network(images)


def with_precision(network: nn.Module, precision: str) -> nn.Module:
    """The network as ``--precision`` runs it: itself for fp32, in bfloat16 for bf16."""
    return InBfloat16(network) if precision == "bf16" else network
