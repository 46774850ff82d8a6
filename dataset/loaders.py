"""Sampling, batching and worker processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dataset.segmentation_dataset import Sample
from utils.errors import UserError


class Batch(NamedTuple):
    """Samples on their way to the network."""

    images: Tensor  # uint8, (B, 3, H, W), RGB
    labels: tuple[Tensor, ...]  # train ids, uint8, each of its own size; empty if none are read
    names: tuple[str, ...]  # paths within the image folder


@dataclass(eq=False)
class EpochSampler(Sampler[list[int]]):
    """The batches of one epoch, reproducible from any batch on.

    An epoch visits ``entries`` places: the data set, repeated in turn. A global batch is
    ``batch_size * world_size`` consecutive places of the epoch's order, and each process takes its
    share, so that N processes see what one process with an N-fold batch sees.
    """

    length: int  # of the data set
    entries: int
    batch_size: int  # per process
    seed: int | None  # of the order; None keeps the order of the list
    rank: int = 0
    world_size: int = 1
    epoch: int = 0
    first_batch: int = 0

    def start_at(self, epoch: int, batch: int) -> None:
        """Choose the epoch, and the first batch, of the next iteration over the sampler."""
        self.epoch, self.first_batch = epoch, batch

    def __len__(self) -> int:  # full batches in a whole epoch
        return self.entries // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        if self.seed is None:
            order = torch.arange(self.entries)
        else:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(self.entries, generator=generator)
        indices = (order % self.length).tolist()
        for batch in range(self.first_batch, len(self)):
            start = (batch * self.world_size + self.rank) * self.batch_size
            yield indices[start : start + self.batch_size]


def sequential_batches(
    length: int, batch_size: int, rank: int = 0, world_size: int = 1
) -> list[list[int]]:
    """Return batches for scoring: every sample once over all processes, in order."""
    share = list(range(rank, length, world_size))
    return [share[i : i + batch_size] for i in range(0, len(share), batch_size)]


def available_cores() -> int:
    """Return how many cores this process may use; on shared machines, fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers() -> int:
    """Return the worker processes per loader: half the training process's cores, at most 8."""
    return min(8, max(1, available_cores() // 2 // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


@dataclass
class _ErrorsAsValues(Dataset[Any]):
    """Returns a UserError: a worker would wrap a raised one's message in its own traceback."""

    dataset: Dataset[Sample]

    def __getitems__(self, indices: list[int]) -> list[Sample] | UserError:
        try:
            return [self.dataset[index] for index in indices]
        except UserError as error:
            return error


class _Loader(DataLoader[Any]):
    """Yields batches; raises the UserError that a worker returned in place of one."""

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            if isinstance(batch, UserError):
                raise batch
            yield batch


def make_loader(
    dataset: Dataset[Sample],
    batches: Iterable[list[int]],
    num_workers: int | None,
    device_type: str,
) -> DataLoader[Any]:
    """Return a loader that yields `Batch`es, and raises UserError if a sample cannot be read.

    Args:
        dataset: where the samples come from.
        batches: yields lists of sample indices.
        num_workers: worker processes, which live as long as the loader; 0 loads in this process,
            None is `default_workers()`.
        device_type: for "cuda" memory is pinned, so that copies run in the background.
    """
    workers = default_workers() if num_workers is None else num_workers
    return _Loader(
        _ErrorsAsValues(dataset),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device_type == "cuda",
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker,
        # Starting an epoch draws a number. Drawn from the global generator, it would change the
        # noise of a resumed run.
        generator=torch.Generator(),
    )


def _start_worker(_worker: int) -> None:
    """Let Ctrl-C, and SIGTERM to the process group, reach only the main process."""
    Image.core.set_blocks_max(4)  # keep 64 MB for decoding and resizing instead of freeing them
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def collate(samples: list[Sample] | UserError) -> Batch | UserError:
    """Put samples into one batch; return an error as it is."""
    if isinstance(samples, UserError):
        return samples
    images, labels, names = zip(*samples, strict=True)
    labels = tuple(label for label in labels if label is not None)
    return Batch(torch.stack(images), labels, names)
