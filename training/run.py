"""A training run: what happens between two iterations, and where it starts and ends."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dataset.loaders import make_loader, sequential_batches
from dataset.segmentation_dataset import SegmentationDataset
from inference.metrics import class_iou, mean_iou
from inference.pictures import panels
from inference.predict import confusion, on_device
from model.checkpoint import CheckpointInfo, released
from model.SEAN import SEANet
from training import protocol
from training.batches import DomainBatches
from training.distributed import Processes
from training.log import Log, environment
from training.options import TrainingOptions
from training.resume import LAST, PREVIOUS, VERSION, find_last, fixed_values
from training.train_step import DomainBatch, StepResult, make_optimizer, set_learning_rate
from utils import device
from utils.command_line import as_arguments
from utils.errors import DivergenceError, UserError, handling, is_out_of_memory
from utils.files import lock_folder, save_tensors, whole_file

ONE_REQUEST_S = 2.0  # a launcher and a batch system may both forward one request to stop
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


@dataclass
class Progress:
    """How far a run is; epoch and batch follow from the iteration."""

    iteration: int = 0  # iterations done
    scored: int = 0  # the last iteration that was scored, so that a failed scoring is repeated
    miou: float = -1.0  # the last score, 0..1; -1 before the first, nan if labels have no class
    best_miou: float = -1.0


class Run:
    """A training run, new or resumed. Iterate over it for the batches, and record each result.

    Between two iterations it logs, scores and saves. Inside ``with``, a signal stops it there; one
    process that meets bad input, a full disk or lack of memory saves the last whole iteration.
    ``student`` and ``teacher`` are the networks as they run: distributed, in bfloat16, compiled.

    Raises:
        UserError: options contradict each other or the data, or a file cannot be read or written.
        DivergenceError: a loss, gradient or weight is not finite; nothing after it is saved.
        SystemExit: after a signal, with status 128 + its number; after the time limit, with 0.
    """

    def __init__(
        self, prefix: str, options: TrainingOptions, student: SEANet, teacher: SEANet,
        source: SegmentationDataset, target: SegmentationDataset, val: SegmentationDataset | None,
        loaded: str,
    ) -> None:  # fmt: skip
        protocol.check_experiment(options, student.num_classes, source, target, val)
        self.device = device.choose_device(options.device)
        precision = device.choose_precision(options.precision, self.device)
        self.options = options = replace(options, precision=precision)
        if options.compile:
            device.check_compiler(self.device)
        if options.deterministic:
            device.make_deterministic()
        self.processes = Processes.start(self.device)
        rank, world = self.processes.rank, self.processes.world_size
        self.is_main = rank == 0  # writes files and reports
        self.reduce = self.processes.share_of_mean
        self.batches = DomainBatches(source, target, options, self.device, self.processes)
        self.last_iteration = options.max_iters or options.num_epoch * self.batches.per_epoch
        self.val, self.pictured = val, val or target
        if val:
            order = sequential_batches(len(val), options.batch_size, rank, world)
            self.val_loader = make_loader(val, order, options.num_workers, self.device.type)
        counts = {"processes": world, "iterations an epoch": self.batches.per_epoch}
        if options.lr_schedule == "poly":
            counts["iterations"] = self.last_iteration
        self.fixed = fixed_values(options, counts, source=source, target=target, scored=val)
        self.folder, self.prefix = Path(options.snapshot_dir), prefix
        self.lock = lock_folder(self.folder) if self.is_main else None
        saved = find_last(self.folder, prefix, self.fixed, options.resume, self.is_main)
        self.plain = {"student": student, "teacher": teacher}
        self._place_networks(saved)
        sentence = protocol.describe(options, source, target, val)
        names, colors = target.label_space.names, target.label_space.colors
        self.info = CheckpointInfo.of(student, names, colors, options.input_size, sentence)

        # The generators come last, so that nothing draws between a checkpoint and its next batch.
        torch.manual_seed(options.seed + rank)  # noise differs between processes
        self.progress = Progress(**saved.get("progress", {}))
        self.rows = saved.get("history", torch.zeros(0, 4))  # what GTA_loss.npz holds
        self.unread: list[tuple[Tensor, tuple[str, ...]]] = []  # results still on the device
        if saved:
            device.restore_random_state(saved["random"][rank], self.device)
            loaded = f"resumed at iteration {self.progress.iteration}{saved['warning']}"
        self.heading = (
            f"== {environment(self.device)}, {world} process(es)\n"
            f"options: {as_arguments(options)}\nprotocol: {sentence}\n"
            f"data: {protocol.count(options.input_size_target, source, target, val)}\n"
            f"weights: {loaded}"
        )
        self.log = Log(
            self.folder, prefix, self.last_iteration, self.progress.iteration,
            saved.get("records", []), options.tensorboard, self.is_main,
        )  # fmt: skip
        self.names: tuple[str, ...] = ()  # of the last batch's images
        self.before: dict[str, Any] | None = None  # random state, within an iteration
        self.stopped_by: int | None = None
        self.started = time.monotonic()

    def _place_networks(self, saved: dict[str, Any]) -> None:
        """Move the networks to the device, restore them, and wrap them as they run."""
        options, (student, teacher) = self.options, self.plain.values()
        device.place(student, self.device)
        device.place(teacher, self.device)
        self.optimizer = make_optimizer(student, options)
        if saved:
            for name, network in self.plain.items():
                network.load_state_dict(saved[name])
            groups = self.optimizer.state_dict()["param_groups"]  # the options give them
            self.optimizer.load_state_dict({"state": saved["optimizer"], "param_groups": groups})
        running = device.with_precision(student, options.precision)
        self.student: nn.Module = self.processes.wrap(running, self.device)
        self.teacher: nn.Module = device.with_precision(teacher, options.precision)
        if options.compile:
            self.student.compile()
            self.teacher.compile()

    def __iter__(self) -> Iterator[DomainBatch]:
        """Yield the batch of each iteration; the caller records its result."""
        progress, options = self.progress, self.options
        self.log.line(self.heading)
        batches = self.batches.starting_at(progress.iteration)
        if self._score_is_due():
            self.score()
        while progress.iteration < self.last_iteration:
            set_learning_rate(self.optimizer, options, progress.iteration / self.last_iteration)
            batch = next(batches)
            self.names, self.before = batch.names, device.random_state(self.device)
            yield batch
            ends = progress.iteration == self.last_iteration
            logs = ends or self._place()[1] % options.print_interval == 0
            if logs:
                self.log_losses()
            if not ends and self._stop_is_wanted(logs):
                self.save()
                why = signal.Signals(self.stopped_by).name if self.stopped_by else "time limit"
                self.log.line(f"{why}: saved at iteration {progress.iteration}; --resume continues")
                sys.exit(128 + self.stopped_by if self.stopped_by else 0)
            if self._score_is_due():
                self.score()
            elif progress.iteration % options.checkpoint_interval == 0:
                self.save()
        self.finish()

    def record(self, result: StepResult) -> None:
        """Keep an iteration's result, without waiting for the device."""
        self.unread.append((torch.stack(result), self.names))
        self.progress.iteration += 1
        self.before = None
        self.log.bar.update()

    def _place(self) -> tuple[int, int]:
        """Return epoch and batch of the last iteration, counted from 1."""
        epoch, batch = divmod(self.progress.iteration - 1, self.batches.per_epoch)
        return epoch + 1, batch + 1

    def _score_is_due(self) -> bool:
        at_interval = self._place()[1] % self.options.val_interval == 0
        due = at_interval or self.progress.iteration == self.last_iteration
        return due and self.progress.iteration > self.progress.scored

    def log_losses(self) -> None:
        """Read and report the results since the last call, which synchronizes the device."""
        if not self.unread:
            return
        results, names = zip(*self.unread, strict=True)
        rows = self.processes.sum(torch.stack(results)) / self.processes.world_size
        rows = rows.float().cpu()  # (n, 6), in the order of StepResult
        bad = (~rows[:, [0, 5]].isfinite()).any(1).nonzero().flatten().tolist()
        if bad:
            place = f"iteration {len(self.rows) + bad[0] + 1}, images {', '.join(names[bad[0]])}"
            remedy = "look at these images and labels, or start again with a lower --learning_rate"
            raise DivergenceError(f"loss or gradient is not finite at {place}\n  {remedy}")
        self.unread.clear()
        self.rows = torch.cat([self.rows, rows[:, :4]])
        (epoch, batch), rate = self._place(), self.optimizer.param_groups[0]["lr"]
        self.log.losses(self.progress.iteration, epoch, batch, rate, rows.mean(0).tolist())

    def score(self) -> None:
        """Score on the target, keep the best network, draw the curves; saves before."""
        self.save()
        progress, score = self.progress, self.options.score
        student = device.with_precision(self.plain["student"], self.options.precision)
        running = {"student": student, "teacher": self.teacher}
        wanted = list(running) if score == "both" else [score]  # of both, the last decides
        for name in wanted if self.val else []:
            batches = (on_device(batch, self.device) for batch in self.val_loader)
            counts = confusion(running[name], batches, len(self.info.names)).to(self.device)
            matrix = self.processes.sum(counts).cpu()
            progress.miou = mean_iou(matrix).item()
            classes = dict(zip(self.info.names, class_iou(matrix).tolist(), strict=True))
            self.log.score(progress.iteration, name, progress.miou, classes)
        if progress.miou > progress.best_miou:
            (epoch, batch), miou = self._place(), int(1000 * progress.miou)
            name = f"{self.prefix}2Cityscapes_epoch{epoch}batch{batch}tgt_miu_{miou}.pth"
            if self.is_main:
                save_tensors(self.folder / name, released(self.plain[wanted[-1]], self.info))
            progress.best_miou = progress.miou  # only now: a failed write must be repeated
        if self.is_main:
            self.log.draw(progress.iteration, panels(self.teacher, self.pictured))
        progress.scored = progress.iteration
        self.log.clock = time.perf_counter()

    def save(self) -> None:
        """Write last.pth and the history, unless a number is not finite (DivergenceError)."""
        self.log_losses()
        weights = [p for network in self.plain.values() for p in network.parameters()]
        if not torch.nn.utils.get_total_norm(weights).isfinite():
            what = f"weights are not finite after iteration {self.progress.iteration}"
            raise DivergenceError(f"{what}\n  start again with a lower --learning_rate")
        randoms = self.processes.gather(device.random_state(self.device))
        if self.is_main:
            with whole_file(self.folder / f"{self.prefix}_loss.npz") as file:
                np.savez(file, loss_hist=self.rows.numpy())
            # A kill at any moment leaves this file or the one before whole.
            save_tensors(self.folder / LAST, {
                "version": VERSION,
                "fixed": self.fixed,
                "progress": asdict(self.progress),
                "history": self.rows,
                "records": self.log.records,
                "random": randoms,
                "student": self.plain["student"].state_dict(),
                "teacher": self.plain["teacher"].state_dict(),
                "optimizer": self.optimizer.state_dict()["state"],
            }, keep=self.folder / PREVIOUS)  # fmt: skip
        # A process that left now would make its launcher stop the one that writes.
        self.processes.gather(None)
        self.log.clock = time.perf_counter()  # saving and scoring are no part of the speed

    def finish(self) -> None:
        """Save the final state and the final teacher."""
        self.save()
        path, progress = self.folder / f"{self.prefix}_TeacherNet.pth", self.progress
        if self.is_main:
            save_tensors(path, released(self.plain["teacher"], self.info))
        scores = f", last mIoU {progress.miou:.4f}, best {progress.best_miou:.4f}"
        self.log.line(f"final teacher: {path}{scores if self.val else ''}")

    def __enter__(self) -> Run:
        self.signals = handling(self._request_stop, *SIGNALS)
        self.signals.__enter__()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        is_known = isinstance(error, UserError | OSError) or is_out_of_memory(error)
        saves = is_known and not isinstance(error, DivergenceError)
        try:
            with contextlib.suppress(OSError):
                self.log.bar.close()
            if saves and self.processes.world_size == 1:  # others would have to take part
                if self.before is not None:  # within an iteration, which a resume repeats
                    device.restore_random_state(self.before, self.device)
                self.save()
        finally:
            self.signals.__exit__(None, None, None)
            if self.lock:
                self.lock.close()
            if error is None or isinstance(error, SystemExit):
                self.processes.close()

    def _request_stop(self, number: int, frame: Any) -> None:
        """Remember a signal; one that comes more than 2 s after the first ends the process."""
        if not self.names:  # workers are starting, and there is nothing to save
            sys.exit(128 + number)
        if self.stopped_by is None:
            self.stopped_by, self.asked = number, time.monotonic()
        elif time.monotonic() - self.asked > ONE_REQUEST_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _stop_is_wanted(self, logs: bool) -> bool:
        """Ask all processes, only at log lines: asking waits for the slowest."""
        hours = (time.monotonic() - self.started) / 3600
        late = self.options.max_hours is not None and hours > self.options.max_hours
        asks = logs or self.processes.world_size == 1
        return asks and any(self.processes.gather(late or self.stopped_by is not None))
