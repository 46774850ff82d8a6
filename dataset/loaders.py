"""Sampling, batching and worker processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from dataset.segmentation_dataset import Sample, SegmentationDataset
from dataset.transforms import network_input
from utils.errors import UserError


class Batch(NamedTuple):
    """Samples on their way to the network.

    Attributes:
        images: uint8, (B, 3, H, W), RGB.
        labels: one uint8 map of train ids an image, of sizes of their own; empty if none were read.
        names: the images' paths within the image folder.
        problems: what could not be read.
    """

    images: Tensor
    labels: tuple[Tensor, ...]
    names: tuple[str, ...]
    problems: tuple[str, ...]


class EpochSampler(Sampler[list[int]]):
    """The batches of one epoch, the same for the same seed and epoch, from any point on.

    An epoch visits ``entries`` places, the data set repeated in turn. A global batch is
    ``batch_size * world_size`` consecutive places of the epoch's order, of which each process
    takes its share, so that N processes see what one process with an N-fold batch sees.

    Args:
        length: number of samples in the data set.
        entries: places in an epoch.
        batch_size: samples a process and batch.
        seed: of the order; None keeps the order of the list.
        rank: this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        length: int,
        entries: int,
        batch_size: int,
        seed: int | None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.length = length
        self.entries = entries
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.first_batch = 0

    def start_at(self, epoch: int, batch: int) -> None:
        """Choose what the next iteration over the sampler yields."""
        self.epoch = epoch
        self.first_batch = batch

    def __len__(self) -> int:
        """Batches in a whole epoch; places that fill no batch are left out."""
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


def default_workers() -> int:
    """Loader processes for each of a process's loaders: half its share of the cores, 8 at most."""
    return min(8, max(1, available_cores() // 2 // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


def available_cores() -> int:
    """Cores this process may use, which on shared machines are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_loader(
    dataset: SegmentationDataset, sampler: Iterable[list[int]], num_workers: int, device: str
) -> DataLoader[Sample]:
    """Load batches in worker processes that live as long as the loader.

    Args:
        dataset: where the samples come from.
        sampler: yields lists of sample indices.
        num_workers: processes; 0 loads in this one.
        device: where batches go; memory is pinned for CUDA, so that copies run in the background.
    """
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=device == "cuda",
        persistent_workers=num_workers > 0,
        worker_init_fn=_start_worker,
        # Starting an epoch draws a number: not from the generator that the noise is drawn from, or
        # a resumed run would see other noise.
        generator=torch.Generator(),
    )


def _start_worker(_worker: int) -> None:
    """Let a Ctrl-C, or a SIGTERM to the whole group, reach the main process alone."""
    Image.core.set_blocks_max(4)  # 64 MB to decode and resize in, not given back each time
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def collate(samples: list[Sample]) -> Batch:
    """Put samples into one batch."""
    return Batch(
        torch.stack([sample.image for sample in samples]),
        tuple(sample.label for sample in samples if sample.label is not None),
        tuple(sample.name for sample in samples),
        tuple(sample.problem for sample in samples if sample.problem),
    )


class Problems:
    """Counts samples that could not be read, up to a limit.

    Args:
        allowed: how many may be left out.
        remedy: what to do when there are more; the problems name theirs.
    """

    def __init__(self, allowed: int = 0, remedy: str = "") -> None:
        self.allowed = allowed
        self.remedy = remedy
        self.found: list[str] = []

    def add(self, problems: tuple[str, ...]) -> None:
        """Take note of a batch's problems.

        Raises:
            UserError: there are more than allowed.
        """
        found = [*dict.fromkeys((*self.found, *problems))]
        if problems and len(found) > self.allowed:
            raise UserError(found[-1] + (f"\n  {self.remedy}" if self.remedy else ""))
        self.found = found


def on_device(batch: Batch, device: torch.device) -> tuple[Tensor, list[Tensor]]:
    """Copy a batch to the device and normalize it there.

    Returns:
        The network's input, float32, (B, 3, H, W), and the label maps as int64.
    """
    images = network_input(batch.images.to(device, non_blocking=True))
    return images, [label.to(device, non_blocking=True).long() for label in batch.labels]


def sequential_batches(
    length: int, batch_size: int, rank: int = 0, world_size: int = 1
) -> list[list[int]]:
    """Every sample once over all processes, in order, as a batch sampler for scoring."""
    share = list(range(rank, length, world_size))
    return [share[i : i + batch_size] for i in range(0, len(share), batch_size)]
