"""Options beyond the paper that change the images of a batch."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from dataset.transforms import MEAN_BGR, network_input, strong_view
from model.colors import match_colors, normalize_colors
from utils.options import TrainingOptions
from utils.training.train_step import DomainBatch
from utils.training.views import change_views


def pixels(seed: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 12, 20), dtype=torch.uint8, generator=generator)


def make_batch(count: int = 2) -> DomainBatch:
    source, target = network_input(pixels(1, count)), network_input(pixels(2, count) // 2 + 20)
    labels = torch.arange(12 * 20).view(1, 12, 20).repeat(count, 1, 1)
    return DomainBatch(source, labels, target, target, ("a", "b"))


def changed(batch: DomainBatch, first: int = 0, **options: Any) -> DomainBatch:
    return change_views(batch, dataclasses.replace(TrainingOptions(), **options), first)


def test_the_strong_view_is_random_and_in_range() -> None:
    torch.manual_seed(0)
    image = network_input(pixels(1, 1))[0]
    first, second = strong_view(image), strong_view(image)
    assert not torch.equal(first, second)
    levels = first + torch.tensor(MEAN_BGR).view(3, 1, 1)
    assert -1e-3 <= levels.min() <= levels.max() <= 255 + 1e-3


def test_the_teacher_sees_the_clean_target() -> None:
    batch = make_batch()
    strong = changed(batch, strong_view=True)
    assert torch.equal(strong.target, batch.target)
    assert not torch.equal(strong.view, batch.target)
    assert not torch.equal(strong.source, batch.source)
    assert torch.equal(strong.labels, batch.labels)


def test_flips_keep_images_labels_and_views_together() -> None:
    batch = make_batch(16)
    flipped = changed(batch, flip=True)
    assert torch.equal(flipped.view, flipped.target)
    mirrored = 0
    for i in range(16):
        same = torch.equal(flipped.source[i], batch.source[i])
        assert same == torch.equal(flipped.labels[i], batch.labels[i])
        if not same:
            assert torch.equal(flipped.source[i].flip(-1), batch.source[i])
            assert torch.equal(flipped.labels[i].flip(-1), batch.labels[i])
        mirrored += not same
    assert 2 <= mirrored <= 14


@pytest.mark.parametrize("options", [{"strong_view": True}, {"flip": True}])
def test_changes_depend_on_the_images_number_alone(options: dict[str, Any]) -> None:
    batch = make_batch(4)
    whole = changed(batch, first=40, **options)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    half = batch._replace(
        source=batch.source[2:], labels=batch.labels[2:], target=batch.target[2:],
        view=batch.view[2:],
    )  # fmt: skip
    second = changed(half, first=42, **options)
    for ours, theirs in zip(second[:4], whole[:4], strict=True):
        assert torch.equal(ours, theirs[2:])
    assert torch.equal(torch.get_rng_state(), state), "the noise must not change"
    other = changed(batch, first=40, **options, seed=1)
    assert not torch.equal(other.source, whole.source)


def test_colors_are_matched_without_adaptation_too() -> None:
    options = dataclasses.replace(TrainingOptions(), color_matching=True, source_only=True)
    assert options.reads_target
    assert not dataclasses.replace(options, oracle=True, source_only=False).reads_target
    batch = make_batch()
    assert torch.equal(
        changed(batch, color_matching=True).source, match_colors(batch.source, batch.target)
    )


def test_only_target_images_are_normalized() -> None:
    batch = make_batch()
    normal = changed(batch, normalize_colors=True)
    assert torch.equal(normal.source, batch.source)
    assert torch.equal(normal.target, normalize_colors(batch.target))
    assert torch.equal(normal.view, normal.target)
    oracle = changed(batch._replace(target=None), normalize_colors=True, oracle=True)
    assert torch.equal(oracle.source, normalize_colors(batch.source))


def test_normalized_networks_learn_colors_up_to_halfway_to_the_target() -> None:
    batch = make_batch(8)
    mixed = changed(batch, normalize_colors=True, color_matching=True)
    assert torch.equal(mixed.target, normalize_colors(batch.target))
    half = match_colors(batch.source, batch.target, 0.5)
    moved = [
        float((mixed.source[i] - batch.source[i]).norm() / (half[i] - batch.source[i]).norm())
        for i in range(8)
    ]
    assert 0 < min(moved) < 0.4 < 0.7 < max(moved) < 1
