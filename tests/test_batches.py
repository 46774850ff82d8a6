"""The source and target images of each iteration."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from dataset.cityscapes_dataset import CityscapesDataset
from dataset.gta5_dataset import GTA5Dataset
from dataset.segmentation_dataset import SegmentationDataset
from model.SEAN import network_input
from training.batches import DomainBatches, fingerprints
from training.distributed import Processes
from training.options import TrainingOptions
from training.saved_state import CLASSES

SIZE = (64, 32)


@pytest.fixture
def data(domains: Path) -> tuple[SegmentationDataset, ...]:
    target = CityscapesDataset(domains / "Cityscapes", SIZE, labels="none")
    return GTA5Dataset(domains / "GTA5", SIZE), target


def make(data: tuple[SegmentationDataset, ...], **changes: Any) -> DomainBatches:
    options = dataclasses.replace(TrainingOptions(), num_workers=0, **changes)
    return DomainBatches(*data, options, torch.device("cpu"), Processes())


def names(batches: DomainBatches, epoch: int = 0) -> list[tuple[str, ...]]:
    return [batch.names for batch in batches.epoch(epoch, 0)]


def test_an_epoch_visits_every_source_image_and_repeats_the_target(data: Any) -> None:
    batches = make(data)
    assert batches.iterations == 8
    visited = names(batches)
    assert {source for source, _ in visited} == set(data[0].names)
    targets = [target for _, target in visited]
    assert {targets.count(name) for name in data[1].names} == {2, 3}
    assert names(batches) == visited
    assert names(batches, epoch=1) != visited
    assert names(make(data, seed=1)) != visited


def test_batches_hold_network_inputs_and_labels(data: Any) -> None:
    batch = next(make(data, no_shuffle=True, batch_size=2).epoch(0, 0))
    for i in range(2):
        assert torch.equal(batch.source[i], network_input(data[0][i].image[None])[0])
        assert torch.equal(batch.labels[i], data[0][i].label.long())
        assert torch.equal(batch.target[i], network_input(data[1][i].image[None])[0])
    assert batch.labels.dtype == torch.int64


@pytest.mark.parametrize("changes", [{"source_only": True}, {"oracle": True}, {"st_weight": 0.0}])
def test_baselines_read_no_target(changes: dict[str, Any], data: Any) -> None:
    first = next(make(data, **changes).epoch(0, 0))
    assert first.target is None
    assert len(first.names) == 1


def test_fingerprints_tell_images_order_and_label_ids(data: Any, tmp_path: Path) -> None:
    source, target = data
    first = fingerprints({"source": source, "target": target, "scored": None})
    assert set(first) == {"source images", "target images", CLASSES}
    (tmp_path / "list.txt").write_text("\n".join(reversed(source.names)))
    reordered = GTA5Dataset(source.root, SIZE, tmp_path / "list.txt")
    second = fingerprints({"source": reordered, "target": target})
    assert {part for part in first if first[part] != second[part]} == {"source images"}
    target = copy.copy(target)
    target.table = target.table | {7: 1}
    third = fingerprints({"source": source, "target": target})
    assert {part for part in first if first[part] != third[part]} == {CLASSES}
