"""The training loop: iterate, log, score, save, stop. One iteration is `train_step`.

A script calls `train`, which runs `Run.loop`, which calls `train_step`.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dataset.loaders import make_loader, sequential_batches
from dataset.segmentation_dataset import SegmentationDataset
from inference.metrics import class_iou, mean_iou
from inference.pictures import panels
from inference.predict import confusion, on_device
from model.checkpoint import CheckpointInfo, released
from model.SEAN import SEANet
from training.batches import DomainBatches, fingerprints
from training.distributed import Processes
from training.history import History
from training.log import Log, environment
from training.networks import Networks
from training.options import TrainingOptions
from training.protocol import check_experiment, describe_data, describe_protocol
from training.records import cut_records
from training.run_files import RunFiles
from training.saved_state import Progress, restoring
from training.stopping import StopRequest
from training.train_step import train_step
from utils.command_line import as_arguments
from utils.device import (
    choose_device,
    choose_precision,
    make_deterministic,
    random_state,
    restore_random_state,
    with_precision,
)
from utils.errors import DivergenceError, UserError
from utils.files import save_tensors


def train(
    prefix: str,
    student: SEANet,
    teacher: SEANet,
    source: SegmentationDataset,
    target: SegmentationDataset,
    scored: SegmentationDataset | None,
    options: TrainingOptions,
    initialization: str,
) -> None:
    """Train to the end, or until a signal or the time limit; score and save on the way.

    Args:
        prefix: GTA or Synthia; names of output files begin with it.
        student: trained in place.
        teacher: a copy of the student that follows it.
        source: images with labels to learn from.
        target: images to adapt to.
        scored: images with labels to score on; None if there are none.
        options: the experiment's values.
        initialization: where the initial weights come from, in words, for the log.

    Raises:
        UserError: options contradict each other or the data, or a file cannot be read or written.
        DivergenceError: a loss, gradient or weight is not finite; nothing after it is saved.
        OSError: nobody reads the console any more, or what it is redirected to is full.
        SystemExit: after SIGINT or SIGTERM, with status 130 or 143.
    """
    stop = StopRequest(options.max_hours)
    run = Run(prefix, student, teacher, source, target, scored, options, initialization)
    try:
        finished = run.loop(stop)
    except DivergenceError:
        raise
    except (UserError, OSError) as error:
        if isinstance(error, OSError):  # from the console: as after `| head`, or on a full disk
            run.log.mute()
        if run.processes.world_size == 1:  # other processes would have to take part in saving
            run.save()
        raise
    finally:
        run.log.bar.close()
    if finished:
        run.finish()
    run.processes.close()
    if not finished:
        sys.exit(stop.status)


class Run:
    """A training run, new or resumed. The arguments are those of `train`."""

    def __init__(
        self,
        prefix: str,
        student: SEANet,
        teacher: SEANet,
        source: SegmentationDataset,
        target: SegmentationDataset,
        scored: SegmentationDataset | None,
        options: TrainingOptions,
        initialization: str,
    ) -> None:
        check_experiment(options, student.num_classes, source, target, scored)
        self.device = choose_device(options.device)
        options = replace(options, precision=choose_precision(options.precision, self.device))
        self.options = options
        if options.deterministic:
            make_deterministic()
        self.processes = Processes.start(self.device)

        self.scored, self.shown = scored, scored or target
        self._open_data(source, target)
        data = describe_data(options, source, target, scored, self.batches.iterations)

        # A checkpoint in the folder must fit the data.
        self.files = RunFiles(Path(options.snapshot_dir), prefix)
        saved, warning = self.files.open_run(options, self.fixed, self.processes.is_main)

        self.networks = Networks(student, teacher, options, self.device, self.processes, saved)
        space, size = target.label_space, options.input_size
        protocol = describe_protocol(options, source, target, scored)
        self.info = CheckpointInfo.of(student, space.names, space.colors, size, protocol)

        # The generators come last, so that nothing draws between a checkpoint and its next batch.
        self.progress = Progress(**saved["progress"]) if saved else Progress()
        rows = saved["history"] if saved else None
        self.history = History(self.processes, self.files.last, rows)
        torch.manual_seed(options.seed + self.processes.rank)  # noise differs between processes
        if saved:
            with restoring("random", saved["path"]):
                restore_random_state(saved["random"][self.processes.rank], self.device)
            initialization = f"resumed at iteration {self.progress.iteration}"

        if self.processes.is_main:
            cut_records(self.files.metrics, self.progress.iteration, self.progress.score_due)
        self.log = Log(
            self.files, self.last_iteration, self.progress.iteration, options.tensorboard,
            self.processes.is_main,
        )  # fmt: skip
        self.heading = [
            f"== {environment(self.device)}, {self.processes.world_size} process(es)",
            f"options: {as_arguments(options)}",
            f"protocol: {protocol}",
            f"data: {data}",
            f"weights: {initialization}",
            *([f"warning: {warning}"] if warning else []),
        ]

    def _open_data(self, source: SegmentationDataset, target: SegmentationDataset) -> None:
        """Start the loaders; note what a resumed run must have in common with this one."""
        options, processes = self.options, self.processes
        self.batches = DomainBatches(source, target, options, self.device, processes)
        self.last_iteration = options.max_iters or options.num_epoch * self.batches.iterations
        if self.scored:
            rank, world = processes.rank, processes.world_size
            order = sequential_batches(len(self.scored), options.batch_size, rank, world)
            workers = options.num_workers
            self.scored_loader = make_loader(self.scored, order, workers, self.device.type)
        parts = {"source": source, "target": target, "scored": self.scored}
        self.fixed = {
            "options": asdict(options) | {"processes": processes.world_size},
            "iterations": self.last_iteration if options.lr_schedule == "poly" else 0,
            "epoch_iterations": self.batches.iterations,
            "data": fingerprints(parts),
        }

    def loop(self, stop: StopRequest) -> bool:
        """Train until the end or a stop request; return whether the end was reached."""
        progress, options, networks = self.progress, self.options, self.networks
        for text in self.heading:
            self.log.line(text)
        if progress.score_due:
            self.score()
        while progress.iteration < self.last_iteration:
            for batch in self.batches.epoch(progress.epoch, progress.batch):
                networks.set_learning_rate(progress.iteration / self.last_iteration)
                result = train_step(
                    networks.student, networks.teacher, networks.optimizer, batch, options,
                    self.processes.share_of_mean,
                )  # fmt: skip
                self.history.add(result, batch.names)
                progress.batch += 1
                progress.iteration += 1
                ends = progress.iteration == self.last_iteration
                progress.score_due = ends or progress.iteration % options.val_interval == 0
                self.log.bar.update()

                if ends or progress.iteration % options.print_interval == 0:
                    self.log_losses()
                if progress.score_due and (ends or not self._stops(stop)):
                    self.score()
                elif progress.iteration % options.checkpoint_interval == 0:
                    self.save()
                if ends:
                    return True
                if self._stops(stop):
                    self.save()
                    reason = f"{stop.reason}: saved at iteration {progress.iteration}"
                    self.log.line(f"{reason}; continue with --resume")
                    return False
            progress.epoch, progress.batch = progress.epoch + 1, 0
        return True

    def _stops(self, stop: StopRequest) -> bool:
        """Ask all processes, only at log lines: asking waits for the slowest."""
        is_log_line = self.progress.iteration % self.options.print_interval == 0
        asks = is_log_line or self.processes.world_size == 1
        return asks and any(self.processes.gather(stop.wanted))

    def log_losses(self) -> None:
        """Report the results since the last call; raises DivergenceError if one is not finite."""
        means = self.history.read()
        if means is not None:
            progress, rate = self.progress, self.networks.optimizer.param_groups[0]["lr"]
            batch = f"{progress.batch}/{self.batches.iterations}"
            self.log.losses(progress.iteration, progress.epoch, batch, rate, means)

    def score(self) -> None:
        """Score on the target, keep the best network, draw the curves.

        Saves before, so that a scoring that fails costs no iteration and ``--resume`` repeats it;
        and after.
        """
        self.save()
        progress, networks = self.progress, self.networks
        plain = {"student": networks.plain_student, "teacher": networks.plain_teacher}
        student = with_precision(networks.plain_student, self.options.precision)
        running = {"student": student, "teacher": networks.teacher}
        wanted = list(plain) if self.options.score == "both" else [self.options.score]
        for name in wanted if self.scored else []:  # of both, the teacher comes last and decides
            matrix = self._confusion(running[name])
            progress.miou = mean_iou(matrix).item()
            classes = dict(zip(self.info.names, class_iou(matrix).tolist(), strict=True))
            self.log.score(progress.iteration, name, progress.miou, classes)
        if progress.miou > progress.best_miou:
            if self.processes.is_main:
                best = released(plain[wanted[-1]], self.info)
                self.files.save_best(best, progress.epoch, progress.batch, progress.miou)
            progress.best_miou = progress.miou  # only now: a failed write must be repeated
        if self.processes.is_main:
            self.files.draw_curves()
            if self.options.tensorboard:
                self.log.pictures(progress.iteration, panels(networks.teacher, self.shown))
        progress.score_due = False
        self.save()

    def _confusion(self, network: nn.Module) -> Tensor:
        batches = (on_device(batch, self.device) for batch in self.scored_loader)
        counts = confusion(network, batches, len(self.info.names)).to(self.device)
        return self.processes.sum(counts).cpu()

    def save(self) -> None:
        """Write last.pth and the history.

        Raises:
            DivergenceError: a loss or weight is not finite; nothing is written.
            UserError: a file cannot be written.
        """
        self.log_losses()
        if not self.networks.are_finite():
            raise DivergenceError(
                f"weights are not finite after iteration {self.progress.iteration}\n"
                f"  {self.files.last}, if it exists, was saved before; lower --learning_rate"
            )
        randoms = self.processes.gather(random_state(self.device))
        if self.processes.is_main:
            self.files.save_history(self.history.rows)
            self.files.save_last(
                {
                    **self.networks.state(),
                    **self.fixed,
                    "progress": asdict(self.progress),
                    "history": self.history.rows,
                    "random": randoms,
                }
            )
        # A process that left now would make its launcher stop the one that writes.
        self.processes.wait()
        self.log.restart_clock()

    def finish(self) -> None:
        """Save the final teacher."""
        if self.processes.is_main:
            save_tensors(self.files.final, released(self.networks.plain_teacher, self.info))
        self.log.line(f"final teacher: {self.files.final}")
        if self.scored:
            progress = self.progress
            self.log.line(f"last mIoU {progress.miou:.4f}, best {progress.best_miou:.4f}")
