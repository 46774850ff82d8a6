"""Time paths alternately, each in a process of its own, and print the medians."""

from __future__ import annotations

import gc
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import psutil
import torch

Block = Callable[[], dict[str, float]]
"""Does a piece of work and returns what it measured, seconds by name."""

_block: Block


class Side:
    """A path in a process of its own: its memory, caches and settings are no other side's.

    Args:
        make: prepares the work, in that process, and returns it as a block; a module's function.
        arguments: of ``make``.
        options: of ``make``, by name.
    """

    def __init__(self, make: Callable[..., Block], *arguments: Any, **options: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._process = ProcessPoolExecutor(1, context)
        self._process.submit(_prepare, make, arguments, options).result()

    def run(self) -> dict[str, float]:
        """Run the block once."""
        return self._process.submit(_run).result()

    def close(self) -> None:
        """End the process, and before it its loaders' workers."""
        self._process.submit(_forget).result()
        self._process.shutdown()


def alternate(sides: Mapping[str, Side], repeats: int) -> dict[str, dict[str, float]]:
    """Run the sides in turn, once to warm up and then ``repeats`` times, and end them.

    Returns:
        The median of what each side measured. ``peak``, the most memory, is of the whole run.
    """
    readings: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(1 + repeats):
        for name, side in sides.items():
            readings[name].append(side.run())
    for side in sides.values():
        side.close()
    return {
        name: {
            key: runs[-1][key] if key == "peak" else statistics.median(r[key] for r in runs[1:])
            for key in runs[0]
        }
        for name, runs in readings.items()
    }


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long work takes, on the device too."""
    wait_for(device)
    start = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - start


def wait_for(device: torch.device) -> None:
    """Return once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> float:
    """The most memory used so far, in bytes.

    Returns:
        On CUDA what tensors took there in this block; else this process's resident memory at its
        highest, and what its worker processes now have for themselves.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    own = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    workers = psutil.Process().children(recursive=True)
    return own + sum(worker.memory_full_info().uss for worker in workers)


def print_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that Markdown understands."""
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    for row in (heading, ["-" * width for width in widths], *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("| " + " | ".join(cells) + " |", flush=True)


def mebibytes(memory: float) -> str:
    """Bytes as text in MiB."""
    return f"{memory / 2**20:.0f}"


def _prepare(make: Callable[..., Block], arguments: Sequence[Any], options: dict[str, Any]) -> None:
    global _block
    _block = make(*arguments, **options)


def _run() -> dict[str, float]:
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()  # warming up tries out algorithms, which takes more
    return _block()


def _forget() -> None:
    global _block
    del _block
    gc.collect()
