"""Train SEAN, its ablations and its bounds over several seeds, and print mean and spread.

    python -m benchmarks.ablation --data_dir_source data/GTA5 --data_dir_target data/Cityscapes \
        --variants source_only sean no_attention oracle --seeds 0 1 2 -- --max_iters 1000

What follows ``--`` goes to the training script. Each run has a folder of its own: one that was
interrupted goes on, one that was finished is not repeated, one with other options is refused.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

from utils.command_line import Parser, integer
from utils.training.log import fail

ROOT = Path(__file__).parents[1]
VARIANTS: dict[str, tuple[str, ...]] = {
    "source_only": ("--source_only",),
    "no_self_ensembling": ("--no_self_ensembling",),
    "no_attention": ("--no_attention",),
    "sean": (),
    "four_branches": ("--classifier_branches", "4"),
    "oracle": ("--oracle",),
}


class Scores(NamedTuple):
    """Target mIoU of a run's networks, in percent.

    Attributes:
        final: the teacher at the end.
        best: the best teacher of all scorings, chosen on the images it is reported on.
        student: the student at the end.
    """

    final: float
    best: float
    student: float


def train(variant: str, seed: int, options: Namespace) -> Scores:
    """Train one network, or go on with it; a finished one is left as it is.

    Raises:
        SystemExit: the training ends with another status than 0; it has said why.
    """
    folder = Path(options.folder) / f"{variant}_seed{seed}"
    command = [
        *(sys.executable, str(ROOT / options.script), *options.training, *VARIANTS[variant]),
        *("--data_dir_source", options.data_dir_source, "--seed", str(seed)),
        *("--data_dir_target", options.data_dir_target, "--score", "both"),
        *("--resume", "--snapshot_dir", str(folder)),
    ]
    status = subprocess.run(command).returncode
    if status:
        sys.exit(status)
    return read_scores((folder / "metrics.jsonl").read_text(encoding="utf-8"))


def read_scores(metrics: str) -> Scores:
    """Read the scores from a run's metrics.jsonl.

    Raises:
        SystemExit: the run was not scored.
    """
    records = [json.loads(line) for line in metrics.splitlines()]
    teacher, student = (
        [100 * record["target_miou"] for record in records if record.get("network") == network]
        for network in ("teacher", "student")
    )
    if not teacher or not student:
        fail("the run was not scored\n  give a target with labels, or --data_dir_val after --")
    return Scores(teacher[-1], max(teacher), student[-1])


def table(results: dict[str, list[Scores]]) -> str:
    """Mean and standard deviation over the seeds, as a Markdown table."""
    lines = ["| | final teacher | best teacher | final student | runs |", "|---|---|---|---|---|"]
    for variant, scores in results.items():
        columns = [
            f"{statistics.mean(column):.1f}"
            + (f" ± {statistics.stdev(column):.1f}" if len(column) > 1 else "")
            for column in zip(*scores, strict=True)
        ]
        lines.append(f"| {variant} | {' | '.join(columns)} | {len(scores)} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, train what is missing, print the table."""
    parser = Parser(__doc__ or "")
    parser.add_argument(
        "--script", choices=("SEAN_GTA5.py", "SEAN_Synthia.py"), default="SEAN_GTA5.py"
    )
    parser.add_argument("--data_dir_source", required=True)
    parser.add_argument("--data_dir_target", required=True)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=integer(0), default=[0, 1, 2])
    parser.add_argument("--folder", default="Snap/ablation", help="a folder for each run is in it")
    parser.add_argument("training", nargs="*", help="after --: options of the training script")
    options = parser.parse_args()
    results: dict[str, list[Scores]] = {}
    for seed in options.seeds:
        for variant in options.variants:
            results.setdefault(variant, []).append(train(variant, seed, options))
            print(f"\ntarget mIoU in %, mean ± standard deviation\n{table(results)}", flush=True)


if __name__ == "__main__":
    main()
