"""What a training script states, and the data of its run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dataset.loaders import (
    DataError,
    EpochSampler,
    SegmentationDataset,
    default_workers,
    make_loader,
    on_device,
    sequential_batches,
)
from utils.config import TrainingConfig


@dataclass(frozen=True)
class Experiment:
    """What one training script states.

    Attributes:
        prefix: how the files it writes begin: GTA, Synthia.
        source: the labelled synthetic data set.
        target: the photographs to adapt to.
        defaults: its options.
        demo_source: what dataset/demo.py calls the source.
    """

    prefix: str
    source: type[SegmentationDataset]
    target: type[SegmentationDataset]
    defaults: TrainingConfig
    demo_source: str


class TrainingData:
    """The source to learn from, the target to adapt to, and the target's labels to score on.

    Args:
        experiment: the data sets.
        config: the options.
        device: where batches go.

    Attributes:
        batches: iterations of an epoch, which ends when the shorter data set does.

    Raises:
        DataError: a folder, list or label map is missing, or there is less than one batch.
    """

    def __init__(
        self, experiment: Experiment, config: TrainingConfig, device: torch.device
    ) -> None:
        self.device = device
        target_list = config.data_list_target
        source = experiment.source(
            config.data_dir_source,
            config.input_size,
            config.data_list_source,
            ignore_label=config.ignore_label,
        )
        target = experiment.target(
            config.data_dir_target,
            config.input_size,
            target_list,
            split=config.target_split,
            labels="none",
        )
        self.scored = experiment.target(
            config.data_dir_target,
            config.input_size,
            target_list if config.target_split == "val" else None,
            labels="own size",
            ignore_label=config.ignore_label,
        )
        seeds = (None, None) if config.no_shuffle else (2 * config.seed, 2 * config.seed + 1)
        size = config.batch_size
        self.source_order = EpochSampler(len(source), len(source), size, seeds[0])
        self.target_order = EpochSampler(len(target), config.target_entries, size, seeds[1])
        self.batches = min(len(self.source_order), len(self.target_order))
        if self.batches == 0:
            raise DataError(
                f"{len(source)} source images in {config.data_dir_source} fill no batch of {size}\n"
                "  give a smaller --batch_size"
            )
        workers = default_workers() if config.num_workers is None else config.num_workers
        self.source_loader = make_loader(source, self.source_order, workers, device.type)
        self.target_loader = make_loader(target, self.target_order, workers, device.type)
        scored_order = sequential_batches(len(self.scored), 1)
        self.scored_loader = make_loader(self.scored, scored_order, workers, device.type)
        self.sizes = f"{len(source)} source images, {len(target)} target images, {self.batches}"

    def epoch(self, epoch: int, first_batch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Batches of an epoch from ``first_batch`` on.

        Yields:
            Source images, (B, 3, H, W), their labels, int64, (B, H, W), and target images,
            (B, 3, H, W), as the network takes them, on the device.
        """
        self.source_order.start_at(epoch, first_batch)
        self.target_order.start_at(epoch, first_batch)
        # zip stops before it asks the second loader when the first is at its end.
        for source, target in zip(self.source_loader, self.target_loader, strict=False):
            images, labels = on_device(source, self.device)
            yield images, torch.stack(labels), on_device(target, self.device)[0]

    def to_score(self) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """Target images as the network takes them, and their label maps at their own sizes."""
        for batch in self.scored_loader:
            yield on_device(batch, self.device)
