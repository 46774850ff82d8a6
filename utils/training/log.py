"""What a run tells: console, log file, JSON lines, TensorBoard."""

from __future__ import annotations

import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from tqdm import tqdm


def fail(error: Exception | str, status: int = 2) -> NoReturn:
    """End the program with one message."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(status)


class Reporter:
    """Progress on the console; files that are continued and never written over.

    Args:
        log_file: where lines of text are appended.
        metrics_file: where a JSON object is appended for each log interval and each scoring.
        board_folder: where TensorBoard's events go; None for none.
        total: iterations of the whole run.
        done: iterations of it that an earlier process has made; TensorBoard drops later ones.
        show: whether to report at all: one process of several does.
    """

    def __init__(
        self,
        log_file: Path,
        metrics_file: Path,
        board_folder: Path | None,
        total: int,
        done: int = 0,
        show: bool = True,
    ) -> None:
        self.log_file = log_file
        self.metrics_file = metrics_file
        self.board_folder = board_folder
        self.show = show
        self.board = _open_board(board_folder, done) if show and board_folder else None
        self.bar = tqdm(
            total=total, initial=done, unit="it", dynamic_ncols=True, smoothing=0.1,
            disable=not show,
        )  # fmt: skip
        self.timed = done
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leave the time since the last log line out of the speed: it was spent on other things."""
        self.clock = time.perf_counter()

    def line(self, text: str, console: bool = True) -> None:
        """Append a line to the log file and show it above the progress bar."""
        if not self.show:
            return
        text = text.encode(errors="backslashreplace").decode()  # file names need not be UTF-8
        self._append(self.log_file, text)
        if console:
            self.bar.write(text)

    def progress(
        self,
        iteration: int,
        epoch: int,
        batch: int,
        batches: int,
        learning_rate: float,
        means: Sequence[float],
    ) -> None:
        """Report a log interval.

        Args:
            iteration: counted from 1.
            epoch: counted from 0.
            batch: iterations of this epoch made so far.
            batches: iterations of an epoch.
            learning_rate: of the last iteration.
            means: over the interval: total, segmentation and weighted self-ensembling loss, source
                mIoU, share of grid cells that the attention keeps, norm of the gradient.
        """
        total, segmentation, ensembling, miou, kept, gradient = means
        self.line(
            f"epoch {epoch} batch {batch}/{batches} loss {total:.6f} cls_loss {segmentation:.6f} "
            f"st_loss {ensembling:.8f} source_miou {miou:.4f} kept {kept:.4f} "
            f"gradient {gradient:.3g}",
            console=False,
        )
        self.bar.set_postfix_str(
            f"loss {total:.3f} = seg {segmentation:.3f} + ens {ensembling:.5f}, "
            f"source mIoU {miou:.3f}, kept {kept:.0%}"
        )
        speed = (iteration - self.timed) / (time.perf_counter() - self.clock)
        self.timed = iteration
        self.restart_clock()
        names = ("loss", "cls_loss", "st_loss", "source_miou", "kept", "gradient")
        self._record(
            "train",
            {"iteration": iteration, "epoch": epoch}
            | dict(zip(names, means, strict=True))
            | {"learning_rate": learning_rate, "iterations_per_s": speed},
        )

    def score(self, iteration: int, name: str, miou: float, classes: dict[str, float]) -> None:
        """Report a scoring.

        Args:
            iteration: counted from 1.
            name: of the network: student, teacher.
            miou: mean IoU on the target, 0..1.
            classes: IoU of each class, 0..1, nan where it is absent.
        """
        self.line(f"iteration {iteration} {name} target_miou {miou:.4f}")
        scores = " ".join(f"{name} {100 * value:.1f}" for name, value in classes.items())
        self.line(f"iteration {iteration} {name} IoU in %: {scores}", console=False)
        self._record(
            name, {"iteration": iteration, "network": name, "target_miou": miou, "iou": classes}
        )

    def pictures(self, iteration: int, pictures: Iterable[tuple[str, NDArray[np.uint8]]]) -> None:
        """Show pictures in TensorBoard.

        Args:
            iteration: counted from 1.
            pictures: name and RGB, uint8, (H, W, 3).
        """
        if self.board is None:
            return
        try:
            for name, picture in pictures:
                self.board.add_image(f"target/{name}", picture, iteration, dataformats="HWC")
            self.board.flush()
        except OSError as error:
            _give_up(self.board_folder, error)

    def _record(self, group: str, record: dict[str, Any]) -> None:
        """Keep a record: as a line of JSON, and as TensorBoard's scalars."""
        if not self.show:
            return
        self._append(self.metrics_file, json.dumps(_plain(record), allow_nan=False))
        if self.board is None:
            return
        try:
            for name, value in record.items():
                if name in ("iteration", "epoch", "network"):
                    continue
                nested = isinstance(value, dict)
                for part, scalar in (value if nested else {name: value}).items():
                    tag = f"{group} {name}/{part}" if nested else f"{group}/{part}"
                    if math.isfinite(scalar):
                        self.board.add_scalar(tag, scalar, record["iteration"])
            self.board.flush()
        except OSError as error:
            _give_up(self.board_folder, error)

    def _append(self, file: Path, text: str) -> None:
        try:
            with open(file, "a", encoding="utf-8") as opened:
                opened.write(text + "\n")
        except OSError as error:
            _give_up(file, error)


def _give_up(path: Path | None, error: OSError) -> NoReturn:
    fail(f"cannot write {path}: {error.strerror or error}\n  free space, then --resume")


def _plain(value: Any) -> Any:
    """What JSON can hold: numbers to float32's precision, None where a number is not finite."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def _open_board(folder: Path, done: int) -> Any:
    """TensorBoard's writer, which drops what a killed process wrote after iteration ``done``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        fail("--tensorboard: tensorboard is not installed\n  pip install tensorboard")
    try:
        return SummaryWriter(folder, purge_step=done + 1)
    except OSError as error:
        _give_up(folder, error)


def environment(device: torch.device) -> str:
    """Versions, revision and device, for the head of a log."""
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
