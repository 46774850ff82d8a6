"""Train in float32 and in bfloat16 from the same seeds, and print how far apart they end.

    python -m benchmarks.precision --data_dir_source data/GTA5 --data_dir_target data/Cityscapes

Two trainings part even in float32 once anything differs. A third run, in float32 from weights
rounded to bfloat16 once, at the start, shows how far. *Late* is the last quarter of the iterations.

On a processor without bfloat16 instructions the convolutions of the bfloat16 runs take and give
bfloat16 values, but multiply and add in float32, as such instructions do: PyTorch's own path there
is thirty times slower.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from SEAN_GTA5 import EXPERIMENT
from utils.command_line import Parser, integer, size
from utils.errors import UserError
from utils.training.log import fail
from utils.training.loop import Trainer
from utils.training.stopping import StopRequest

_ATEN = torch.ops.aten
CONVOLUTIONS = {
    _ATEN.conv2d.default,  # as which it arrives in inference mode
    _ATEN.convolution.default,
    _ATEN.convolution_backward.default,
}


class Run(NamedTuple):
    """What a training run gave.

    Attributes:
        loss: the total loss of each iteration, (N,).
        miou: of the final teacher on the target, in percent.
    """

    loss: Tensor
    miou: float

    @property
    def late_loss(self) -> float:
        """The mean loss of the last quarter of the iterations."""
        return self.loss[-(len(self.loss) // 4) :].mean().item()


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


def train(options: Namespace, precision: str, seed: int, rounded: bool = False) -> Run:
    """Train SEAN for a short schedule from He initialization, on request rounded to bfloat16."""
    config = dataclasses.replace(
        EXPERIMENT.defaults,
        data_dir_source=options.data_dir_source,
        data_dir_target=options.data_dir_target,
        input_size=options.input_size,
        max_iters=options.iterations,
        val_interval=options.iterations,
        restore_from="none",
        learning_rate=1e-4,
        device=options.device,
        precision=precision,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        trainer = Trainer(EXPERIMENT, dataclasses.replace(config, snapshot_dir=folder))
        if rounded:
            for network in (trainer.networks.student, trainer.networks.teacher):
                network.bfloat16().float()
        on_cpu = trainer.device.type == "cpu"
        if precision == "bf16" and on_cpu and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            stack.enter_context(Float32Convolutions())
        trainer.run(StopRequest(None))
        trainer.reporter.bar.close()
        return Run(trainer.results.history[:, 0], 100 * trainer.miou)


def main() -> None:
    """Read the command line, train, print the distances."""
    parser = Parser(__doc__ or "")
    parser.add_argument("--data_dir_source", type=Path, required=True)
    parser.add_argument("--data_dir_target", type=Path, required=True)
    parser.add_argument("--input_size", type=size, default=(128, 96))
    parser.add_argument("--iterations", type=integer(4), default=200)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    options = parser.parse_args()
    rows: list[list[Run]] = []
    print(
        "| seed | late loss: fp32 | rounded start | bf16 | mIoU in %: fp32 | rounded start | bf16 |"
    )
    print("|---|---|---|---|---|---|---|")
    for seed in options.seeds:
        try:
            runs = [
                train(options, "fp32", seed),
                train(options, "fp32", seed, rounded=True),
                train(options, "bf16", seed),
            ]
        except UserError as error:
            fail(error)
        losses = " | ".join(f"{run.late_loss:.4f}" for run in runs)
        mious = " | ".join(f"{run.miou:.2f}" for run in runs)
        print(f"| {seed} | {losses} | {mious} |", flush=True)
        rows.append(runs)
    for column, name in enumerate(("rounded start", "bf16"), 1):
        pairs = [(runs[0], runs[column]) for runs in rows]
        first = statistics.mean(
            abs(run.loss[0].item() / fp32.loss[0].item() - 1) for fp32, run in pairs
        )
        late = statistics.mean(run.late_loss / fp32.late_loss - 1 for fp32, run in pairs)
        miou = statistics.mean(run.miou - fp32.miou for fp32, run in pairs)
        print(
            f"{name} against fp32, mean over seeds: first loss {100 * first:.3f} %, "
            f"late loss {100 * late:+.2f} %, mIoU {miou:+.2f} points"
        )


if __name__ == "__main__":
    main()
