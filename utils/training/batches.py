"""The batches of a run: what each iteration learns from, and what is scored."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dataset.cache import Cache
from dataset.loaders import (
    EpochSampler,
    Problems,
    default_workers,
    make_loader,
    on_device,
    sequential_batches,
)
from dataset.segmentation_dataset import SegmentationDataset
from utils.errors import UserError
from utils.options import TrainingConfig
from utils.training.distributed import Processes
from utils.training.experiment import Experiment, open_data, protocol


class Domains(NamedTuple):
    """A batch of both domains, on the device.

    Attributes:
        source: source images as the network takes them, (B, 3, H, W).
        labels: their train ids, int64, (B, H, W).
        target: target images as the network takes them, (B, 3, H, W); None for baselines that do
            not adapt.
        names: of the source and the target images.
    """

    source: Tensor
    labels: Tensor
    target: Tensor | None
    names: tuple[str, ...]


class TrainingData:
    """The source to learn from, the target to adapt to, and, if any, labelled images to score on.

    Args:
        experiment: the data sets.
        config: the options.
        device: where batches go.
        processes: this process's share is loaded.

    Attributes:
        iterations: of an epoch, which ends when the shorter data set does.
        images: a digest of the images of each part, by name and in order.
        problems: images that could not be read.
        scored: what the teacher is scored on; None if the target has no labels.
        shown: what pictures are made of: what is scored, or else the target.
        protocol: what is adapted to and what is scored, in words.

    Raises:
        UserError: a folder, list or label map is missing, or there is less than one iteration.
    """

    def __init__(
        self,
        experiment: Experiment,
        config: TrainingConfig,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.device = device
        self.accumulate = config.accumulate
        self.adapts = config.adapts
        self.problems = Problems(
            config.skip_bad_images, "go on without such images with --skip_bad_images N --resume"
        )
        cache = Cache(config.cache_dir) if config.cache_dir else None
        source, target, self.scored = open_data(experiment, config, cache)
        self.images = {"source": _digest(source), "target": _digest(target)}
        if self.scored is not None:
            self.images["scored"] = _digest(self.scored)
        rank, world, size = processes.rank, processes.world_size, config.batch_size
        seeds = (None, None) if config.no_shuffle else (2 * config.seed, 2 * config.seed + 1)
        entries = config.target_entries if config.oracle else len(source)
        self.source_order = EpochSampler(len(source), entries, size, seeds[0], rank, world)
        self.target_order = EpochSampler(
            len(target), config.target_entries, size, seeds[1], rank, world
        )
        batches = min(len(self.source_order), len(self.target_order))
        self.iterations = batches // config.accumulate
        if self.iterations == 0:
            raise UserError(
                f"{entries} source images in {source.root}, or {config.target_entries} "
                f"--target_entries, are too few for one iteration of "
                f"{size * world * config.accumulate}\n  give a smaller --batch_size"
            )
        workers = default_workers() if config.num_workers is None else config.num_workers
        self.source_loader = make_loader(source, self.source_order, workers, device.type)
        self.target_loader = make_loader(target, self.target_order, workers, device.type)
        self.protocol = protocol(config, target, self.scored)
        self.summary = (
            f"{len(source)} source images, {len(target)} target images, "
            f"{0 if self.scored is None else len(self.scored)} scored, "
            f"{self.iterations} iterations an epoch"
        )
        if cache and processes.is_main:
            kept: dict[Path, int] = {}
            read = (source, target if config.adapts else None, self.scored)
            for dataset in filter(None, read):
                kept |= dataset.cache_entries(cache)
            self.summary += "; " + cache.reserve(kept)
        self.shown = target if self.scored is None else self.scored
        self.scored_loader: Iterable[Any] = ()
        if self.scored is None:
            return
        scored_order = sequential_batches(len(self.scored), config.val_batch_size, rank, world)
        self.scored_loader = make_loader(self.scored, scored_order, workers, device.type)
        height, width = self.scored.label_shape(self.scored.names[0])
        if (width, height) != config.input_size_target:
            self.summary += (
                f"; the target's label maps are {width}x{height}, not the "
                "{}x{} of --input_size_target: scored at their own size"
            ).format(*config.input_size_target)

    def epoch(self, epoch: int, first_iteration: int) -> Iterator[list[Domains]]:
        """What each iteration of an epoch learns from, from ``first_iteration`` on.

        Yields:
            As many batches as are accumulated.

        Raises:
            UserError: more images than allowed cannot be read.
        """
        self.source_order.start_at(epoch, first_iteration * self.accumulate)
        self.target_order.start_at(epoch, first_iteration * self.accumulate)
        batches: list[Domains] = []
        count = self.iterations * self.accumulate - self.source_order.first_batch
        targets = self.target_loader if self.adapts else itertools.repeat(None)
        both = zip(self.source_loader, targets, strict=False)
        for source, target in itertools.islice(both, max(0, count)):
            self.problems.add((*source.problems, *(target.problems if target else ())))
            images, labels = on_device(source, self.device)
            target_images = on_device(target, self.device)[0] if target else None
            names = (*source.names, *(target.names if target else ()))
            batches.append(Domains(images, torch.stack(labels), target_images, names))
            if len(batches) == self.accumulate:
                yield batches
                batches = []

    def to_score(self) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """The scored images as the network takes them, and their label maps at their own sizes.

        Raises:
            UserError: an image or label map cannot be read.
        """
        for batch in self.scored_loader:
            self.problems.add(batch.problems)  # their label maps count no pixel
            yield on_device(batch, self.device)


def _digest(dataset: SegmentationDataset) -> str:
    return hashlib.sha256(os.fsencode("\n".join(dataset.names))).hexdigest()
