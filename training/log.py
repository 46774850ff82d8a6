"""The progress of a run: console, log file, metrics.jsonl, TensorBoard."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from tqdm import tqdm

from training.run_files import RunFiles
from utils.errors import UserError


class Log:
    """Reports progress; files are appended to, never overwritten.

    Args:
        files: the run's output files.
        total: iterations of the whole run.
        done: iterations made by an earlier process; TensorBoard drops later ones.
        tensorboard: whether to write TensorBoard's events too.
        show: whether to report at all: one of several processes does.
    """

    def __init__(
        self, files: RunFiles, total: int, done: int, tensorboard: bool = False, show: bool = True
    ) -> None:
        self.files = files
        self.show = show
        self.board = _open_board(files.board, done) if show and tensorboard else None
        self.bar = tqdm(
            total=total, initial=done, unit="it", dynamic_ncols=True, smoothing=0.1,
            disable=not show,
        )  # fmt: skip
        self.timed = done
        self.restart_clock()

    def restart_clock(self) -> None:
        """Exclude the time since the last log line from the speed, after scoring and saving."""
        self.clock = time.perf_counter()

    def line(self, text: str, console: bool = True) -> None:
        """Append a line to the log file and show it above the progress bar.

        Raises:
            OSError: the console takes no more; the log file has the line.
        """
        if not self.show:
            return
        text = text
        _append(self.files.log, text)
        if console:
            self.bar.write(text)
            sys.stdout.flush()  # a pipe would keep it for hours

    def mute(self) -> None:
        """Show nothing more on the console."""
        with contextlib.suppress(OSError):
            self.bar.close()
        sys.stdout = open(os.devnull, "w")

    def losses(
        self, iteration: int, epoch: int, batch: str, learning_rate: float, means: Sequence[float]
    ) -> None:
        """Report the iterations since the last log line.

        Args:
            iteration: counted from 1.
            epoch: counted from 0.
            batch: iterations of this epoch, such as "10/200".
            learning_rate: of the last iteration.
            means: over the iterations, in the order of `StepResult`.
        """
        total, segmentation, ensembling, miou, kept, gradient = means
        self.line(
            f"epoch {epoch} batch {batch} loss {total:.6f} cls_loss {segmentation:.6f} "
            f"st_loss {ensembling:.8f} source_miou {miou:.4f} kept {kept:.4f} "
            f"gradient {gradient:.3g}",
            console=False,
        )
        speed = (iteration - self.timed) / (time.perf_counter() - self.clock)
        self.timed = iteration
        self.restart_clock()
        self._record(
            "train",
            iteration=iteration, epoch=epoch, loss=total, cls_loss=segmentation,
            st_loss=ensembling, source_miou=miou, kept=kept, gradient=gradient,
            learning_rate=learning_rate, iterations_per_s=speed,
        )  # fmt: skip
        self.bar.set_postfix_str(
            f"loss {total:.3f} = seg {segmentation:.3f} + ens {ensembling:.5f}, "
            f"source mIoU {miou:.3f}, kept {kept:.0%}"
        )

    def score(self, iteration: int, network: str, miou: float, classes: dict[str, float]) -> None:
        """Report a scoring.

        Args:
            iteration: counted from 1.
            network: student or teacher.
            miou: mean IoU on the target, 0..1.
            classes: IoU of each class, 0..1, nan if it is absent.
        """
        self.line(f"iteration {iteration} {network} target_miou {miou:.4f}")
        scores = " ".join(f"{name} {100 * value:.1f}" for name, value in classes.items())
        self.line(f"iteration {iteration} {network} IoU in %: {scores}", console=False)
        self._record(network, iteration=iteration, network=network, target_miou=miou, iou=classes)

    def pictures(self, iteration: int, pictures: Iterable[tuple[str, NDArray[np.uint8]]]) -> None:
        """Show named pictures, RGB, uint8, (H, W, 3), in TensorBoard."""
        if self.board is None:
            return
        with _writing(self.files.board):
            for name, picture in pictures:
                self.board.add_image(f"target/{name}", picture, iteration, dataformats="HWC")
            self.board.flush()

    def _record(self, group: str, **record: Any) -> None:
        """Write values as a line of JSON and as TensorBoard scalars."""
        if not self.show:
            return
        _append(self.files.metrics, json.dumps(_plain(record), allow_nan=False))
        if self.board is None:
            return
        classes = record.get("iou", {})
        scalars = {f"{group}/{name}": value for name, value in record.items()}
        scalars |= {f"{group} iou/{name}": value for name, value in classes.items()}
        with _writing(self.files.board):
            for tag, value in scalars.items():
                if isinstance(value, float) and math.isfinite(value):
                    self.board.add_scalar(tag, value, record["iteration"])
            self.board.flush()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}\n"
            "  remove what is in the way, or free some space; then --resume"
        ) from None


def _append(file: Path, text: str) -> None:
    # Without O_NONBLOCK, opening a pipe waits for its reader.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
    with _writing(file), open(os.open(file, flags, 0o666), "ab") as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise OSError("it is a pipe or a device")
        opened.write(f"{text}\n".encode())


def _plain(value: Any) -> Any:
    """Return what JSON can hold: numbers in float32's precision, None for nan and infinity."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def _open_board(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            "--tensorboard: tensorboard is not installed\n  pip install tensorboard"
        ) from None
    if os.fsencode(folder).decode(errors="ignore") != str(folder):
        raise UserError(
            f"--tensorboard: {folder} is not UTF-8\n"
            "  choose another --snapshot_dir, or leave --tensorboard out"
        )
    with _writing(folder):
        return SummaryWriter(folder, purge_step=done + 1)


def environment(device: torch.device) -> str:
    """Return versions, revision and device, for the head of a log."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, torchvision "
        f"{torchvision.__version__}, revision {_revision()}, device {name}"
    )


def _revision() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
