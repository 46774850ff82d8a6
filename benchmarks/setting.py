"""What the benchmarks measure, and the project set up for it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from dataclasses import dataclass
from typing import Any

from benchmarks.photographs import Photographs
from SEAN_GTA5 import EXPERIMENT
from utils.command_line import Size, integer, option, parse_options, size
from utils.device import choose_device
from utils.errors import UserError
from utils.options import TrainingConfig
from utils.training.log import environment, fail
from utils.training.loop import Trainer

DIFFERENT_IMAGES = 4
"""Of each domain; more images a block repeat them."""


@dataclass(frozen=True)
class Setting:
    """Options of the benchmarks."""

    device: str = option("auto", "where to compute", choices=("auto", "cpu", "cuda"))
    precision: str = option(
        "fp32", "the project's; the plain path is float32", choices=("fp32", "bf16")
    )
    input_size: Size = option((1024, 512), "width,height at which images enter the network", size)
    batch_size: int = option(1, "images of each domain an iteration", integer(1))
    images: int = option(8, "images of each domain in a timed block", integer(1))
    compile: bool = option(False, "compile the project's networks")
    repeats: int = option(5, "timed blocks of each path, of which the median counts", integer(1))


def read_setting(description: str, cpu: Setting, gpu: Setting) -> Setting:
    """Read the command line and print what is measured where.

    Args:
        description: the first line of the help text.
        cpu: what is measured on a CPU where nothing else is asked for.
        gpu: the same on a GPU.
    """
    setting = parse_options(cpu, {}, description)
    try:
        device = choose_device(setting.device)
    except UserError as error:
        fail(error)
    if device.type == "cuda":
        setting = parse_options(gpu, {}, description)
    setting = dataclasses.replace(setting, device=device.type)
    if setting.images < setting.batch_size:
        fail(f"--images {setting.images}: fewer than --batch_size {setting.batch_size}")
    print(f"{environment(device)}, {os.cpu_count()} cores")
    values = dataclasses.asdict(setting).items()
    print(", ".join(f"{name} {value}" for name, value in values), flush=True)
    return setting


def training_config(setting: Setting, photographs: Photographs, **changes: Any) -> TrainingConfig:
    """The GTA-5 experiment's options on the data to measure with.

    Args:
        setting: what is measured.
        photographs: the data.
        changes: other options.
    """
    options = {
        "data_dir_source": str(photographs.root / "GTA5"),
        "data_list_source": str(photographs.list_file("source")),
        "data_dir_target": str(photographs.root / "Cityscapes"),
        "data_list_target": str(photographs.list_file("target")),
        "target_entries": len(photographs.target),
        "snapshot_dir": str(photographs.root / f"run{os.getpid()}"),
        "restore_from": "none",
        "no_shuffle": True,
        "input_size": setting.input_size,
        "batch_size": setting.batch_size,
        "val_batch_size": setting.batch_size,
        "device": setting.device,
        "precision": setting.precision,
        "compile": setting.compile,
    }
    return dataclasses.replace(EXPERIMENT.defaults, **{**options, **changes})


def open_trainer(config: TrainingConfig) -> Trainer:
    """A run as the training script sets it up, without its lines on the console."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        trainer = Trainer(EXPERIMENT, config)
        trainer.reporter.bar.close()
    return trainer
