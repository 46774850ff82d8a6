"""How fast are images read, resized and labelled?

    python -m benchmarks.loader

An epoch of source images with labels, then one of target images, with what brings them to the
device. A worker's speed counts: the table compares one worker with the plain path's one. The
warm-up block fills the cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.photographs import Photographs, write_photographs
from benchmarks.plain import plain_loader, source_dataset, target_dataset
from benchmarks.setting import DIFFERENT_IMAGES, Setting, read_setting, training_config
from benchmarks.timing import (
    Block,
    Side,
    alternate,
    mebibytes,
    peak_memory,
    print_table,
    seconds,
)
from dataset.loaders import default_workers, on_device
from SEAN_GTA5 import EXPERIMENT
from utils.device import choose_device
from utils.training.batches import TrainingData
from utils.training.distributed import Processes


def plain(setting: Setting, photographs: Photographs) -> Block:
    """The original's loaders."""
    device = choose_device(setting.device)
    source = source_dataset(photographs.source, setting.input_size)
    target = target_dataset(photographs.target, setting.input_size, "none")

    def read(loader: Iterable[Any]) -> None:
        for tensors in loader:
            for tensor in tensors:
                tensor.to(device)

    loaders = [plain_loader(dataset, setting.batch_size, device) for dataset in (source, target)]
    return timed_block(device, loaders, read)


def project(setting: Setting, photographs: Photographs, **changes: Any) -> Block:
    """The project's loaders, with some options changed."""
    device = choose_device(setting.device)
    config = training_config(setting, photographs, **changes)
    data = TrainingData(EXPERIMENT, config, device, Processes())

    def read(loader: Iterable[Any]) -> None:
        for batch in loader:
            on_device(batch, device)

    return timed_block(device, [data.source_loader, data.target_loader], read)


def timed_block(
    device: torch.device,
    loaders: Sequence[Iterable[Any]],
    read: Callable[[Iterable[Any]], None],
) -> Block:
    """A block of one epoch of the source loader, then one of the target loader."""
    source, target = loaders
    return lambda: {
        "source": seconds(lambda: read(source), device),
        "target": seconds(lambda: read(target), device),
        "peak": peak_memory(device),
    }


def main() -> None:
    """Read the command line, measure, print."""
    setting = read_setting("Time the loaders.", cpu=Setting(images=32), gpu=Setting(images=64))
    with tempfile.TemporaryDirectory() as folder:
        photographs = write_photographs(Path(folder), DIFFERENT_IMAGES, setting.images)
        data = (setting, photographs)
        medians = alternate(
            {
                "plain, 1 worker": Side(plain, *data),
                "project, 1 worker": Side(project, *data, num_workers=1),
                "project, 1 worker, warm cache": Side(
                    project, *data, num_workers=1, cache_dir=str(photographs.root / "cache")
                ),
                f"project, default workers ({default_workers()})": Side(project, *data),
            },
            setting.repeats,
        )
    rows = []
    baseline = next(iter(medians.values()))
    for name, times in medians.items():
        both = times["source"] + times["target"]
        rows.append([
            name,
            *(f"{setting.images / times[domain]:.1f}" for domain in ("source", "target")),
            f"{2 * setting.images / both:.1f}",
            f"{(baseline['source'] + baseline['target']) / both:.2f}",
            mebibytes(times["peak"]),
        ])  # fmt: skip
    heading = ["loader", "source images/s", "target images/s", "both", "ratio", "peak MiB"]
    print_table(heading, rows)


if __name__ == "__main__":
    main()
