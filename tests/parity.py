"""The runs behind the golden values, through the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tests import fixture as reference

ROOT = Path(__file__).parents[1]


class Benchmark(NamedTuple):
    name: str
    script: str
    prefix: str
    num_classes: int

    @property
    def golden(self) -> Any:
        return np.load(ROOT / "tests" / f"golden_{self.name}.npz")


BENCHMARKS = (
    Benchmark("gta5", "SEAN_GTA5.py", "GTA", 19),
    Benchmark("synthia", "SEAN_Synthia.py", "Synthia", 16),
)


def start_weights(num_classes: int) -> dict[str, torch.Tensor]:
    state = reference.reference_state(num_classes)
    caffe = reference.reference_fcn8s_checkpoint()
    for index, name in zip(reference.VGG_INDICES, reference.CAFFE_NAMES, strict=True):
        for part in ("weight", "bias"):
            state[f"features.{index}.{part}"] = caffe[f"{name}.{part}"]
    return {name: torch.from_numpy(value) for name, value in state.items()}


def run(script: str, *options: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / script), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd or ROOT)


def training_options(benchmark: Benchmark, folder: Path) -> list[object]:
    """The options of the golden run, on data and start weights written into ``folder``."""
    paths = reference.write_reference_dataset(folder, benchmark.name)
    start = folder / f"{benchmark.name}_start.pth"
    if not start.exists():
        torch.save(start_weights(benchmark.num_classes), start)
    return [
        *("--device", "cpu", "--no_shuffle", "--noise", 0, "--attention_threshold", 0.5),
        *("--input_size", "160,96", "--input_size_target", "256,128", "--restore_from", start),
        *("--data_dir_source", paths["source"], "--data_list_source", paths["source_list"]),
        *("--data_dir_target", paths["target"], "--data_list_target", paths["target_list"]),
    ]
