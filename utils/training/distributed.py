"""The processes of a run: one, or as many as torchrun starts (DistributedDataParallel)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from utils.training.losses import MaskedLoss


@dataclass(frozen=True)
class Processes:
    """Which process this is, and sums over all of them; with one process everything is local.

    Attributes:
        rank: this process, counted from 0 over all machines.
        world_size: how many there are.
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def start(cls, device: torch.device) -> Processes:
        """Join the processes that torchrun started; without torchrun there is one."""
        if "WORLD_SIZE" not in os.environ:
            return cls()
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def wrap(self, student: nn.Module, device: torch.device) -> nn.Module:
        """Average the student's gradients over the processes during its backward pass."""
        if self.world_size == 1:
            return student
        devices = [device] if device.type == "cuda" else None
        return DistributedDataParallel(student, device_ids=devices, gradient_as_bucket_view=True)

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over the processes; no gradient flows through it."""
        if self.world_size > 1:
            value = value.detach().clone()
            distributed.all_reduce(value)
        return value

    def mean(self, loss: MaskedLoss) -> Tensor:
        """A loss divided by its places over all processes.

        Args:
            loss: this process's part.

        Returns:
            A scalar whose mean over the processes, and the mean of whose gradients, are those of
            one process with all the images.
        """
        places = self.sum(loss.places).clamp(min=1)
        return loss.total * (self.world_size / places)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return bool(flag) if self.world_size == 1 else any(self.gather(flag))

    def gather(self, value: Any) -> list[Any]:
        """The plain value of every process, in order of rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Return once every process is here."""
        if self.world_size > 1:
            distributed.barrier()

    def close(self) -> None:
        """Leave the group, so that the processes end without complaint."""
        if self.world_size > 1:
            distributed.destroy_process_group()


def hold_gradients(student: nn.Module, hold: bool) -> contextlib.AbstractContextManager[Any]:
    """Leave gradients unaveraged over the processes for now, when more are to be accumulated."""
    # Asked for by name: a compiled DistributedDataParallel has it too, under another type.
    no_sync: Any = getattr(student, "no_sync", None)
    return no_sync() if hold and no_sync else contextlib.nullcontext()
