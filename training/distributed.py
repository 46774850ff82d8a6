"""The processes of a run: one, or as many as torchrun starts (DistributedDataParallel)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from training.losses import MaskedLoss

TORCHRUN = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


@dataclass(frozen=True)
class Processes:
    """This process's rank, and sums over all processes; with one process all are local."""

    rank: int = 0  # over all machines
    world_size: int = 1

    @classmethod
    def start(cls, device: torch.device) -> Processes:
        """Join the processes that torchrun started; without torchrun there is one."""
        if not os.environ.keys() >= TORCHRUN:
            return cls()
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    def wrap(self, student: nn.Module, device: torch.device) -> nn.Module:
        """Return the student with gradients averaged over the processes in its backward pass."""
        if self.world_size == 1:
            return student
        devices = [device] if device.type == "cuda" else None
        return DistributedDataParallel(student, device_ids=devices, gradient_as_bucket_view=True)

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes, without gradient."""
        if self.world_size > 1:
            value = value.detach().clone()
            distributed.all_reduce(value)
        return value

    def share_of_mean(self, loss: MaskedLoss) -> Tensor:
        """Return a loss's mean over all processes, times their number: DDP averages gradients."""
        return loss.sum * (self.world_size / self.sum(loss.elements).clamp(min=1))

    def gather(self, value: Any) -> list[Any]:
        """Return the plain values of all processes, in order of rank; waits for all."""
        values: list[Any] = [value] * self.world_size
        if self.world_size > 1:
            distributed.all_gather_object(values, value)
        return values

    def close(self) -> None:
        """Leave the process group."""
        if self.world_size > 1:
            distributed.destroy_process_group()
