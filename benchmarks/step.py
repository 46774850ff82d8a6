"""How fast is an iteration, and how much memory does it take?

    python -m benchmarks.step

The batch stays on the device. The share of peak is the floating-point operations of the plain
path's iteration, over the time, over what the device reaches in a large matrix product.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.photographs import Photographs, write_photographs
from benchmarks.plain import PlainTraining, source_dataset, target_dataset
from benchmarks.setting import Setting, open_trainer, read_setting, training_config
from benchmarks.timing import (
    Block,
    Side,
    alternate,
    mebibytes,
    peak_memory,
    print_table,
    seconds,
)
from utils.device import choose_device
from utils.training.train_step import train_step


def plain(setting: Setting, photographs: Photographs) -> Block:
    """The original's iteration, on the first images."""
    device = choose_device(setting.device)
    training = PlainTraining(training_config(setting, photographs), device)
    batch = plain_batch(setting, photographs, device)

    def work() -> None:
        for _ in range(iterations(setting)):
            training.step(*batch)

    return lambda: {"time": seconds(work, device), "peak": peak_memory(device)}


def project(setting: Setting, photographs: Photographs) -> Block:
    """The project's iteration, on the same images; results are read once a block."""
    device = choose_device(setting.device)
    trainer = open_trainer(training_config(setting, photographs, num_workers=0))
    trained = trainer.networks
    batches = next(trainer.data.epoch(0, 0))

    def work() -> None:
        results = [
            train_step(
                trained.student, trained.teacher, trained.optimizer, batches,
                trainer.config, trainer.processes,
            )
            for _ in range(iterations(setting))
        ]  # fmt: skip
        torch.stack([torch.stack(result) for result in results]).cpu()

    return lambda: {"time": seconds(work, device), "peak": peak_memory(device)}


def iterations(setting: Setting) -> int:
    """Iterations of a block."""
    return max(1, setting.images // setting.batch_size)


def plain_batch(
    setting: Setting, photographs: Photographs, device: torch.device
) -> list[torch.Tensor]:
    """The first source images, their labels, and the first target images."""
    source = source_dataset(photographs.source, setting.input_size)
    target = target_dataset(photographs.target, setting.input_size, "none")
    entries = range(setting.batch_size)
    columns = [*zip(*(source[i] for i in entries), strict=True)]
    columns += zip(*(target[i] for i in entries), strict=True)
    return [torch.stack(column).to(device) for column in columns]


def count_operations(setting: Setting, photographs: Photographs) -> Block:
    """Floating-point operations of the plain path's iteration; a multiply-add is two."""
    device = choose_device(setting.device)
    training = PlainTraining(training_config(setting, photographs), device)
    batch = plain_batch(setting, photographs, device)

    def block() -> dict[str, float]:
        with FlopCounterMode(display=False) as counter:
            training.step(*batch)
        return {"operations": counter.get_total_flops()}

    return block


def matrix_product(device_name: str, precision: str) -> Block:
    """The operations a second of a large matrix product, the best of ten."""
    device = choose_device(device_name)
    size = 8192 if device.type == "cuda" else 2048
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = torch.randn(2, size, size, device=device).to(kind)

    def block() -> dict[str, float]:
        best = min(seconds(lambda: left @ right, device) for _ in range(10))
        return {"rate": 2 * size**3 / best}

    return block


def once(side: Side) -> dict[str, float]:
    """Run a side once to warm up and once to measure, and end it."""
    return alternate({"side": side}, 1)["side"]


def main() -> None:
    """Read the command line, measure, print."""
    setting = read_setting(
        "Time an iteration.",
        cpu=Setting(input_size=(256, 128), images=1, repeats=5),
        gpu=Setting(precision="bf16", images=10, repeats=10),
    )
    with tempfile.TemporaryDirectory() as folder:
        photographs = write_photographs(Path(folder), 1, setting.batch_size)
        data = (setting, photographs)
        operations = Side(count_operations, *data)
        work = operations.run()["operations"]
        operations.close()
        peaks = {
            precision: once(Side(matrix_product, setting.device, precision))["rate"]
            for precision in {"fp32", setting.precision}
        }
        medians = alternate(
            {"plain": Side(plain, *data), "project": Side(project, *data)}, setting.repeats
        )
    print(f"an iteration: {work / 1e12:.3f} TFLOP; measured peak: ", end="")
    print(", ".join(f"{name} {rate / 1e12:.3f} TFLOP/s" for name, rate in peaks.items()))
    rows = []
    for name, values in medians.items():
        duration = values["time"] / iterations(setting)
        peak = peaks["fp32" if name == "plain" else setting.precision]
        rows.append([
            name,
            f"{1000 * duration:.0f}",
            f"{1 / duration:.3g}",
            f"{medians['plain']['time'] / values['time']:.2f}",
            f"{work / duration / peak:.0%}",
            mebibytes(values["peak"]),
        ])  # fmt: skip
    print_table(["step", "ms", "it/s", "ratio", "share of peak", "peak MiB"], rows)


if __name__ == "__main__":
    main()
