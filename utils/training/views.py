"""Changes to the images of a batch that go beyond the paper; all are off by default."""

from __future__ import annotations

import torch

from dataset.transforms import strong_view
from model.colors import match_colors, normalize_colors
from utils.options import TrainingOptions
from utils.training.train_step import DomainBatch


def change_views(batch: DomainBatch, options: TrainingOptions, first: int) -> DomainBatch:
    """Match the source's colors, normalize the target's, flip images, change what the student sees.

    Args:
        batch: images of both domains.
        options: ``normalize_colors``, ``color_matching``, ``flip`` and ``strong_view`` are used.
        first: number of the batch's first image among all images of the run. The random changes
            of an image depend on the seed and this number, so that resumed runs and runs with
            several processes repeat them.

    Returns:
        The batch with changed images. ``view`` is the target as the student sees it; the teacher
        sees it without the strong view's changes.
    """
    sources, labels = list(batch.source), list(batch.labels)
    targets = [] if batch.target is None else list(batch.target)
    views = []
    with torch.random.fork_rng(devices=[]):
        for i in range(len(sources)):
            # Only the CPU's generator: torch.manual_seed would seed the noise's on a GPU as well.
            torch.default_generator.manual_seed(hash((options.seed, first + i)) % 2**63)
            flip_source, flip_target = (torch.rand(2) < 0.5).tolist()
            if options.color_matching and targets:
                # The network will see normal colors: its source is varied, and at most halfway.
                share = torch.rand(()).item() / 2 if options.normalize_colors else 1
                sources[i] = match_colors(sources[i][None], targets[i][None], share)[0]
            if options.normalize_colors and options.oracle:
                sources[i] = normalize_colors(sources[i][None])[0]
            if options.normalize_colors and targets:
                targets[i] = normalize_colors(targets[i][None])[0]
            if options.flip and flip_source:
                sources[i], labels[i] = sources[i].flip(-1), labels[i].flip(-1)
            if options.flip and flip_target and targets:
                targets[i] = targets[i].flip(-1)
            if options.strong_view:
                sources[i] = strong_view(sources[i])
                views += [strong_view(targets[i])] if targets else []
    target = torch.stack(targets) if targets else None
    view = torch.stack(views) if views else target
    return DomainBatch(torch.stack(sources), torch.stack(labels), target, view, batch.names)
