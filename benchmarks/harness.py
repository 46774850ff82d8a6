"""What the measurements share: blocks of work run alternately, time, memory, tables."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import psutil
import torch

Value = TypeVar("Value")
Values = dict[str, float]
Block = Callable[[], Values]
"""Does a piece of work and returns what it measured, by name."""


def alternate(sides: Mapping[str, tuple[Any, ...]], repeats: int) -> dict[str, Values]:
    """Run blocks in turn, once to warm up and then ``repeats`` times; return the medians.

    Args:
        sides: by name, a module's function that prepares a block, and its arguments. Each is called
            in a process of its own, which shares memory, caches and settings with no other.
        repeats: how often each block is measured.
    """
    context = multiprocessing.get_context("spawn")
    readings: dict[str, list[Values]] = {name: [] for name in sides}
    with contextlib.ExitStack() as stack:
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, context)) for name in sides}
        for _ in range(1 + repeats):
            for name, pool in pools.items():
                readings[name].append(pool.submit(_run, *sides[name]).result())
        for pool in pools.values():
            pool.submit(_prepare.cache_clear).result()  # ends the workers of loaders
    return {
        name: {key: statistics.median(run[key] for run in runs[1:]) for key in runs[0]}
        for name, runs in readings.items()
    }


@functools.cache
def _prepare(make: Callable[..., Block], *arguments: Any) -> Block:
    return make(*arguments)


def _run(make: Callable[..., Block], *arguments: Any) -> Values:
    block = _prepare(make, *arguments)
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()  # warming up tries out algorithms, which takes more
    return block()


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long work takes, including what it leaves the device to do."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def peak_memory(device: torch.device) -> float:
    """Return the most memory used so far, in MiB.

    On CUDA it is that of the tensors there in this block; otherwise the highest resident memory of
    this process plus what its worker processes now have for themselves.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    own = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    workers = psutil.Process().children(recursive=True)
    return (own + sum(worker.memory_full_info().uss for worker in workers)) / 2**20


def markdown_table(title: str, rows: Mapping[str, Mapping[str, str]]) -> str:
    """Return a table as Markdown, given the cells of each row by heading."""
    lines = [[title, *next(iter(rows.values()))]]
    lines += [[name, *cells.values()] for name, cells in rows.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    padded = [[c.ljust(w) for c, w in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def several(parse: Callable[[str], Value], choices: Sequence[str] = ()) -> Callable[[str], Any]:
    """Return a parser of comma-separated values, each read by ``parse``, into a tuple."""

    def parse_all(text: str) -> tuple[Value, ...]:
        words = text.split(",")
        if choices and not set(words) <= set(choices):
            raise ValueError
        return tuple(parse(word) for word in words)

    parse_all.__name__ = "comma-separated list" + (f" from {','.join(choices)}" if choices else "")
    return parse_all
