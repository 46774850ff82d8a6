"""What a training script states, and the data of its run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dataset.cache import Cache
from dataset.classes_file import read_classes
from dataset.loaders import (
    DataError,
    EpochSampler,
    Problems,
    SegmentationDataset,
    default_workers,
    make_loader,
    on_device,
    sequential_batches,
)
from dataset.segmentation_dataset import PLAIN_FOLDER
from utils.config import TrainingConfig
from utils.processes import Processes


@dataclass(frozen=True)
class Experiment:
    """What one training script states.

    Attributes:
        prefix: how the files it writes begin: GTA, Synthia.
        source: the labelled synthetic data set.
        target: the photographs to adapt to.
        defaults: its options.
        demo_source: what dataset/demo.py calls the source.
        own_classes: what the file of --classes says, to compare on --resume; empty without one.
    """

    prefix: str
    source: type[SegmentationDataset]
    target: type[SegmentationDataset]
    defaults: TrainingConfig
    demo_source: str
    own_classes: str = ""

    def with_classes(self, file: str) -> Experiment:
        """The same experiment with the classes, label ids and folders of a classes file.

        Raises:
            DataError: it cannot be read, or has a mistake.
        """
        own = read_classes(Path(file))
        return replace(
            self,
            source=own.source.data_set(self.source),
            target=own.target.data_set(self.target),
            defaults=replace(self.defaults, num_classes=own.source.classes.num_classes),
            own_classes=own.meaning,
        )


class Domains(NamedTuple):
    """A batch of both domains, on the device.

    Attributes:
        source: source images as the network takes them, (B, 3, H, W).
        labels: their train ids, int64, (B, H, W).
        target: target images as the network takes them, (B, 3, H, W).
        names: of the source and the target images.
    """

    source: Tensor
    labels: Tensor
    target: Tensor
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
        problems: images that could not be read.
        scored: what the teacher is scored on; None if the target has no labels.
        shown: what pictures are made of: what is scored, or else the target.
        protocol: what is adapted to and what is scored, in words.

    Raises:
        DataError: a folder, list or label map is missing, or there is less than one iteration.
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
        self.problems = Problems(config.skip_bad_images)
        cache = Cache(config.cache_dir) if config.cache_dir else None
        source, target, self.scored = _open_data(experiment, config, cache)
        rank, world, size = processes.rank, processes.world_size, config.batch_size
        seeds = (None, None) if config.no_shuffle else (2 * config.seed, 2 * config.seed + 1)
        self.source_order = EpochSampler(len(source), len(source), size, seeds[0], rank, world)
        self.target_order = EpochSampler(
            len(target), config.target_entries, size, seeds[1], rank, world
        )
        batches = min(len(self.source_order), len(self.target_order))
        self.iterations = batches // config.accumulate
        if self.iterations == 0:
            raise DataError(
                f"{len(source)} images in {config.data_dir_source}, or {config.target_entries} "
                f"--target_entries, are too few for one iteration of "
                f"{size * world * config.accumulate}\n  give a smaller --batch_size"
            )
        workers = default_workers() if config.num_workers is None else config.num_workers
        self.source_loader = make_loader(source, self.source_order, workers, device.type)
        self.target_loader = make_loader(target, self.target_order, workers, device.type)
        self.protocol = _protocol(config, target, self.scored)
        self.summary = (
            f"{len(source)} source images, {len(target)} target images, "
            f"{0 if self.scored is None else len(self.scored)} scored, "
            f"{self.iterations} iterations an epoch"
        )
        if cache and processes.is_main:
            entries: dict[Path, int] = {}
            for dataset in filter(None, (source, target, self.scored)):
                entries |= dataset.cache_entries(cache)
            self.summary += "; " + cache.reserve(entries)
        self.shown = target if self.scored is None else self.scored
        self.scored_loader: Iterable[Any] = ()
        if self.scored is None:
            return
        scored_order = sequential_batches(len(self.scored), config.val_batch_size, rank, world)
        self.scored_loader = make_loader(self.scored, scored_order, workers, device.type)
        height, width = self.scored.read_label(self.scored.names[0]).shape
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
            DataError: more images than allowed cannot be read.
        """
        self.source_order.start_at(epoch, first_iteration * self.accumulate)
        self.target_order.start_at(epoch, first_iteration * self.accumulate)
        batches: list[Domains] = []
        for source, target in zip(self.source_loader, self.target_loader, strict=False):
            self.problems.add(source.problems + target.problems)
            images, labels = on_device(source, self.device)
            target_images, _ = on_device(target, self.device)
            names = source.names + target.names
            batches.append(Domains(images, torch.stack(labels), target_images, names))
            if len(batches) == self.accumulate:
                yield batches
                batches = []

    def to_score(self) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """The scored images as the network takes them, and their label maps at their own sizes.

        Raises:
            DataError: an image or label map cannot be read.
        """
        for batch in self.scored_loader:
            Problems().add(batch.problems)
            yield on_device(batch, self.device)


def _open_data(
    experiment: Experiment, config: TrainingConfig, cache: Cache | None
) -> tuple[SegmentationDataset, SegmentationDataset, SegmentationDataset | None]:
    """Source, target to adapt to, target to score on if it has labels."""
    classes = experiment.target.label_space.num_classes
    if config.num_classes != classes:
        raise DataError(
            f"--num_classes {config.num_classes}: "
            f"{config.classes or experiment.target.__name__} has {classes}\n"
            "  leave it out: SEAN_GTA5.py trains 19 classes, SEAN_Synthia.py 16, --classes its own"
        )
    if config.ignore_label < classes:
        raise DataError(
            f"--ignore_label {config.ignore_label} is the train id of a class\n"
            f"  give one from {classes} to 255"
        )
    if config.oracle:
        source = experiment.target(
            config.data_dir_target,
            config.input_size,
            config.data_list_target,
            split=config.target_split,
            ignore_label=config.ignore_label,
            cache=cache,
        )
    else:
        source = experiment.source(
            config.data_dir_source,
            config.input_size,
            _source_list(experiment, config),
            ignore_label=config.ignore_label,
            cache=cache,
        )
    target = experiment.target(
        config.data_dir_target,
        config.input_size,
        config.data_list_target,
        split=config.target_split,
        labels="none",
        cache=cache,
    )
    if target.layout is PLAIN_FOLDER:
        written = Path(config.snapshot_dir).resolve()
        if written.is_relative_to(target.root.resolve()):
            raise DataError(
                f"--snapshot_dir {config.snapshot_dir} lies within the target folder\n"
                f"  choose one outside {target.root}: the run's pictures would become target images"
            )
        if config.data_dir_val is None:
            return source, target, None
    same_images = config.target_split == "val" and config.data_dir_val is None
    scored = experiment.target(
        config.data_dir_val or config.data_dir_target,
        config.input_size,
        config.data_list_target if same_images else None,
        labels="own size",
        ignore_label=config.ignore_label,
        cache=cache,
    )
    if config.target_split != "val" and target.image_folder == scored.image_folder:
        raise DataError(
            f"--target_split {config.target_split}: {target.image_folder} has no such part: the "
            "same images would be scored\n"
            "  keep the parts in folders of their own, with {split} in the target's folders"
        )
    return source, target, scored


def _source_list(experiment: Experiment, config: TrainingConfig) -> str | None:
    if config.split_file is None:
        return config.data_list_source
    if not experiment.source.has_split_file:
        raise DataError(
            f"--split_file {config.split_file}: {experiment.source.__name__} has no such file\n"
            "  it is GTA-5's; name the images to train on in a --data_list_source"
        )
    if config.data_list_source is not None:
        raise DataError(
            f"--split_file {config.split_file} and --data_list_source {config.data_list_source} "
            "both say what to train on\n  give one of them"
        )
    return config.split_file


def _protocol(
    config: TrainingConfig, target: SegmentationDataset, scored: SegmentationDataset | None
) -> str:
    plain = target.layout is PLAIN_FOLDER
    images = f"the {'' if plain else config.target_split + ' '}images of {target.root}"
    learns = f"adapts to {images} without their labels"
    if config.oracle:
        learns = f"trains on {images} and their labels"
    elif not config.adapts:
        learns = f"trains on {config.data_dir_source} alone"
    if scored is None:
        return (
            f"{learns}; the last teacher is kept; not scored: {target.root} has no labels; "
            "give --data_dir_val"
        )
    return f"{learns}; the best of the scorings on the val images of {scored.root} is chosen"
