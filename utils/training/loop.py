"""A training run: networks, loop, scoring. One iteration is in utils/training/train_step.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from dataset.demo import write_demo
from utils.command_line import changed_options, parse_options, plain_options
from utils.device import autocast, choose_device, make_deterministic
from utils.errors import UserError
from utils.evaluation.metrics import class_iou, mean_iou
from utils.evaluation.panels import panels
from utils.evaluation.predict import evaluate
from utils.files import random_state, restore_random_state
from utils.options import DEMO_FOLDER, DEMO_RUNS, DEMO_TRAINING, TrainingConfig
from utils.training.batches import Domains, TrainingData
from utils.training.distributed import Processes
from utils.training.experiment import Experiment
from utils.training.log import Reporter, environment, fail
from utils.training.networks import Networks, released
from utils.training.results import DivergenceError, Results
from utils.training.snapshots import Snapshots
from utils.training.stopping import StopRequest
from utils.training.train_step import train_step


class Trainer:
    """A run: networks, loop, scoring.

    Args:
        experiment: the data sets, and how files are called.
        config: the options.

    Raises:
        UserError: with the path and the remedy.
    """

    def __init__(self, experiment: Experiment, config: TrainingConfig) -> None:
        self.config = config
        self.names = experiment.target.label_space.names
        self.own_classes = experiment.own_classes
        self.device = choose_device(config.device)
        self.processes = Processes.start(self.device)
        if config.deterministic:
            make_deterministic()
        self.snapshots = Snapshots(Path(config.snapshot_dir), experiment.prefix)
        resumes = config.resume or config.resume_anyway
        saved, warning = self.snapshots.load_last() if resumes else (None, "")
        is_demo = config.demo and config.snapshot_dir == demo_run(experiment)
        if not resumes and not is_demo and self.processes.is_main:
            self.snapshots.check_free()
        self.data = TrainingData(experiment, config, self.device, self.processes)
        if saved:
            self._check_options(saved)
        self.networks = Networks(config, self.device, self.processes, saved)
        if not resumes and is_demo and self.processes.is_main:
            self.snapshots.clear()  # an earlier demo's
        torch.manual_seed(config.seed + self.processes.rank)  # noise differs between processes
        self.epoch, self.batch, self.iteration = 0, 0, 0
        self.best_miou, self.miou = -1.0, -1.0
        self.score_due = False
        self.results = Results(self.processes, self.snapshots.last)
        self.reported: set[str] = set()
        if saved:
            self._restore(saved)
        total = config.num_epoch * self.data.iterations
        self.last_iteration = min(total, config.max_iters or total)
        if resumes and self.processes.is_main:
            self.snapshots.cut_metrics(self.iteration, self.score_due)
        self.reporter = Reporter(
            self.snapshots.log, self.snapshots.metrics,
            self.snapshots.board if config.tensorboard else None,
            self.last_iteration, self.iteration, self.processes.is_main,
        )  # fmt: skip
        for line in self._heading(warning):
            self.reporter.line(line)

    def run(self, stop: StopRequest) -> bool:
        """Train to the end or until told to stop; score and save on the way.

        Args:
            stop: asked after each iteration.

        Returns:
            Whether the end was reached.

        Raises:
            UserError: a file cannot be read or written.
            DivergenceError: a loss or gradient is not finite; nothing after it is saved.
        """
        try:
            return self._train(stop)
        except UserError:
            if self.processes.world_size == 1:  # others would have to take part
                self._save()
            raise
        finally:
            self.reporter.bar.close()

    def _train(self, stop: StopRequest) -> bool:
        config = self.config
        if self.score_due:
            self._score_and_draw()
            self._save()
        while self.iteration < self.last_iteration:
            for batches in self.data.epoch(self.epoch, self.batch):
                self._iterate(batches)
                ends = self.iteration == self.last_iteration
                stops = not ends and self._must_stop(stop)
                self.score_due = ends or self.iteration % config.val_interval == 0
                saves = self.score_due or self.iteration % config.checkpoint_interval == 0
                if ends or self.iteration % config.print_interval == 0:
                    self._read_results()
                if self.score_due and not stops:  # else it is made up for by --resume
                    self._score_and_draw()
                    stops = not ends and self._must_stop(stop)
                if saves or stops:
                    self._save()
                if stops:
                    self.reporter.line(
                        f"{stop.reason}: saved at iteration {self.iteration}; go on with --resume"
                    )
                if stops or ends:
                    return ends
            self.epoch, self.batch = self.epoch + 1, 0
        return True

    def finish(self) -> None:
        """Save the final teacher and say where it is."""
        if self.processes.is_main:
            self.snapshots.save_final(released(self.networks.plain_teacher))
        scores = f"last mIoU {self.miou:.4f}, best {self.best_miou:.4f}; " if self.miou >= 0 else ""
        self.reporter.line(f"{scores}final teacher: {self.snapshots.final}")

    def _iterate(self, batches: list[Domains]) -> None:
        result = train_step(
            self.networks.student, self.networks.teacher, self.networks.optimizer, batches,
            self.config, self.processes,
        )  # fmt: skip
        names = tuple(name for batch in batches for name in batch.names)
        self.results.add(result, names)
        self.batch += 1
        self.iteration += 1
        self.reporter.bar.update()

    def _must_stop(self, stop: StopRequest) -> bool:
        """Ask all processes, at log lines only: asking waits for the slowest."""
        if self.processes.world_size > 1 and self.iteration % self.config.print_interval:
            return False
        return self.processes.any(stop.wanted)

    def _read_results(self) -> None:
        """Read and report what the iterations since the last call gave.

        Raises:
            DivergenceError: a number is not finite.
        """
        means = self.results.read()
        if means is None:
            return
        rate = self.networks.optimizer.param_groups[0]["lr"]
        self.reporter.progress(
            self.iteration, self.epoch, self.batch, self.data.iterations, rate, means
        )

    def _score_and_draw(self) -> None:
        """Save first: a scoring that fails costs no iteration, and is made up for by --resume."""
        self._save()
        if self.data.scored is not None:
            self._score()
        self._draw()
        self.score_due = False

    def _score(self) -> None:
        """Score what --score names; of both, the teacher comes last and is what counts."""
        self._read_results()  # a network of numbers that are not finite is not scored
        networks = {"student": self.networks.plain_student, "teacher": self.networks.teacher}
        for name in networks if self.config.score == "both" else [self.config.score]:
            precision = autocast(self.device, self.config.precision)
            counts = evaluate(
                networks[name], self.data.to_score(), self.config.num_classes, precision
            )
            confusion = self.processes.sum(counts.to(self.device)).cpu()
            self.miou = mean_iou(confusion).item()
            classes = dict(zip(self.names, class_iou(confusion).tolist(), strict=True))
            self.reporter.score(self.iteration, name, self.miou, classes)
        if self.miou > self.best_miou:
            self.best_miou = self.miou
            trained = self.networks
            best = trained.plain_student if name == "student" else trained.plain_teacher
            if self.processes.is_main:
                self.snapshots.save_best(released(best), self.epoch, self.batch, self.miou)

    def _draw(self) -> None:
        """Draw the curves anew and, for TensorBoard, what the teacher makes of a few images."""
        self._read_results()
        if not self.processes.is_main:
            return
        self.snapshots.draw_curves()
        if self.config.tensorboard:
            precision = autocast(self.device, self.config.precision)
            pictures = panels(self.networks.plain_teacher, self.data.shown, precision)
            self.reporter.pictures(self.iteration, pictures)

    def _save(self) -> None:
        """Write last.pth and the history.

        Raises:
            DivergenceError: the last step left weights that are not finite; nothing is written.
            UserError: a file cannot be written.
        """
        self._read_results()
        trained = self.networks
        weights = [*trained.plain_student.parameters(), *trained.plain_teacher.parameters()]
        if not torch.nn.utils.get_total_norm(weights).isfinite():
            raise DivergenceError(
                f"weights are not finite after iteration {self.iteration}\n"
                f"  {self.snapshots.last}, if there is one, is of before; lower --learning_rate"
            )
        randoms = self.processes.gather(random_state(self.device))
        problems = self.processes.gather(self.data.problems.found)
        for problem in sorted({text for found in problems for text in found} - self.reported):
            self.reporter.line(f"skipped: {problem}")
            self.reported.add(problem)
        if self.processes.is_main:
            self._write(randoms, problems)
        # A process that left now would have its launcher stop the one that writes.
        self.processes.wait()
        self.reporter.restart_clock()

    def _write(self, randoms: list[dict[str, Any]], problems: list[list[str]]) -> None:
        self.snapshots.save_history(self.results.history)
        self.snapshots.save_last(
            {
                **self.networks.state(),
                "epoch": self.epoch,
                "batch": self.batch,
                "iteration": self.iteration,
                "miou": self.miou,
                "best_miou": self.best_miou,
                "score_due": self.score_due,
                "history": self.results.history,
                "problems": problems,
                "random": randoms,
                "options": plain_options(self.config) | {"processes": self.processes.world_size},
                "own_classes": self.own_classes,
                "images": self.data.images,
            }
        )

    def _check_options(self, saved: dict[str, Any]) -> None:
        changed = changed_options(self.config, saved["options"])
        if saved["options"]["processes"] != self.processes.world_size:
            changed.append(f"processes {saved['options']['processes']}")
        if saved["own_classes"] != self.own_classes:
            before, now = saved["options"]["classes"], self.config.classes
            changed.append(f"--classes {before} -> {now}: names, label ids or folders differ")
        for part, images in self.data.images.items():
            if images != saved["images"].get(part):
                changed.append(f"other {part} images, or in another order")
        if changed and not self.config.resume_anyway:
            raise UserError(
                f"{self.snapshots.last} was trained with other options or data: "
                f"{', '.join(changed)}\n"
                "  give the same ones, or --resume_anyway to go on with the new ones"
            )

    def _restore(self, saved: dict[str, Any]) -> None:
        self.epoch, self.batch = saved["epoch"], saved["batch"]
        self.iteration, self.results.history = saved["iteration"], saved["history"]
        self.miou, self.best_miou = saved["miou"], saved["best_miou"]
        self.score_due = saved["score_due"]
        self.reported = {problem for found in saved["problems"] for problem in found}
        if self.processes.rank < len(saved["random"]):
            self.data.problems.found = saved["problems"][self.processes.rank]
            restore_random_state(saved["random"][self.processes.rank], self.device)

    def _heading(self, warning: str) -> list[str]:
        config = self.config
        options = " ".join(f"--{name} {value}" for name, value in plain_options(config).items())
        return [
            f"== {environment(self.device)}, {self.processes.world_size} process(es)",
            f"options: {options}",
            f"protocol: {self.data.protocol}",
            f"data: {self.data.summary}",
            f"weights: {self.networks.weights}"
            + (f" at iteration {self.iteration}" if self.iteration else ""),
            *([f"warning: {warning}"] if warning else []),
        ]


def demo_run(experiment: Experiment) -> str:
    """Where ``--demo`` writes, over what an earlier demo wrote, if not told otherwise."""
    return f"{DEMO_RUNS}/{experiment.prefix}"


def main(experiment: Experiment, description: str) -> None:
    """Read the command line and train.

    Ends with status 2 after a user's mistake, 3 after a number that is not finite, 130 or 143
    after SIGINT or SIGTERM.
    """
    demo_source = f"{DEMO_FOLDER}/{experiment.demo_source.upper()}"
    demo = {
        **DEMO_TRAINING,
        "data_dir_source": demo_source,
        "snapshot_dir": demo_run(experiment),
    }
    config = parse_options(experiment.defaults, demo, description)
    stop = StopRequest(config.max_hours)
    try:
        if config.classes:
            experiment = experiment.with_classes(config.classes)
            config = parse_options(experiment.defaults, demo, description)
        if config.demo:
            write_demo(Path(DEMO_FOLDER), experiment.demo_source)
        trainer = Trainer(experiment, config)
        ends = trainer.run(stop)
        if ends:
            trainer.finish()
        trainer.processes.close()
    except UserError as error:
        fail(error)
    except DivergenceError as error:
        fail(error, status=3)
    sys.exit(0 if ends else stop.status)
