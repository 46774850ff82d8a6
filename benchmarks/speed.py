"""Measure the project against the original's path (benchmarks/plain.py).

    python -m benchmarks speed --parts step,loader

The parts:
    step        an iteration on a batch that stays on the device
    end_to_end  training and scoring from PNG files
    loader      images read, resized and labelled
    scoring     a teacher scored, from PNG files to the confusion matrix
    precision   how far runs in bfloat16 and in float32 part
    memory      whether the memory of a long run grows

The first four draw full-size PNG files (2048x1024 and 1914x1052) and run the paths alternately,
each in a process of its own: a block to warm up, then the blocks whose medians are printed, with
the ratio to the plain path.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import blocks, long_runs
from benchmarks.harness import several, write_photographs
from benchmarks.project import experiment
from dataset.demo import write_demo
from utils.command_line import Size, integer, option, read_options, size
from utils.device import choose_device
from utils.errors import UserError
from utils.options import TrainingOptions
from utils.training.log import environment

DIFFERENT_IMAGES = 4
"""In each domain; a block of more images repeats them."""

BLOCKS = {
    "step": blocks.step,
    "end_to_end": blocks.end_to_end,
    "loader": blocks.loader,
    "scoring": blocks.scoring,
}
PARTS = (*BLOCKS, "precision", "memory")
SUITABLE = {"cpu": (*BLOCKS, "memory"), "cuda": (*BLOCKS, "precision")}
COMMON: dict[str, Any] = {
    "precision": "fp32",
    "input_size": (1024, 512),
    "batch_size": 1,
    "repeats": 5,
}
DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "cpu": {
        "step": {"input_size": (256, 128), "images": 1},
        "end_to_end": {"input_size": (256, 128), "images": 2},
        "loader": {"images": 32},
        "scoring": {"input_size": (256, 128), "images": 8},
        "precision": {"input_size": (128, 96), "iterations": 200},
        "memory": {"input_size": (64, 32), "iterations": 2000},
    },
    "cuda": {
        "step": {"precision": "bf16", "images": 10, "repeats": 10},
        "end_to_end": {"precision": "bf16", "images": 200, "repeats": 3},
        "loader": {"images": 64},
        "scoring": {"precision": "bf16", "images": 64, "batch_size": 4},
        "precision": {"input_size": (128, 96), "iterations": 200},
        "memory": {"input_size": (64, 32), "iterations": 2000},
    },
}
"""Values of the options that are not given: of the blocks, then by device and part."""


@dataclass(frozen=True)
class Setting:
    """Options of `speed`; None stands for the part's own value."""

    parts: tuple[str, ...] = option(
        None, "what to measure; by default all that suit the device", several(str, PARTS)
    )
    device: str = option("auto", "where to compute", choices=("auto", "cpu", "cuda"))
    precision: str = option(
        None, "of the project; the plain path is float32", choices=("fp32", "bf16")
    )
    input_size: Size = option(None, "width,height at which images enter the network", size)
    batch_size: int = option(None, "images of each domain an iteration", integer(1))
    images: int = option(None, "images of each domain in a timed block", integer(1))
    repeats: int = option(None, "timed blocks of each path; their median counts", integer(1))
    compile: bool = option(False, "compile the project's networks")
    iterations: int = option(None, "of each run of precision and memory", integer(4))
    seeds: tuple[int, ...] = option((0, 1, 2), "of precision's runs", several(integer(0)))
    data_dir_source: str = option(None, "for precision; by default the demo's data are drawn")
    data_dir_target: str = option(None, "for precision; by default the demo's data are drawn")

    def of(self, part: str) -> Setting:
        """Return the values with which a part is measured.

        Raises:
            UserError: a block has fewer images than a batch.
        """
        own = (COMMON if part in BLOCKS else {}) | DEFAULTS[self.device][part]
        unset = {name for name, value in vars(self).items() if value is None}
        chosen = dataclasses.replace(self, **{k: v for k, v in own.items() if k in unset})
        if part in BLOCKS and chosen.images < chosen.batch_size:
            raise UserError(
                f"{part}: --images {chosen.images} is less than --batch_size {chosen.batch_size}\n"
                "  give more images"
            )
        return chosen


def main(arguments: Sequence[str]) -> None:
    """Read the command line, measure, print."""
    setting = read_options(Setting(), __doc__ or "", None, arguments)
    device = choose_device(setting.device)
    setting = dataclasses.replace(setting, device=device.type)
    parts = {part: setting.of(part) for part in setting.parts or SUITABLE[device.type]}
    print(f"{environment(device)}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        for part, chosen in parts.items():
            values = {k: v for k, v in vars(chosen).items() if v is not None and k != "parts"}
            print(f"\n{part}:", ", ".join(f"{k} {v}" for k, v in values.items()), flush=True)
            if part == "memory":
                long_runs.memory(chosen.iterations, chosen.input_size)
            elif part == "precision":
                long_runs.precision(long_run_options(chosen, Path(folder)), chosen.seeds)
            else:
                options = photograph_options(chosen, Path(folder))
                BLOCKS[part](options, chosen.images, chosen.repeats)


def photograph_options(setting: Setting, root: Path) -> TrainingOptions:
    """Return the GTA-5 experiment's options for an epoch of ``setting.images`` photographs."""
    if not (root / "GTA5").exists():
        write_photographs(root, DIFFERENT_IMAGES)
    folders = {"source": root / "GTA5/images", "target": root / "Cityscapes/leftImg8bit/val"}
    lists = {domain: root / f"{domain}{setting.images}.txt" for domain in folders}
    for domain, folder in folders.items():
        names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.png"))
        entries = itertools.islice(itertools.cycle(names), setting.images)
        lists[domain].write_text("\n".join(entries) + "\n")
    return experiment(
        root,
        data_list_source=str(lists["source"]),
        data_list_target=str(lists["target"]),
        no_shuffle=True,
        input_size=setting.input_size,
        batch_size=setting.batch_size,
        device=setting.device,
        precision=setting.precision,
        compile=setting.compile,
    )


def long_run_options(setting: Setting, root: Path) -> TrainingOptions:
    """Return the options of precision's runs, on the demo's data if no other are given."""
    given = {name: vars(setting)[name] for name in ("data_dir_source", "data_dir_target")}
    if None in given.values():
        write_demo(root / "demo", "gta5")
    return experiment(
        root / "demo",
        **{name: folder for name, folder in given.items() if folder},
        learning_rate=1e-4,
        input_size=setting.input_size,
        max_iters=setting.iterations,
        val_interval=setting.iterations,
        device=setting.device,
    )
