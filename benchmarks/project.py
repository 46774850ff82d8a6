"""The project's path, on data and networks as SEAN_GTA5.py opens them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dataset.cityscapes_dataset import CityscapesDataset
from dataset.gta5_dataset import GTA5Dataset
from dataset.labels import CLASSES_19
from dataset.loaders import make_loader, sequential_batches
from dataset.segmentation_dataset import SegmentationDataset
from inference.predict import confusion, on_device
from model.pretrained import initialize
from model.SEAN import SEANet
from model.teacher import make_teacher
from SEAN_GTA5 import EXPERIMENT
from training.batches import DomainBatches
from training.distributed import Processes
from training.history import History
from training.networks import Networks
from training.options import TrainingOptions
from training.train_step import DomainBatch, train_step
from utils.device import choose_device, with_precision

NUM_CLASSES = CLASSES_19.num_classes


def experiment(root: Path, **changes: Any) -> TrainingOptions:
    """Return the GTA-5 experiment's options on the data below ``root``, with other values."""
    values = {
        "data_dir_source": str(root / "GTA5"),
        "data_dir_target": str(root / "Cityscapes"),
        "restore_from": "none",
    }
    return dataclasses.replace(EXPERIMENT, **(values | changes))


def open_data(
    options: TrainingOptions,
) -> tuple[SegmentationDataset, SegmentationDataset, SegmentationDataset]:
    """Return the labelled source, the target without labels, and the target to score on."""
    reading = options.reading(own_classes=None)
    target, target_list = options.data_dir_target, options.data_list_target
    return (
        GTA5Dataset(options.data_dir_source, list_file=options.data_list_source, **reading),
        CityscapesDataset(target, list_file=target_list, labels="none", **reading),
        CityscapesDataset(target, list_file=target_list, labels="own size", **reading),
    )


def make_networks(options: TrainingOptions) -> tuple[SEANet, SEANet]:
    """Return a student with its first weights, and its teacher."""
    torch.manual_seed(options.seed)
    student = SEANet(NUM_CLASSES)
    initialize(student, options.restore_from)
    return student, make_teacher(student)


class ProjectPath:
    """Train and score as the project does; the methods are those of `PlainPath`."""

    def __init__(self, options: TrainingOptions) -> None:
        self.options = options
        self.device = choose_device(options.device)
        processes = Processes()
        source, target, scored = open_data(options)
        self.batches = DomainBatches(source, target, options, self.device, processes)
        self.loaders = (self.batches.source_loader, self.batches.target_loader)
        order = sequential_batches(len(scored), options.batch_size)
        self.scored_loader = make_loader(scored, order, options.num_workers, self.device.type)
        student, teacher = make_networks(options)
        self.networks = Networks(student, teacher, options, self.device, processes, None)
        self.history = History(processes, Path("last.pth"))

    def epoch(self) -> Iterator[DomainBatch]:
        """Start an epoch; its batches are on the device."""
        return self.batches.epoch(0, 0)

    def to_device(self, batch: Any) -> object:
        """Bring a loader's batch to the device."""
        return on_device(batch, self.device)

    def step(self, batch: DomainBatch) -> None:
        """Train one iteration; results are read as often as log lines are written."""
        networks = self.networks
        result = train_step(
            networks.student, networks.teacher, networks.optimizer, batch, self.options
        )
        self.history.add(result, batch.names)
        if len(self.history.unread) == self.options.print_interval:
            self.history.read()

    def score(self) -> NDArray[np.int64]:
        """Return the teacher's confusion matrix, (C, C): rows are the label."""
        teacher = with_precision(self.networks.plain_teacher, self.options.precision)
        batches = (on_device(batch, self.device) for batch in self.scored_loader)
        return confusion(teacher, batches, NUM_CLASSES).cpu().numpy()
