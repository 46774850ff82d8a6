"""How fast is training, from PNG files to finished iterations and scorings?

    python -m benchmarks.end_to_end

A timed block is an epoch as long as the images of a block, from the start of the loaders on, and
a scoring of as many images. The full run is projected from both: 6 epochs of GTA-5, scored every
500 iterations, at the input size and batch size that are measured.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from benchmarks.photographs import Photographs, write_photographs
from benchmarks.plain import (
    PlainTraining,
    plain_loader,
    plain_scores,
    source_dataset,
    target_dataset,
)
from benchmarks.scoring import plain_scored, project_scores
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
from utils.device import choose_device
from utils.training.train_step import train_step

RUN_IMAGES = 6 * 24966
RUN_SCORED = 300 * 500
"""What the full run trains on and scores."""


class Waiting:
    """How long the device has nothing to do between iterations, because data is not there yet."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.moments: list[Any] = []

    def mark(self) -> None:
        """Note a moment: when the device, or without one this process, comes to this point."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.moments.append(event)
        else:
            self.moments.append(time.perf_counter())

    def seconds(self) -> float:
        """The sum over the pauses: from each second moment to the next one."""
        pauses = zip(self.moments[1::2], self.moments[2::2], strict=False)
        if self.device.type == "cuda":
            return sum(start.elapsed_time(end) for start, end in pauses) / 1000
        return sum(end - start for start, end in pauses)


def timed_block(
    device: torch.device,
    batches: Callable[[], Iterable[Any]],
    step: Callable[[Any], object],
    score: Callable[[], object],
) -> Block:
    """A block of one epoch and one scoring.

    Args:
        device: where the work is done.
        batches: starts an epoch.
        step: makes an iteration of one batch.
        score: scores once.
    """

    def block() -> dict[str, float]:
        waiting = Waiting(device)

        def train() -> None:
            for batch in batches():
                waiting.mark()
                step(batch)
                waiting.mark()

        times = {"train": seconds(train, device), "score": seconds(score, device)}
        return {**times, "wait": waiting.seconds(), "peak": peak_memory(device)}

    return block


def plain(setting: Setting, photographs: Photographs) -> Block:
    """The original's training."""
    device = choose_device(setting.device)
    training = PlainTraining(training_config(setting, photographs), device)
    source = source_dataset(photographs.source, setting.input_size)
    target = target_dataset(photographs.target, setting.input_size, "none")
    loaders = [plain_loader(dataset, setting.batch_size, device) for dataset in (source, target)]
    scored = plain_scored(setting, photographs, device)

    def batches() -> Iterable[list[torch.Tensor]]:
        for (images, labels), (targets,) in zip(*loaders, strict=True):
            yield [tensor.to(device) for tensor in (images, labels, targets)]

    return timed_block(
        device,
        batches,
        lambda batch: training.step(*batch),
        lambda: plain_scores(training.teacher, scored, device),
    )


def project(setting: Setting, photographs: Photographs) -> Block:
    """The project's training; results are read where its log lines are."""
    device = choose_device(setting.device)
    at_once = 4 if device.type == "cuda" else 1
    trainer = open_trainer(training_config(setting, photographs, val_batch_size=at_once))
    trained = trainer.networks
    unread: list[torch.Tensor] = []

    def step(batches: Any) -> None:
        result = train_step(
            trained.student, trained.teacher, trained.optimizer, batches,
            trainer.config, trainer.processes,
        )  # fmt: skip
        unread.append(torch.stack(result))
        if len(unread) == trainer.config.print_interval:
            torch.stack(unread).cpu()
            unread.clear()

    return timed_block(
        device, lambda: trainer.data.epoch(0, 0), step, lambda: project_scores(trainer)
    )


def main() -> None:
    """Read the command line, measure, print."""
    setting = read_setting(
        "Time training from PNG files.",
        cpu=Setting(input_size=(256, 128), images=2, repeats=5),
        gpu=Setting(precision="bf16", images=200, repeats=3),
    )
    with tempfile.TemporaryDirectory() as folder:
        photographs = write_photographs(Path(folder), DIFFERENT_IMAGES, setting.images)
        data = (setting, photographs)
        medians = alternate(
            {"plain": Side(plain, *data), "project": Side(project, *data)}, setting.repeats
        )
    rows = []
    iterations = setting.images // setting.batch_size
    for name, values in medians.items():
        run = (RUN_IMAGES * values["train"] + RUN_SCORED * values["score"]) / setting.images
        rows.append([
            name,
            f"{iterations / values['train']:.3g}",
            f"{medians['plain']['train'] / values['train']:.2f}",
            f"{values['wait'] / values['train']:.1%}",
            f"{setting.images / values['score']:.3g}",
            f"{run / 3600:.1f}",
            mebibytes(values["peak"]),
        ])  # fmt: skip
    heading = ["training", "it/s", "ratio", "waits for data", "scored images/s", "full run, hours"]
    print_table([*heading, "peak MiB"], rows)


if __name__ == "__main__":
    main()
