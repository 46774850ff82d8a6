"""Operations and memory of an iteration, counted without running it: the tensors have no values."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import Adam
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import markdown_table
from benchmarks.project import NUM_CLASSES
from model.SEAN import SEANet
from training.options import TrainingOptions
from training.train_step import DomainBatch, train_step
from utils.device import with_precision


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive: ``live`` now, ``peak`` at most."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and note the storage of what it returns."""
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._add(value.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._known:
            self._known.add(storage)
            self._change(storage.nbytes())
            weakref.finalize(storage, self._change, -storage.nbytes())

    def _change(self, size: int) -> None:
        self.live += size
        self.peak = max(self.peak, self.live)


def count_iteration(size: tuple[int, int], batch_size: int, precision: str) -> tuple[int, int]:
    """Count an iteration of the published network at an input size (W, H).

    Returns:
        Its operations, a multiply-add as two, and its peak of live bytes. Networks, batch,
        gradients and the optimizer's moments are included; what the libraries use to compute, and
        what an allocator reserves, are not.
    """
    memory, operations = LiveMemory(), FlopCounterMode(display=False)
    with FakeTensorMode(), memory:
        networks = SEANet(NUM_CLASSES), SEANet(NUM_CLASSES).requires_grad_(False)
        student, teacher = (with_precision(network, precision) for network in networks)
        optimizer = Adam([p for p in student.parameters() if p.requires_grad], fused=True)
        source, target = torch.zeros(2, batch_size, 3, *size[::-1])
        labels = torch.zeros(batch_size, *size[::-1], dtype=torch.int64)
        batch = DomainBatch(source, labels, target, target, ())
        train_step(student, teacher, optimizer, batch, TrainingOptions())  # makes the moments
        with operations:
            train_step(student, teacher, optimizer, batch, TrainingOptions())
    return operations.get_total_flops(), memory.peak


def show_counts(size: tuple[int, int], batch_size: int, precision: str) -> None:
    """Print the counts of an iteration."""
    operations, memory = count_iteration(size, batch_size, precision)
    name = f"{size[0]}x{size[1]}, {precision}, batch {batch_size}"
    cells = {"TFLOP": f"{operations / 1e12:.3f}", "MiB": f"{memory / 2**20:.0f}"}
    print(markdown_table("counted", {name: cells}))
