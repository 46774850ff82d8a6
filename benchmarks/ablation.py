"""Train variants of an experiment with several seeds; write their scores, a table and a plot.

    python -m benchmarks ablation --variants source_only sean "wide=--classifier_branches 3" \
        --seeds 0,1,2 --folder Snap/ablation -- --max_iters 1000

The options after ``--`` are those of all runs. A variant is NAME=OPTIONS, with the options in which
it differs, or only the NAME of a built-in one. The same command continues where it stopped: it
repeats no finished run and resumes an interrupted one. --folder gets results.md (mean and standard
deviation of the target mIoU), results.png, results.json, and a folder for each run.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import statistics
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.harness import markdown_table, several
from utils.command_line import Parser, integer
from utils.errors import UserError
from utils.files import whole_file
from utils.output_folder import OutputFolder

ROOT = Path(__file__).parents[1]
VARIANTS = {
    "source_only": "--source_only",
    "no_self_ensembling": "--st_weight 0",
    "no_attention": "--no_attention",
    "sean": "",
    "four_branches": "--classifier_branches 4",
    "oracle": "--oracle",
}
Scores = dict[str, float]  # target mIoU of a run in percent, by network


def read_command(words: Sequence[str]) -> Namespace:
    """Read the command line; ``training`` holds the words after ``--``."""
    split = words.index("--") if "--" in words else len(words)
    scripts = sorted(file.name for file in ROOT.glob("SEAN_*.py"))
    parser = Parser(__doc__ or "")
    add = parser.add_argument
    add("--script", choices=scripts, default="SEAN_GTA5.py", help="the experiment")
    add("--variants", nargs="+", default=list(VARIANTS), help=f"built in: {', '.join(VARIANTS)}")
    add("--seeds", type=several(integer(0)), default=(0, 1, 2), help="of the runs (default: 0,1,2)")
    add("--folder", type=Path, default=Path("Snap/ablation"), help="for all output")
    add("--jobs", type=integer(1), default=1, help="runs at once; of several, each has one thread")
    options = parser.parse_args(words[:split])
    options.variants = dict(map(read_variant, options.variants))
    options.training = words[split + 1 :]
    return options


def read_variant(text: str) -> tuple[str, list[str]]:
    """Return the name of a variant and its options; raise UserError if the name is unknown."""
    name, given, options = text.partition("=")
    if not re.fullmatch(r"[\w.-]+", name) or not (given or name in VARIANTS):
        known = ", ".join(VARIANTS)
        raise UserError(f"--variants {text}: unknown\n  give NAME=OPTIONS, or one of {known}")
    return name, shlex.split(options if given else VARIANTS[name])


def main(words: Sequence[str]) -> None:
    """Read the command line, train what is missing, write the results."""
    options = read_command(words)
    output = OutputFolder(options.folder)
    file = output.path / "results.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    commands = {
        f"{name}_seed{seed}": [options.script, *options.training, *own, "--seed", str(seed)]
        for seed in options.seeds
        for name, own in options.variants.items()
    }
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {
            pool.submit(train, options.folder / run, command, options.jobs > 1): run
            for run, command in commands.items()
            if results.get(run, {}).get("command") != shlex.join(command)
        }
        try:
            for future in as_completed(futures):
                run = futures[future]
                results[run] = {"command": shlex.join(commands[run]), "scores": future.result()}
                with whole_file(file) as opened:
                    opened.write(json.dumps(results, indent=1).encode())
        finally:  # after an error or Ctrl-C, start no other run
            pool.shutdown(cancel_futures=True)
    scores = {
        name: [results[f"{name}_seed{seed}"]["scores"] for seed in options.seeds]
        for name in options.variants
    }
    text = table(scores)
    print(f"\n{text}\n\nwritten to {options.folder}: results.md, results.png, results.json")
    (options.folder / "results.md").write_text(text + "\n", encoding="utf-8")
    plot(scores).savefig(options.folder / "results.png")


def train(folder: Path, command: list[str], one_thread: bool) -> Scores:
    """Train one network to the end, or continue; return its scores.

    Raises:
        UserError: the run failed, stopped early or was not scored.
    """
    folder.mkdir(exist_ok=True)
    output = folder / "output.txt"
    # With the line break in one piece: several threads print.
    print(f"{folder}: started, progress in {output}\n", end="", flush=True)
    words = [sys.executable, str(ROOT / command[0]), *command[1:]]
    words += ["--resume", "--snapshot_dir", str(folder)]
    environment = os.environ | ({"OMP_NUM_THREADS": "1"} if one_thread else {})
    with open(output, "wb") as console:
        status = subprocess.run(words, env=environment, stdout=console, stderr=console).returncode
    if status or "final teacher:" not in output.read_text(encoding="utf-8", errors="replace"):
        raise UserError(
            f"{folder}: the run did not finish, its status is {status}\n"
            f"  see the end of {output}; the same command continues"
        )
    scores = read_scores((folder / "metrics.jsonl").read_text(encoding="utf-8"))
    print(f"{folder}: best teacher {scores['best teacher']:.1f} %\n", end="", flush=True)
    return scores


def read_scores(metrics: str) -> Scores:
    """Read metrics.jsonl: the final and best teacher and, if it was scored, the final student.

    Raises:
        UserError: the teacher was not scored.
    """
    records = [json.loads(line) for line in metrics.splitlines()]
    teacher, student = (
        [100 * record["target_miou"] for record in records if record.get("network") == network]
        for network in ("teacher", "student")
    )
    if not teacher:
        raise UserError(
            "the teacher was not scored\n  give a target with labels, or --data_dir_val after --"
        )
    scores = {"final teacher": teacher[-1], "best teacher": max(teacher)}
    return scores | ({"final student": student[-1]} if student else {})


def mean_and_spread(runs: Sequence[Scores], network: str) -> tuple[float, float]:
    """Return mean and standard deviation over the seeds; the latter is 0 for a single seed."""
    values = [run[network] for run in runs]
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def table(scores: dict[str, list[Scores]]) -> str:
    """Return the scores of each variant as a Markdown table."""
    rows: dict[str, dict[str, str]] = {}
    for name, runs in scores.items():
        rows[name] = {"seeds": str(len(runs))}
        for network in runs[0]:
            mean, spread = mean_and_spread(runs, network)
            rows[name][network] = f"{mean:.1f} ± {spread:.1f}"
    return markdown_table("target mIoU, %", rows)


def plot(scores: dict[str, list[Scores]]) -> Figure:
    """Draw mean and standard deviation of each variant's final and best teacher."""
    figure = Figure(figsize=(8, 1.5 + 0.5 * len(scores)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for shift, network in ((-0.1, "final teacher"), (0.1, "best teacher")):
        points = [mean_and_spread(runs, network) for runs in scores.values()]
        means, spreads = zip(*points, strict=True)
        rows = [row + shift for row in range(len(points))]
        axes.errorbar(means, rows, xerr=spreads, fmt="o", capsize=4, label=network)
    axes.set_yticks(range(len(scores)), list(scores))
    axes.invert_yaxis()
    axes.set_xlabel("target mIoU, %: mean and standard deviation over the seeds")
    axes.grid(axis="x", color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure
