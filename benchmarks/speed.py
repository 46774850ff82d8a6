"""Measure the project against the original's path (benchmarks/plain.py).

    python -m benchmarks speed --parts step,loader

The parts:
    step        an iteration on a batch that stays on the device
    end_to_end  training and scoring from PNG files
    loader      images read, resized and labelled
    counted     operations and memory of an iteration, counted without running it
    memory      whether the memory of a long run on the CPU grows

The first three draw PNG files of the data sets' sizes and run the paths alternately, each in a
process of its own: a block to warm up, then the blocks whose medians are printed. In a block, the
images of each domain are one epoch.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import harness
from benchmarks.counted import show_counts
from benchmarks.harness import Block, Values, peak_memory, seconds
from benchmarks.plain import PlainPath
from benchmarks.project import ProjectPath, experiment
from benchmarks.survival import measure_memory
from tools.demo import write_demo
from training.log import environment
from training.options import TrainingOptions
from utils.command_line import Size, as_arguments, integer, option, read_options, size
from utils.device import choose_device
from utils.errors import UserError

DRAWN = 2  # different images in each domain; a block of more images repeats them
PRECISIONS = ("fp32", "bf16")
PARTS = ("step", "end_to_end", "loader", "counted", "memory")
RUN_IMAGES = 6 * 24966
RUN_SCORED = 300 * 500
"""Images that a full run trains on and scores: 6 epochs of GTA-5, scored every 500 iterations."""
Columns = Callable[[Values, Values], dict[str, str]]


@dataclass(frozen=True)
class SpeedOptions:
    """Options of `speed`."""

    parts: tuple[str, ...] = option(PARTS[:3], "what to measure", harness.several(str, PARTS))
    device: str = option("auto", "where to compute", choices=("auto", "cpu", "cuda"))
    precision: tuple[str, ...] = option(
        ("fp32",),
        "of the project's networks, fp32 or bf16 or both",
        harness.several(str, PRECISIONS),
    )
    input_size: Size = option((1024, 512), "at which images enter the network", size)
    batch_size: int = option(1, "images of each domain an iteration", integer(1))
    images: int = option(8, "images of each domain in a timed block", integer(1))
    repeats: int = option(5, "timed blocks of each path; their median counts", integer(1))
    compile: bool = option(False, "compile the project's networks")
    iterations: int = option(2000, "of the run of the part memory", integer(8))


def main(arguments: Sequence[str]) -> None:
    """Read the command line, measure, print.

    Raises:
        UserError: a block has fewer images than a batch.
    """
    given = read_options(SpeedOptions(), __doc__ or "", arguments)
    if given.images < given.batch_size:
        raise UserError(f"--images {given.images}: less than a batch\n  give more images")
    device = choose_device(given.device)
    print(f"{environment(device)}, {os.cpu_count()} cores\n{as_arguments(given)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for part in given.parts:
            if part == "memory":
                measure_memory(given.iterations)
            elif part == "counted":
                for precision in given.precision:
                    show_counts(given.input_size, given.batch_size, precision)
            else:
                BLOCKS[part](draw_data(given, Path(folder)), given)


def draw_data(given: SpeedOptions, root: Path) -> TrainingOptions:
    """Draw images of the data sets' sizes; return options for an epoch of ``given.images``."""
    write_demo(root, "gta5", DRAWN, 0, (1914, 1052))
    write_demo(root / "target", "gta5", 0, DRAWN, (2048, 1024))
    for folder in ("GTA5/images", "GTA5/labels", "target/Cityscapes/leftImg8bit/val",
                   "target/Cityscapes/gtFine/val"):  # fmt: skip
        repeat_files(root / folder, given.images)
    return experiment(
        root,
        data_dir_target=str(root / "target/Cityscapes"),
        no_shuffle=True,
        input_size=given.input_size,
        batch_size=given.batch_size,
        device=given.device,
        compile=given.compile,
    )


def repeat_files(folder: Path, count: int) -> None:
    """Give files further names, with further numbers, until there are ``count``."""
    files = sorted(folder.rglob("*.png"))
    for file in files[count:]:
        file.unlink()
    for index in range(len(files), count):
        like, more = files[index % len(files)], index - index % len(files)
        number = re.search(r"\d+", like.name)[0]  # type: ignore[index]
        further = f"{int(number) + more:0{len(number)}}"
        os.link(like, like.with_name(like.name.replace(number, further, 1)))


def paths(make: Callable[..., Block], options: TrainingOptions, given: SpeedOptions) -> Any:
    """Return the blocks of the plain path, and of the project in each precision."""
    sides = {
        f"project, {precision}": (
            make, ProjectPath, dataclasses.replace(options, precision=precision)
        )
        for precision in given.precision
    }  # fmt: skip
    return {"plain": (make, PlainPath, options), **sides}


def show(title: str, sides: dict[str, Any], given: SpeedOptions, columns: Columns) -> None:
    """Measure the sides; print their columns, given the plain side's values too, and the ratio."""
    medians = harness.alternate(sides, given.repeats)
    plain = medians["plain"]
    rows = {}
    for name, values in medians.items():
        ratio, peak = plain["time"] / values["time"], values["peak"]
        rows[name] = columns(values, plain) | {"ratio": f"{ratio:.2f}", "peak MiB": f"{peak:.0f}"}
    print(harness.markdown_table(title, rows))


def step(options: TrainingOptions, given: SpeedOptions) -> None:
    """Time an iteration on a batch that stays on the device.

    The share of peak compares the operations of the plain path's iteration in that time with those
    of a large matrix product in the path's precision.
    """

    def columns(values: Values, plain: Values) -> dict[str, str]:
        return {
            "it/s": f"{1 / values['time']:.3g}",
            "TFLOP": f"{plain['operations'] / 1e12:.3f}",
            "peak TFLOP/s": f"{values['rate'] / 1e12:.3f}",
            "share of peak": f"{plain['operations'] / values['time'] / values['rate']:.0%}",
        }

    options = dataclasses.replace(options, num_workers=0)
    show("step", paths(step_block, options, given), given, columns)


def step_block(path_type: Any, options: TrainingOptions) -> Block:
    """Prepare an epoch of iterations, on batches that are on the device."""
    path = path_type(options)
    is_plain = path_type is PlainPath
    rate = matrix_rate(path.device, "fp32" if is_plain else options.precision)
    batches = list(path.epoch())
    counter = FlopCounterMode(display=False)  # counts a multiply-add as two
    if is_plain:  # a compiled network cannot be counted
        with counter:
            path.step(batches[0])

    def work() -> None:
        for batch in batches:
            path.step(batch)

    def block() -> Values:
        values = {"rate": rate, "operations": counter.get_total_flops()}
        values["time"] = seconds(work, path.device) / len(batches)
        return values | {"peak": peak_memory(path.device)}

    return block


def matrix_rate(device: torch.device, precision: str) -> float:
    """Return the floating-point operations a second of a large matrix product, the best of ten."""
    side = 8192 if device.type == "cuda" else 2048
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = torch.randn(2, side, side, device=device).to(kind)
    return 2 * side**3 / min(seconds(lambda: left @ right, device) for _ in range(10))


def end_to_end(options: TrainingOptions, given: SpeedOptions) -> None:
    """Time training and scoring from PNG files, and project a full run from it."""
    images = given.images

    def columns(values: Values, _: Values) -> dict[str, str]:
        run = (RUN_IMAGES * values["time"] + RUN_SCORED * values["score"]) / images
        return {
            "it/s": f"{images // options.batch_size / values['time']:.3g}",
            "waits for data": f"{values['wait'] / values['time']:.1%}",
            "scored images/s": f"{images / values['score']:.3g}",
            "full run, hours": f"{run / 3600:.1f}",
        }

    show("training", paths(end_to_end_block, options, given), given, columns)


def end_to_end_block(path_type: Any, options: TrainingOptions) -> Block:
    """Prepare an epoch, from the start of the loaders on, and a scoring of as many images."""
    path = path_type(options)

    def block() -> Values:
        moments: list[Any] = []  # before and after each iteration

        def train() -> None:
            for batch in path.epoch():
                moments.append(moment(path.device))
                path.step(batch)
                moments.append(moment(path.device))

        times = {"time": seconds(train, path.device), "score": seconds(path.score, path.device)}
        pauses = zip(moments[1::2], moments[2::2], strict=False)
        wait = sum(between(start, end) for start, end in pauses)
        return {**times, "wait": wait, "peak": peak_memory(path.device)}

    return block


def moment(device: torch.device) -> Any:
    """Note when the device, or without one this process, comes to this point."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def between(start: Any, end: Any) -> float:
    """Return the seconds between two moments that have passed."""
    return end - start if isinstance(start, float) else start.elapsed_time(end) / 1000


def loader(options: TrainingOptions, given: SpeedOptions) -> None:
    """Time the loaders: the plain path's one worker, ours, two, and one with the cache."""
    one, two = (dataclasses.replace(options, num_workers=count) for count in (1, 2))
    folder = Path(options.data_dir_source).parent
    filled, filling = (
        dataclasses.replace(one, cache_dir=str(folder / name)) for name in ("filled", "filling")
    )
    sides = {
        "plain": (loader_block, PlainPath, one),
        "project": (loader_block, ProjectPath, one),
        "project, 2 workers": (loader_block, ProjectPath, two),
        "project, filling the cache": (loader_block, ProjectPath, filling, True),
        "project, warm cache": (loader_block, ProjectPath, filled),
    }
    images = 2 * given.images
    show("loader", sides, given, lambda values, _: {"images/s": f"{images / values['time']:.1f}"})


def loader_block(path_type: Any, options: TrainingOptions, empties_cache: bool = False) -> Block:
    """Prepare an epoch of labelled source images, then one of target images, to the device."""
    path = path_type(options)

    def read() -> None:
        for batch in itertools.chain(*path.loaders):
            path.to_device(batch)

    def block() -> Values:
        if empties_cache and options.cache_dir:
            shutil.rmtree(options.cache_dir, ignore_errors=True)
        return {"time": seconds(read, path.device), "peak": peak_memory(path.device)}

    return block


BLOCKS = {"step": step, "end_to_end": end_to_end, "loader": loader}
