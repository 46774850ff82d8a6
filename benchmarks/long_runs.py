"""The parts of `speed` that train whole runs: growth of memory, and distance of bfloat16."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from benchmarks.harness import markdown_table
from benchmarks.project import experiment, make_networks, open_data
from dataset.demo import write_demo
from utils.command_line import Size
from utils.errors import UserError
from utils.options import TrainingOptions
from utils.training.loop import Run
from utils.training.stopping import StopRequest

SETTLED = 200
"""Iterations after which the growth of memory counts."""

WINDOW = 100
"""Readings that are averaged: single ones swing with what the allocator holds back."""

_ATEN = torch.ops.aten
CONVOLUTIONS = {
    _ATEN.conv2d.default,  # the form it has in inference mode
    _ATEN.convolution.default,
    _ATEN.convolution_backward.default,
}


def train(options: TrainingOptions, stop: StopRequest, rounded: bool = False) -> Run:
    """Train to the end, on request from weights rounded to bfloat16 once."""
    student, teacher = make_networks(options)
    if rounded:
        for network in (student, teacher):
            network.bfloat16().float()
    with contextlib.redirect_stdout(io.StringIO()):  # the log; the progress bar is on stderr
        run = Run("GTA", student, teacher, *open_data(options), options, options.restore_from)
        finished = run.loop(stop)
        run.log.bar.close()
    if not finished:
        sys.exit(stop.status)
    return run


class MemoryWatch(StopRequest):
    """Reads this process's resident memory, in bytes, whenever it is asked whether to stop."""

    def __init__(self) -> None:
        super().__init__(None)
        self.process = psutil.Process()
        self.readings: list[int] = []

    @property
    def wanted(self) -> bool:
        """Whether the run should stop: after a signal only."""
        self.readings.append(self.process.memory_info().rss)
        return super().wanted


def memory(iterations: int, input_size: Size) -> None:
    """Train on tiny images in this process, and print its resident memory as it goes.

    Raises:
        UserError: the iterations are too few.
        SystemExit: memory grew by 5 % or more; the status is 1.
    """
    if iterations < SETTLED + 2 * WINDOW:
        raise UserError(
            f"--iterations {iterations} are too few to see growth\n"
            f"  the part memory needs {SETTLED + 2 * WINDOW} or more"
        )
    watch = MemoryWatch()
    with tempfile.TemporaryDirectory() as folder:
        write_demo(Path(folder), "gta5", count_source=8, count_target=3, size=(64, 32))
        options = experiment(
            Path(folder),
            snapshot_dir=f"{folder}/run",
            input_size=input_size,
            learning_rate=1e-4,
            val_interval=WINDOW,  # what the first scoring loads is there before growth counts
            max_iters=iterations,
            num_epoch=iterations,
            device="cpu",
            num_workers=1,
        )
        train(options, watch)
    starts = range(0, len(watch.readings) - WINDOW + 1, WINDOW)
    windows = [statistics.mean(watch.readings[i : i + WINDOW]) / 2**20 for i in starts]
    growth = windows[-1] / windows[SETTLED // WINDOW] - 1
    print(f"resident memory every {WINDOW} iterations, MiB:", *(f"{w:.0f}" for w in windows))
    print(f"growth after the first {SETTLED}: {100 * growth:.2f} %")
    if growth >= 0.05:
        sys.exit(1)


def precision(options: TrainingOptions, seeds: Sequence[int]) -> None:
    """Train in float32 and in bfloat16 from the same seeds, and print how far apart they end.

    Two runs part even in float32 if anything differs. A third run, in float32 from weights rounded
    to bfloat16 once, at the start, shows how far. *Late* is the last quarter of the iterations.

    On a processor without bfloat16 instructions the convolutions of the bfloat16 runs take and
    give bfloat16 values, but multiply and add in float32, as such instructions do: PyTorch's own
    way there is thirty times slower.
    """
    kinds = ("fp32", "rounded start", "bf16")
    results = {seed: {kind: short_run(options, seed, kind) for kind in kinds} for seed in seeds}
    rows = {
        str(seed): {
            f"{what}, {kind}": f"{run[what]:{digits}}"
            for what, digits in (("late loss", ".4f"), ("mIoU in %", ".2f"))
            for kind, run in runs.items()
        }
        for seed, runs in results.items()
    }
    print(markdown_table("seed", rows))
    for kind in kinds[1:]:
        pairs = [(runs[kind], runs["fp32"]) for runs in results.values()]
        first, late = (
            [run[loss] / fp32[loss] - 1 for run, fp32 in pairs]
            for loss in ("first loss", "late loss")
        )
        miou = statistics.mean(run["mIoU in %"] - fp32["mIoU in %"] for run, fp32 in pairs)
        print(
            f"{kind} against fp32, mean over seeds: "
            f"first loss {statistics.mean(map(abs, first)):.3%}, "
            f"late loss {statistics.mean(late):+.2%}, mIoU {miou:+.2f} points"
        )


def short_run(options: TrainingOptions, seed: int, kind: str) -> dict[str, float]:
    """Train in fp32, in fp32 from a "rounded start", or in bf16.

    Returns:
        The first and the late total loss, and the final teacher's mIoU in percent.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        precision = "bf16" if kind == "bf16" else "fp32"
        options = dataclasses.replace(options, seed=seed, precision=precision, snapshot_dir=folder)
        native = options.device != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        if precision == "bf16" and not native:
            stack.enter_context(Float32Convolutions())
        run = train(options, StopRequest(None), rounded=kind == "rounded start")
    losses = run.history.rows[:, 0]  # (iterations,)
    late = losses[-(len(losses) // 4) :].mean().item()
    return {"first loss": losses[0].item(), "late loss": late, "mIoU in %": 100 * run.progress.miou}


class Float32Convolutions(TorchDispatchMode):
    """Compute convolutions of bfloat16 tensors in float32 and round their results to bfloat16."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if function not in CONVOLUTIONS or args[0].dtype != torch.bfloat16:
            return function(*args, **(kwargs or {}))
        return tree_map(_to(torch.bfloat16), function(*tree_map(_to(torch.float32), args)))


def _to(dtype: torch.dtype) -> Callable[[Any], Any]:
    return lambda value: value.to(dtype) if isinstance(value, Tensor) else value
