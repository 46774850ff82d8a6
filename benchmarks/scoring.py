"""How fast is a teacher scored, from PNG files to the confusion matrix?

python -m benchmarks.scoring
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.photographs import Photographs, write_photographs
from benchmarks.plain import PlainTraining, plain_loader, plain_scores, target_dataset
from benchmarks.setting import (
    DIFFERENT_IMAGES,
    Setting,
    open_trainer,
    read_setting,
    training_config,
)
from benchmarks.timing import (
    Block,
    Side,
    alternate,
    mebibytes,
    peak_memory,
    print_table,
    seconds,
)
from utils.device import autocast, choose_device
from utils.evaluation.predict import evaluate
from utils.training.loop import Trainer


def plain(setting: Setting, photographs: Photographs) -> Block:
    """The original's scoring, of a network just initialized."""
    device = choose_device(setting.device)
    training = PlainTraining(training_config(setting, photographs), device)
    loader = plain_scored(setting, photographs, device)

    def work() -> None:
        counts = plain_scores(training.teacher, loader, device)
        np.save(photographs.root / "plain.npy", counts)

    return lambda: {"time": seconds(work, device), "peak": peak_memory(device)}


def project(setting: Setting, photographs: Photographs) -> Block:
    """The project's scoring, of the same network."""
    device = choose_device(setting.device)
    trainer = open_trainer(training_config(setting, photographs))

    def work() -> None:
        np.save(photographs.root / "project.npy", project_scores(trainer))

    return lambda: {"time": seconds(work, device), "peak": peak_memory(device)}


def plain_scored(
    setting: Setting, photographs: Photographs, device: torch.device
) -> torch.utils.data.DataLoader[tuple[torch.Tensor, ...]]:
    """Target images with their label maps at full size, one at a time."""
    dataset = target_dataset(photographs.target, setting.input_size, "own size")
    return plain_loader(dataset, 1, device)


def project_scores(trainer: Trainer) -> NDArray[np.int64]:
    """Confusion matrix of a trainer's teacher, (C, C)."""
    precision = autocast(trainer.device, trainer.config.precision)
    batches = trainer.data.to_score()
    counts = evaluate(trainer.networks.teacher, batches, trainer.config.num_classes, precision)
    return counts.numpy()


def main() -> None:
    """Read the command line, measure, print."""
    setting = read_setting(
        "Time scoring.",
        cpu=Setting(input_size=(256, 128), images=8, repeats=5),
        gpu=Setting(precision="bf16", batch_size=4, images=64),
    )
    with tempfile.TemporaryDirectory() as folder:
        photographs = write_photographs(Path(folder), DIFFERENT_IMAGES, setting.images)
        sides = {
            "plain": Side(plain, setting, photographs),
            "project": Side(project, setting, photographs),
        }
        medians = alternate(sides, setting.repeats)
        counts = [np.load(photographs.root / f"{name}.npy") for name in sides]
    rows = [
        [
            name,
            f"{setting.images / values['time']:.2f}",
            f"{medians['plain']['time'] / values['time']:.2f}",
            mebibytes(values["peak"]),
        ]
        for name, values in medians.items()
    ]
    print_table(["scoring", "images/s", "ratio", "peak MiB"], rows)
    moved = abs(counts[0] - counts[1]).sum() // 2
    print(f"pixels that are counted elsewhere: {moved} of {counts[0].sum()}")


if __name__ == "__main__":
    main()
