"""Does the memory of a long run grow?

    python -m benchmarks.memory --iterations 2000

Trains on tiny images in this process and reads its resident memory as it goes.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
from pathlib import Path

import psutil

from dataset.demo import write_demo
from SEAN_GTA5 import EXPERIMENT
from utils.command_line import Parser, integer
from utils.training.loop import Trainer
from utils.training.stopping import StopRequest

SETTLED = 200
"""Iterations after which growth counts."""

WINDOW = 100
"""Readings that are averaged: single ones swing with what the allocator holds back."""


class Watch(StopRequest):
    """Never asks to stop; reads the memory each time it is asked."""

    def __init__(self) -> None:
        super().__init__(None)
        self.process = psutil.Process()
        self.readings: list[int] = []

    @property
    def wanted(self) -> bool:
        """Read the resident memory, in bytes."""
        self.readings.append(self.process.memory_info().rss)
        return False


def main() -> None:
    """Read the command line, train, print; exits with 1 where memory grew by 5 % or more."""
    parser = Parser(__doc__ or "")
    parser.add_argument("--iterations", type=integer(SETTLED + 2 * WINDOW), default=2000)
    options = parser.parse_args()
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_demo(root, "gta5", count_source=8, count_target=3, size=(64, 32))
        config = dataclasses.replace(
            EXPERIMENT.defaults,
            data_dir_source=str(root / "GTA5"),
            data_dir_target=str(root / "Cityscapes"),
            snapshot_dir=str(root / "run"),
            restore_from="none",
            input_size=(64, 32),
            input_size_target=(64, 32),
            learning_rate=1e-4,
            val_interval=WINDOW,  # what the first scoring loads is there before growth counts
            max_iters=options.iterations,
            num_epoch=options.iterations,
            device="cpu",
            num_workers=1,
        )
        Trainer(EXPERIMENT, config).run(watch)
    starts = range(0, options.iterations - WINDOW + 1, WINDOW)
    windows = [statistics.mean(watch.readings[i : i + WINDOW]) / 2**20 for i in starts]
    print(f"resident memory every {WINDOW} iterations, MiB:", *(f"{w:.0f}" for w in windows))
    growth = windows[-1] / windows[SETTLED // WINDOW] - 1
    print(f"growth after the first {SETTLED}: {100 * growth:.2f} %")
    sys.exit(growth >= 0.05)


if __name__ == "__main__":
    main()
