"""The batches of a run: pairs of source and target images."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import Sampler

from dataset.loaders import make_loader
from dataset.segmentation_dataset import SegmentationDataset
from inference.predict import on_device
from training.augment import change_views
from training.distributed import Processes
from training.options import TrainingOptions
from training.train_step import DomainBatch
from utils.errors import UserError


@dataclass(eq=False)
class EpochSampler(Sampler[list[int]]):
    """The batches of one epoch, reproducible from any batch on.

    Each process takes its share of ``batch_size * world_size`` places in a row: N processes see
    what one with an N-fold batch does.
    """

    length: int  # of the data set
    entries: int  # places of an epoch: the data set, repeated
    batch_size: int  # per process
    seed: int | None  # of the order; None keeps the order of the list
    rank: int = 0
    world_size: int = 1
    epoch: int = 0
    first_batch: int = 0

    def __len__(self) -> int:  # full batches in a whole epoch
        return self.entries // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.arange(self.entries)
        if self.seed is not None:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(self.entries, generator=generator)
        indices = (order % self.length).tolist()
        for batch in range(self.first_batch, len(self)):
            start = (batch * self.world_size + self.rank) * self.batch_size
            yield indices[start : start + self.batch_size]


class DomainBatches:
    """This process's share of the source and target images of each iteration.

    The target list is repeated to the source's length, so an epoch of ``per_epoch`` iterations ends
    when the source images are used up. UserError if they are too few for one iteration.
    """

    def __init__(
        self, source: SegmentationDataset, target: SegmentationDataset, options: TrainingOptions,
        device: torch.device, processes: Processes,
    ) -> None:  # fmt: skip
        self.options, self.device = options, device
        rank, world, size = processes.rank, processes.world_size, options.batch_size
        self.first_image, self.global_batch = rank * size, size * world
        seeds = (None, None) if options.no_shuffle else (2 * options.seed, 2 * options.seed + 1)
        entries = max(len(source), len(target))
        self.source_order = EpochSampler(len(source), len(source), size, seeds[0], rank, world)
        self.target_order = EpochSampler(len(target), entries, size, seeds[1], rank, world)
        self.per_epoch = len(self.source_order)
        if self.per_epoch == 0:
            few = f"{source.root} has {len(source)} source image(s)"
            raise UserError(f"{few}, not {self.global_batch}\n  give a smaller --batch_size")
        workers = options.num_workers
        self.source_loader = make_loader(source, self.source_order, workers, device.type)
        self.target_loader = make_loader(target, self.target_order, workers, device.type)

    def starting_at(self, iteration: int) -> Iterator[DomainBatch]:
        """Yield batches without end, the first for the iteration after ``iteration``."""
        options = self.options
        while True:
            for order in (self.source_order, self.target_order):
                order.epoch, order.first_batch = divmod(iteration, self.per_epoch)
            targets = self.target_loader if options.reads_target else itertools.repeat(None)
            for source, target in zip(self.source_loader, targets, strict=False):
                images, labels = on_device(source, self.device)
                seen = on_device(target, self.device)[0] if target else None
                names = (*source.names, *(target.names if target else ()))
                batch = DomainBatch(images, torch.stack(labels), seen, seen, names)
                if options.augment or options.color_matching:
                    first_image = iteration * self.global_batch + self.first_image
                    batch = change_views(batch, source.labels, options, first_image)
                iteration += 1
                yield batch if options.adapts else batch._replace(target=None, view=None)
