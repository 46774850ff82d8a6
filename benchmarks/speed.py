"""Measure the project's speed against the original's way (benchmarks/paths.py).

    python -m benchmarks speed --parts loader,step --precision fp32,bf16

The parts: loader (images of both domains and the source's label maps, to the device), step (on
batches that stay there), scoring (the target, at the size of its label maps) and files (training
from files; for the project, by SEAN_GTA5.py itself). Files are drawn. The sides take turns: a block
to warm up, then those whose median is printed, as images of each domain per second.
"""

import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from PIL import Image

from benchmarks import markdown_table, several
from benchmarks.paths import PlainPath, ProjectPath
from training.options import TrainingOptions
from utils.command_line import Size, as_arguments, integer, option, read_options, size

PARTS = ("loader", "step", "scoring", "files")
SCRIPT = Path(__file__).parents[1] / "SEAN_GTA5.py"
Block = Callable[[], float]  # does a piece of work and returns the seconds that it took
TARGET = "Cityscapes/{}/val/city/city_000000_{{:06d}}_{}.png"
FILES = {
    "GTA5/images/{:05d}.png": (1914, 1052),
    "GTA5/labels/{:05d}.png": (1914, 1052),
    TARGET.format("leftImg8bit", "leftImg8bit"): (2048, 1024),
    TARGET.format("gtFine", "gtFine_labelIds"): (2048, 1024),
}


@dataclass(frozen=True)
class SpeedOptions:
    """Options of `speed`."""

    parts: tuple[str, ...] = option(PARTS, "what to measure", several(str, PARTS))
    precision: tuple[str, ...] = option(("fp32",), "of the project", several(str, ("fp32", "bf16")))
    input_size: Size = option((1024, 512), "at which images enter the network", size)
    batch_size: int = option(1, "images of each domain an iteration", integer(1))
    iterations: int = option(8, "in a timed block", integer(1))
    repeats: int = option(5, "timed blocks of each side", integer(1))
    num_workers: int = option(1, "of each of the project's loaders; the original has 1", integer(0))


def main(arguments: Sequence[str]) -> None:
    """Read the command line, measure, print."""
    given = read_options(SpeedOptions(), __doc__ or "", arguments)
    print(f"torch {torch.__version__}, {os.cpu_count()} cores\n{as_arguments(given)}", flush=True)
    images = given.iterations * given.batch_size
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), images)
        options = TrainingOptions(
            data_dir_source=f"{folder}/GTA5", data_dir_target=f"{folder}/Cityscapes",
            restore_from="none", input_size=given.input_size, batch_size=given.batch_size,
            num_workers=given.num_workers, no_shuffle=True, print_interval=given.iterations,
            val_interval=3 * given.iterations,
        )  # fmt: skip
        for part in given.parts:
            blocks = {"plain": path_block(PlainPath(options), part)}
            for precision in given.precision:
                chosen = replace(options, precision=precision)
                blocks[f"project, {precision}"] = (
                    script_block(chosen) if part == "files"
                    else path_block(ProjectPath(chosen), part)
                )  # fmt: skip
            times, rows = alternate(blocks, given.repeats), {}
            for side, time in times.items():
                speed, ratio = images / time, times["plain"] / time
                rows[side] = {"images/s": f"{speed:.3g}", "ratio": f"{ratio:.2f}"}
            print(markdown_table(part, rows), flush=True)


def alternate(blocks: Mapping[str, Block], repeats: int) -> dict[str, float]:
    """Run blocks in turn, once to warm up and then ``repeats`` times; return the medians."""
    rounds = [{name: block() for name, block in blocks.items()} for _ in range(1 + repeats)]
    return {name: statistics.median(times[name] for times in rounds[1:]) for name in blocks}


def path_block(path: PlainPath, part: str) -> Block:
    """Prepare a part of one path."""
    batches = list(path.batches()) if part == "step" else []

    def block() -> float:
        start = perf_counter()
        if part == "scoring":
            path.score()
        else:
            for batch in batches or path.batches():
                if part != "loader":
                    path.step(batch)
        if path.device.type == "cuda":
            torch.cuda.synchronize()
        return perf_counter() - start

    return block


def script_block(options: TrainingOptions) -> Block:
    """Prepare two epochs of SEAN_GTA5.py, whose metrics.jsonl gives the time of the second."""

    def block() -> float:
        with tempfile.TemporaryDirectory() as folder:
            run = replace(options, snapshot_dir=folder, max_iters=2 * options.print_interval)
            words = [sys.executable, str(SCRIPT), *shlex.split(as_arguments(run))]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            records = Path(folder, "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return options.print_interval / json.loads(records[1])["iterations_per_s"]

    return block


def draw(root: Path, count: int) -> None:
    """Draw images of the data sets' sizes, and their label maps."""
    for pattern, shape in FILES.items():
        for number in range(count):
            path = root / pattern.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            drawn = label_map if "label" in pattern else photograph
            Image.fromarray(drawn(shape, np.random.default_rng(number))).save(path)


def photograph(shape: Size, rng: np.random.Generator) -> np.ndarray:
    """Return noise with about the spectrum of photographs: 2048x1024 makes a PNG of 3 MB."""
    width, height = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((3, height, width))) / frequency**1.3
    planes = np.fft.irfft2(spectrum, (height, width))
    return (110 + 30 * planes / planes.std()).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def label_map(shape: Size, rng: np.random.Generator) -> np.ndarray:
    """Return blocks of Cityscapes label ids."""
    width, height = shape
    ids = rng.integers(34, size=(8, 16), dtype=np.uint8)
    return ids[np.arange(height) * 8 // height][:, np.arange(width) * 16 // width]
