"""Train SEAN, its ablations and its bounds over several seeds, and print mean and spread.

    python -m benchmarks ablation --variants source_only,sean --seeds 0,1,2 -- --max_iters 1000

The options after ``--`` go to the training script. Each run has its own folder: an interrupted run
continues, a finished one is not repeated, one with other options is refused.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import markdown_table, several
from utils.command_line import integer, option, read_options
from utils.errors import UserError

ROOT = Path(__file__).parents[1]
VARIANTS: dict[str, tuple[str, ...]] = {
    "source_only": ("--source_only",),
    "no_self_ensembling": ("--st_weight", "0"),
    "no_attention": ("--no_attention",),
    "sean": (),
    "four_branches": ("--classifier_branches", "4"),
    "oracle": ("--oracle",),
}


@dataclass(frozen=True)
class AblationOptions:
    """Options of `ablation`; those of the training come after ``--``."""

    script: str = option(
        "SEAN_GTA5.py", "the experiment", choices=("SEAN_GTA5.py", "SEAN_Synthia.py")
    )
    variants: tuple[str, ...] = option(
        tuple(VARIANTS), "what to train", several(str, tuple(VARIANTS))
    )
    seeds: tuple[int, ...] = option((0, 1, 2), "of the runs", several(integer(0)))
    folder: str = option("Snap/ablation", "holds a folder for each run")


class Scores(NamedTuple):
    """Target mIoU of a run's networks, in percent.

    Attributes:
        final: the final teacher.
        best: the best teacher of all scorings, chosen on the images it is reported on.
        student: the final student.
    """

    final: float
    best: float
    student: float


def main(arguments: Sequence[str]) -> None:
    """Read the command line, train what is missing, print the table after each run."""
    words = list(arguments)
    split = words.index("--") if "--" in words else len(words)
    options = read_options(AblationOptions(), __doc__ or "", None, words[:split])
    results: dict[str, list[Scores]] = {}
    for seed in options.seeds:
        for variant in options.variants:
            scores = train(variant, seed, options, words[split + 1 :])
            results.setdefault(variant, []).append(scores)
            print(f"\ntarget mIoU in %, mean ± standard deviation\n{table(results)}", flush=True)


def train(variant: str, seed: int, options: AblationOptions, training: Sequence[str]) -> Scores:
    """Train one network, or continue; a finished one stays as it is.

    Args:
        variant: a key of VARIANTS.
        seed: of the run.
        options: script and folder.
        training: further words of the training script's command line.

    Raises:
        UserError: the run was not scored.
        SystemExit: the training failed; it has printed why, and its status is passed on.
    """
    folder = Path(options.folder) / f"{variant}_seed{seed}"
    command = [
        *(sys.executable, str(ROOT / options.script), *training, *VARIANTS[variant]),
        *("--seed", str(seed), "--score", "both", "--resume", "--snapshot_dir", str(folder)),
    ]
    status = subprocess.run(command).returncode
    if status:
        sys.exit(status)
    return read_scores((folder / "metrics.jsonl").read_text(encoding="utf-8"))


def read_scores(metrics: str) -> Scores:
    """Read the scores from the content of a run's metrics.jsonl.

    Raises:
        UserError: the run was not scored.
    """
    records = [json.loads(line) for line in metrics.splitlines()]
    teacher, student = (
        [100 * record["target_miou"] for record in records if record.get("network") == network]
        for network in ("teacher", "student")
    )
    if not teacher or not student:
        raise UserError(
            "the run was not scored\n  give a target with labels, or --data_dir_val after --"
        )
    return Scores(teacher[-1], max(teacher), student[-1])


def table(results: dict[str, list[Scores]]) -> str:
    """Return mean and standard deviation over the seeds, as a Markdown table."""
    rows = {}
    for variant, scores in results.items():
        cells = [
            f"{statistics.mean(column):.1f}"
            + (f" ± {statistics.stdev(column):.1f}" if len(column) > 1 else "")
            for column in zip(*scores, strict=True)
        ]
        headings = ("final teacher", "best teacher", "final student", "runs")
        rows[variant] = dict(zip(headings, (*cells, str(len(scores))), strict=True))
    return markdown_table("", rows)
