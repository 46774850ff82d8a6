"""Training: one iteration of SEAN in `train_step`, and the run round it in `Trainer`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from dataset.demo import write_demo
from dataset.loaders import DataError
from model.pretrained import WeightsError, initialise
from model.SEAN import SEANet
from model.teacher import make_teacher, update_teacher
from utils.checkpoint import (
    CheckpointError,
    load_tensors,
    make_folder,
    random_state,
    restore_random_state,
    save_tensors,
    whole_file,
)
from utils.config import (
    DEMO_FOLDER,
    DEMO_RUNS,
    DEMO_TRAINING,
    TrainingConfig,
    changed_options,
    parse_options,
    plain_options,
)
from utils.device import DeviceError, autocast, choose_device
from utils.evaluate import evaluate
from utils.experiment import Experiment, TrainingData
from utils.losses import segmentation_loss, self_ensembling_loss
from utils.metrics import class_iou, confusion_matrix, mean_iou
from utils.reporting import Reporter, environment, fail


class StepResult(NamedTuple):
    """Scalars of one iteration, on the device.

    Attributes:
        total: segmentation + self_ensembling.
        segmentation: cross-entropy on the source batch, nats a pixel.
        self_ensembling: weighted by st_weight.
        source_miou: of the source batch, 0..1.
        kept: share of grid cells with attention above the threshold, 0..1.
    """

    total: Tensor
    segmentation: Tensor
    self_ensembling: Tensor
    source_miou: Tensor
    kept: Tensor


def train_step(
    student: nn.Module,
    teacher: nn.Module,
    optimizer: Optimizer,
    source: Tensor,
    labels: Tensor,
    target: Tensor,
    config: TrainingConfig,
) -> StepResult:
    """One iteration of SEAN (DESIGN section 2).

    Args:
        student: a SEANet, trained in place.
        teacher: a SEANet, moved towards the student in place.
        optimizer: of the student's parameters.
        source: source images as the network takes them, (B, 3, H, W).
        labels: their train ids, int64, (B, H, W).
        target: target images as the network takes them, (B, 3, H, W).
        config: noise, threshold, weights, precision.

    Returns:
        Losses and shares, which nothing has waited for.
    """
    precision = autocast(source.device, config.precision)

    # 1. The student learns from the labelled source.
    with precision:
        logits = student(source).logits  # (B, C, h, w)
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear")  # (B, C, H, W)
    segmentation = segmentation_loss(logits, labels, config.ignore_label).mean()

    # 2. Teacher and student see the target under independent noise.
    with torch.no_grad(), precision:
        attention, expected = teacher(add_noise(target, config.noise))  # (B, 1|C, h, w)
    with precision:
        predicted = student(add_noise(target, config.noise)).logits  # (B, C, h, w)

    # 3. They shall agree where the teacher attends.
    agreement = self_ensembling_loss(predicted, expected, attention, config.attention_threshold)
    self_ensembling = config.st_weight * agreement.mean()

    # 4. The student steps, the teacher follows.
    total = segmentation + self_ensembling
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    optimizer.step()
    update_teacher(teacher, student, config.teacher_alpha)

    with torch.no_grad():
        confusion = confusion_matrix(logits.argmax(1), labels, logits.shape[1])
        source_miou = mean_iou(confusion.float())
        kept = agreement.places / attention.numel()
    return StepResult(
        total.detach(), segmentation.detach(), self_ensembling.detach(), source_miou, kept
    )


def add_noise(images: Tensor, std: float) -> Tensor:
    """Add a fresh draw of Gaussian noise of ``std`` grey levels."""
    return images + std * torch.randn_like(images)


class Trainer:
    """A run: networks, loop, scoring, files.

    Args:
        experiment: the data sets, and how files are called.
        config: the options.

    Raises:
        DataError, WeightsError, CheckpointError, DeviceError: with the path and the remedy.
    """

    def __init__(self, experiment: Experiment, config: TrainingConfig) -> None:
        self.config = config
        self.prefix = experiment.prefix
        self.folder = Path(config.snapshot_dir)
        self.device = choose_device(config.device)
        self.names = experiment.target.label_space.names
        self.data = TrainingData(experiment, config, self.device)
        torch.manual_seed(config.seed)
        network = SEANet(config.num_classes, config.classifier_branches)
        loaded = "" if config.resume else initialise(network, config.restore_from)
        self.student = network.to(self.device)
        self.teacher = make_teacher(network)
        self.optimizer = Adam(
            [p for p in network.parameters() if p.requires_grad],
            lr=config.learning_rate,
            betas=(config.momentum, 0.999),
            weight_decay=config.weight_decay,
        )
        self.epoch, self.batch, self.iteration = 0, 0, 0
        self.best_miou = -1.0
        self.history = torch.zeros(0, 4)
        self.unread: list[Tensor] = []
        self._open_folder()
        total = self.config.num_epoch * self.data.batches
        self.last_iteration = min(total, config.max_iters or total)
        log_file = self.folder / f"{self.prefix}2Cityscapes_log.txt"
        self.reporter = Reporter(log_file, self.last_iteration, self.iteration)
        self._report_start(loaded)

    def _open_folder(self) -> None:
        """Go on with the run in the folder, or make sure that there is none to write over."""
        make_folder(self.folder)
        last = self.folder / "last.pth"
        if self.config.resume:
            self._restore(load_tensors(last))
        elif last.exists() or (self.folder / f"{self.prefix}_TeacherNet.pth").exists():
            raise CheckpointError(
                f"{self.folder} holds an earlier run\n"
                "  go on with it with --resume, or choose another --snapshot_dir"
            )

    def run(self) -> float:
        """Train to the end, score, and save.

        Returns:
            The final teacher's mIoU on the target's val part, 0..1.
        """
        miou = 0.0
        while self.iteration < self.last_iteration:
            for source, labels, target in self.data.epoch(self.epoch, self.batch):
                result = train_step(
                    self.student, self.teacher, self.optimizer, source, labels, target, self.config
                )
                self.unread.append(torch.stack(result))
                self.batch += 1
                self.iteration += 1
                self.reporter.bar.update()
                finished = self.iteration == self.last_iteration
                if self.iteration % self.config.print_interval == 0 or finished:
                    self._report_progress()
                if self.iteration % self.config.val_interval == 0 or finished:
                    miou = self._score()
                    self._save_last()
                if finished:
                    break
            else:
                self.epoch, self.batch = self.epoch + 1, 0
        save_tensors(self.folder / f"{self.prefix}_TeacherNet.pth", self._teacher_state())
        self.reporter.line(f"final teacher: mIoU {miou:.4f}, {self.prefix}_TeacherNet.pth")
        self.reporter.close()
        return miou

    def _report_start(self, loaded: str) -> None:
        config = self.config
        line = self.reporter.line
        line(f"== {environment(self.device)}", console=False)
        line(f"== options: {plain_options(config)}", console=False)
        line(
            f"protocol: adapts to the {config.target_split} part of {config.data_dir_target} "
            "without its labels; chosen and scored on the val part"
        )
        line(f"data: {self.data.sizes} iterations an epoch")
        line(f"weights: {loaded or f'resumed at iteration {self.iteration}'}")

    def _report_progress(self) -> None:
        """Read the results since the last report: the only place that waits for the device."""
        rows = torch.stack(self.unread).float().cpu()  # (n, 5)
        self.unread.clear()
        self.history = torch.cat([self.history, rows[:, :4]])
        self.reporter.progress(self.epoch, self.batch, self.data.batches, rows.mean(0).tolist())

    def _score(self) -> float:
        if self.unread:
            self._report_progress()
        precision = autocast(self.device, self.config.precision)
        confusion = evaluate(self.teacher, self.data.to_score(), self.config.num_classes, precision)
        miou = mean_iou(confusion).item()
        scores = zip(self.names, class_iou(confusion).tolist(), strict=True)
        self.reporter.line(
            f"iteration {self.iteration}: target mIoU {miou:.4f} (best {self.best_miou:.4f})"
        )
        text = " ".join(f"{name} {100 * value:.1f}" for name, value in scores)
        self.reporter.line(f"  IoU in %: {text}", console=False)
        if miou > self.best_miou:
            self.best_miou = miou
            name = (
                f"{self.prefix}2Cityscapes_epoch{self.epoch}batch{self.batch}"
                f"tgt_miu_{int(1000 * miou)}.pth"
            )
            save_tensors(self.folder / name, self._teacher_state())
        return miou

    def _teacher_state(self) -> dict[str, Tensor]:
        return {name: value.cpu() for name, value in self.teacher.state_dict().items()}

    def _save_last(self) -> None:
        with whole_file(self.folder / f"{self.prefix}_loss.npz") as file:
            np.savez(file, loss_hist=self.history.numpy())
        state = {
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "batch": self.batch,
            "iteration": self.iteration,
            "best_miou": self.best_miou,
            "history": self.history,
            "random": random_state(),
            "options": plain_options(self.config),
        }
        save_tensors(self.folder / "last.pth", state)

    def _restore(self, state: dict[str, Any]) -> None:
        changed = changed_options(self.config, state["options"])
        if changed:
            raise CheckpointError(
                f"{self.folder / 'last.pth'} was trained with other options: {', '.join(changed)}\n"
                "  resume with the same options"
            )
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.iteration, self.best_miou = state["iteration"], state["best_miou"]
        self.history = state["history"]
        restore_random_state(state["random"])


def main(experiment: Experiment, description: str) -> None:
    """Read the command line and train; a user's mistake ends in one message and status 2."""
    demo_run = f"{DEMO_RUNS}/{experiment.prefix}"
    demo_source = f"{DEMO_FOLDER}/{Path(experiment.defaults.data_dir_source).name}"
    demo = {**DEMO_TRAINING, "data_dir_source": demo_source, "snapshot_dir": demo_run}
    config = parse_options(experiment.defaults, demo, description)
    try:
        if config.demo:
            write_demo(Path(DEMO_FOLDER), experiment.demo_source)
            if config.snapshot_dir == demo_run and not config.resume:
                shutil.rmtree(demo_run, ignore_errors=True)  # an earlier demo's
        Trainer(experiment, config).run()
    except (DataError, WeightsError, CheckpointError, DeviceError) as error:
        fail(error)
