"""The progress of a run: console, log file, metrics.jsonl, curves.png, TensorBoard."""

import contextlib
import gc
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from tqdm import tqdm

from utils.errors import UserError
from utils.files import whole_file

Record = dict[str, Any]
LOSSES = ("loss", "cls_loss", "st_loss", "source_miou", "kept", "gradient")  # of a `StepResult`
CURVES = {
    "target_miou": "Target mIoU", "cls_loss": "Segmentation loss, source",
    "kept": "Share of grid cells that the attention keeps", "st_loss": "Self-ensembling loss",
}  # fmt: skip


class Log:
    """Reports progress; ``done`` of ``total`` iterations and ``records`` are an earlier process's.

    metrics.jsonl holds the records; ``board`` is for TensorBoard's files; one process may ``show``.
    """

    def __init__(
        self, folder: Path, prefix: str, total: int, done: int, records: list[Record], board: bool,
        show: bool,
    ) -> None:  # fmt: skip
        self.file, self.metrics = folder / f"{prefix}2Cityscapes_log.txt", folder / "metrics.jsonl"
        self.folder, self.show, self.records = folder, show, records
        self.bar = tqdm(total=total, initial=done, unit="it", dynamic_ncols=True, disable=not show)
        self.timed, self.clock = done, time.perf_counter()
        if show:
            with whole_file(self.metrics) as file:
                file.writelines(json.dumps(record).encode() + b"\n" for record in records)
        self.board: Any = None
        if show and board:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UserError("tensorboard is missing\n  pip install tensorboard") from None
            self.board = SummaryWriter(folder / "tensorboard", purge_step=done + 1)

    def line(self, text: str, console: bool = True) -> None:
        """Append a line to the log file, and show it above the progress bar."""
        if self.show:
            _append(self.file, text)
            if console:
                self.bar.write(text)
                sys.stdout.flush()  # a pipe would keep it for hours

    def losses(
        self, iteration: int, epoch: int, batch: int, learning_rate: float, means: Sequence[float]
    ) -> None:
        """Report the iterations since the last log line, by means in the order of `StepResult`."""
        speed = (iteration - self.timed) / (time.perf_counter() - self.clock)
        self.timed, self.clock = iteration, time.perf_counter()
        values = dict(zip(LOSSES, means, strict=True))
        shown = "loss {loss:.3f} = seg {cls_loss:.3f} + ens {st_loss:.5f}, kept {kept:.0%}"
        self.bar.set_postfix_str(shown.format(**values))
        values |= {"learning_rate": learning_rate, "iterations_per_s": speed}
        shown = " ".join(f"{name} {value:.6g}" for name, value in values.items())
        self.line(f"epoch {epoch} batch {batch} {shown}", console=False)
        self._record(iteration=iteration, epoch=epoch, **values)

    def score(self, iteration: int, network: str, miou: float, classes: dict[str, float]) -> None:
        """Report a scoring of the student or teacher: mean IoU and IoU of each class, 0..1."""
        self.line(f"iteration {iteration} {network} target_miou {miou:.4f}")
        scores = " ".join(f"{name} {100 * value:.1f}" for name, value in classes.items())
        self.line(f"iteration {iteration} {network} IoU in %: {scores}", console=False)
        self._record(iteration=iteration, network=network, target_miou=miou, iou=classes)

    def draw(self, iteration: int, pictures: Iterable[tuple[str, NDArray[np.uint8]]]) -> None:
        """Draw curves.png; show named pictures, RGB, (H, W, 3), in TensorBoard."""
        with whole_file(self.folder / "curves.png") as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # the folder's name can be in any script
            curves(self.records, str(self.folder)).savefig(file, format="png")
        gc.collect()  # a figure is full of cycles, and each would stay until Python collects them
        if self.board is not None:
            for name, picture in pictures:
                self.board.add_image(f"target/{name}", picture, iteration, dataformats="HWC")
            self.board.flush()

    def _record(self, **values: Any) -> None:
        if not self.show:
            return
        record = json.loads(
            json.dumps(values),
            parse_float=lambda digits: float(f"{float(digits):.7g}"),  # float32's precision
            parse_constant=lambda name: None,  # nan and infinity, which JSON cannot hold
        )
        self.records.append(record)
        _append(self.metrics, json.dumps(record, allow_nan=False))
        if self.board is not None:
            group, iou = record.get("network", "train"), record.get("iou", {})
            scalars = {f"{group}/{name}": value for name, value in record.items()}
            scalars |= {f"{group} iou/{name}": value for name, value in iou.items()}
            for tag, value in scalars.items():
                if isinstance(value, float):
                    self.board.add_scalar(tag, value, record["iteration"])
            self.board.flush()


def _append(path: Path, text: str) -> None:
    try:
        with open(path, "ab") as file:
            file.write(f"{text}\n".encode(errors="backslashreplace"))
    except OSError as error:
        remedy = "remove what is in the way, or free some space; then --resume"
        raise UserError(f"cannot write {path}: {error.strerror}\n  {remedy}") from None


def curves(records: Sequence[Record], title: str) -> Figure:
    """Draw the curves of a run from its records."""
    figure = Figure(figsize=(12, 7), dpi=120, layout="constrained")
    figure.suptitle(title, weight="bold", parse_math=False)
    grid = figure.subplots(2, 2, sharex=True)
    for index, (axes, (name, text)) in enumerate(zip(grid.flat, CURVES.items(), strict=True)):
        points = [r for r in records if r.get(name) is not None and r.get("network") != "student"]
        places = [record["iteration"] for record in points]
        values = np.array([record[name] for record in points], float)
        if len(values):
            is_score = name == "target_miou"
            width = 1 if is_score else 2 * (len(values) // 50) + 1
            smoothed = uniform_filter1d(values, width, mode="nearest")
            axes.plot(places, values, color=f"C{index}", alpha=0.25, linewidth=0.8)
            axes.plot(places, smoothed, "." * is_score + "-", color=f"C{index}", linewidth=2)
            axes.set_ylim(0, 1.2 * smoothed.max() or 1)  # extreme batches must not flatten it
            best = f": best {100 * values.max():.1f} % at {places[values.argmax()]:,}"
            text += best if is_score else ""
        axes.set_title(text, loc="left")
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def environment(device: torch.device) -> str:
    """Return versions, revision and device, for the head of a log."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    command, revision = ["git", "-C", str(Path(__file__).parent), "describe", "--always"], ""
    with contextlib.suppress(OSError):  # no git
        revision = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return f"torch {torch.__version__}, revision {revision or 'unknown'}, device {name}"
