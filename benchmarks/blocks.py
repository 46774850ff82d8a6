"""The parts of `speed` that time blocks of work, alternately by the plain path and the project's.

Each prints one table. Their arguments: the experiment's options; the images of each domain in a
block, which are one epoch; and how many blocks of each path are timed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import Block, alternate, markdown_table, peak_memory, seconds
from benchmarks.plain import PlainPath
from benchmarks.project import ProjectPath
from dataset.loaders import default_workers
from utils.options import TrainingOptions

RUN_IMAGES = 6 * 24966
RUN_SCORED = 300 * 500
"""Images that a full run trains on and scores: 6 epochs of GTA-5, scored every 500 iterations."""

Values = dict[str, float]
Medians = dict[str, Values]
PATHS: dict[str, Any] = {"plain": PlainPath, "project": ProjectPath}


def compare(make: Callable[..., Block], options: TrainingOptions, repeats: int) -> Medians:
    """Return the medians of both paths."""
    return alternate({name: (make, (path, options)) for name, path in PATHS.items()}, repeats)


def show(title: str, medians: Medians, columns: Callable[[Values], dict[str, str]]) -> None:
    """Print a table: the part's columns, the ratio to the first row's speed, and memory."""
    baseline = next(iter(medians.values()))["time"]
    rows = {
        name: columns(values)
        | {"ratio": f"{baseline / values['time']:.2f}", "peak MiB": f"{values['peak'] / 2**20:.0f}"}
        for name, values in medians.items()
    }
    print(markdown_table(title, rows))


def step(options: TrainingOptions, images: int, repeats: int) -> None:
    """Time an iteration on a batch that stays on the device.

    The share of peak is the operations of the plain path's iteration, over the time, over the
    operations a second of a large matrix product.
    """
    options = dataclasses.replace(options, num_workers=0)
    machine = alternate({"": (machine_block, (options,))}, 1)[""]
    operations = machine.pop("operations")
    peaks = ", ".join(f"{name} {rate / 1e12:.3f} TFLOP/s" for name, rate in machine.items())
    print(f"an iteration: {operations / 1e12:.3f} TFLOP; measured peak: {peaks}")
    medians = compare(step_block, options, repeats)
    medians["plain"]["peak rate"] = machine["fp32"]
    medians["project"]["peak rate"] = machine[options.precision]

    def columns(values: Values) -> dict[str, str]:
        duration = values["time"] / (images // options.batch_size)
        return {
            "ms": f"{1000 * duration:.0f}",
            "it/s": f"{1 / duration:.3g}",
            "share of peak": f"{operations / duration / values['peak rate']:.0%}",
        }

    show("step", medians, columns)


def step_block(path_type: Any, options: TrainingOptions) -> Block:
    """Prepare as many iterations as an epoch has, all on its first batch."""
    path = path_type(options)
    batches = list(path.epoch())

    def work() -> None:
        for _ in batches:
            path.step(batches[0])

    return lambda: {"time": seconds(work, path.device), "peak": peak_memory(path.device)}


def machine_block(options: TrainingOptions) -> Block:
    """Prepare measuring what the plain path's iteration needs, and what the device can give.

    Returns:
        A block that measures the floating-point operations of the iteration (a multiply-add is
        two), and for each precision the operations a second in a large matrix product.
    """
    path = PlainPath(options)
    batch = next(path.epoch())

    def block() -> dict[str, float]:
        with FlopCounterMode(display=False) as counter:
            path.step(batch)
        precisions = {"fp32", options.precision}
        rates = {precision: matrix_rate(path.device, precision) for precision in precisions}
        return {"operations": counter.get_total_flops(), **rates}

    return block


def matrix_rate(device: torch.device, precision: str) -> float:
    """Return the floating-point operations a second of a large matrix product, the best of ten."""
    side = 8192 if device.type == "cuda" else 2048
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = torch.randn(2, side, side, device=device).to(kind)
    return 2 * side**3 / min(seconds(lambda: left @ right, device) for _ in range(10))


def end_to_end(options: TrainingOptions, images: int, repeats: int) -> None:
    """Time training and scoring from PNG files, and project a full run from it."""

    def columns(values: Values) -> dict[str, str]:
        run = (RUN_IMAGES * values["time"] + RUN_SCORED * values["score"]) / images
        return {
            "it/s": f"{images // options.batch_size / values['time']:.3g}",
            "waits for data": f"{values['wait'] / values['time']:.1%}",
            "scored images/s": f"{images / values['score']:.3g}",
            "full run, hours": f"{run / 3600:.1f}",
        }

    show("training", compare(end_to_end_block, options, repeats), columns)


def end_to_end_block(path_type: Any, options: TrainingOptions) -> Block:
    """Prepare an epoch, from the start of the loaders on, and a scoring of as many images."""
    path = path_type(options)

    def block() -> dict[str, float]:
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


def loader(options: TrainingOptions, images: int, repeats: int) -> None:
    """Time the loaders; the block that warms up fills the cache.

    The ratio compares one worker with the plain path's one.
    """
    one = dataclasses.replace(options, num_workers=1)
    cache = Path(options.data_dir_source).with_name("cache")
    cached = dataclasses.replace(one, cache_dir=str(cache))
    sides = {
        "plain, 1 worker": (PlainPath, one),
        "project, 1 worker": (ProjectPath, one),
        "project, 1 worker, warm cache": (ProjectPath, cached),
        f"project, default workers ({default_workers()})": (ProjectPath, options),
    }
    blocks = {name: (loader_block, arguments) for name, arguments in sides.items()}

    def columns(values: Values) -> dict[str, str]:
        return {
            "source images/s": f"{images / values['source']:.1f}",
            "target images/s": f"{images / values['target']:.1f}",
            "both": f"{2 * images / values['time']:.1f}",
        }

    show("loader", alternate(blocks, repeats), columns)


def loader_block(path_type: Any, options: TrainingOptions) -> Block:
    """Prepare an epoch of labelled source images, then one of target images, to the device."""
    path = path_type(options)

    def read(loader: Any) -> None:
        for batch in loader:
            path.to_device(batch)

    def block() -> dict[str, float]:
        source, target = (seconds(partial(read, each), path.device) for each in path.loaders)
        peak = peak_memory(path.device)
        return {"source": source, "target": target, "time": source + target, "peak": peak}

    return block


def scoring(options: TrainingOptions, images: int, repeats: int) -> None:
    """Time the scoring of a network just initialized, from PNG files to the confusion matrix."""
    medians = compare(scoring_block, options, repeats)
    show("scoring", medians, lambda values: {"images/s": f"{images / values['time']:.2f}"})


def scoring_block(path_type: Any, options: TrainingOptions) -> Block:
    """Prepare a scoring."""
    path = path_type(options)
    return lambda: {"time": seconds(path.score, path.device), "peak": peak_memory(path.device)}
