"""What a run tells: console, log file."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch
import torchvision
from tqdm import tqdm


def fail(error: Exception | str, status: int = 2) -> NoReturn:
    """End the program with one message."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(status)


class Reporter:
    """Progress on the console, lines in a log file that is continued and never written over.

    Args:
        log_file: where lines are appended.
        total: iterations of the whole run.
        done: iterations of it that an earlier process has made.
        show: whether to report at all: one process of several does.
    """

    def __init__(self, log_file: Path, total: int, done: int = 0, show: bool = True) -> None:
        self.log_file = log_file
        self.show = show
        self.bar = tqdm(
            total=total, initial=done, unit="it", dynamic_ncols=True, smoothing=0.1,
            disable=not show,
        )  # fmt: skip

    def line(self, text: str, console: bool = True) -> None:
        """Append a line to the log file and show it above the progress bar."""
        if not self.show:
            return
        try:
            with open(self.log_file, "a", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as error:
            fail(f"cannot write {self.log_file}: {error.strerror}\n  free space, then --resume")
        if console:
            self.bar.write(text)

    def progress(self, epoch: int, batch: int, batches: int, means: Sequence[float]) -> None:
        """Report a log interval.

        Args:
            epoch: counted from 0.
            batch: iterations of this epoch made so far.
            batches: iterations of an epoch.
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
