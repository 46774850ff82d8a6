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
from utils.files import make_folder, whole_file

ROOT = Path(__file__).parents[1]
VARIANTS = {
    "source_only": "--source_only",
    "no_self_ensembling": "--st_weight 0",
    "no_attention": "--no_attention",
    "sean": "",
    "four_branches": "--classifier_branches 4",
    "oracle": "--oracle",
}
Scores = dict[str, float]
"""Target mIoU in percent: of the final teacher; of the best one, chosen on the images that are
scored; with ``--score both``, of the final student."""


def read_command(words: Sequence[str]) -> Namespace:
    """Read the command line; ``training`` holds the words after ``--``."""
    split = words.index("--") if "--" in words else len(words)
    scripts = sorted(file.name for file in ROOT.glob("SEAN_*.py"))
    parser = Parser(__doc__ or "")
    parser.add_argument("--script", choices=scripts, default="SEAN_GTA5.py", help="the experiment")
    parser.add_argument(
        "--variants", nargs="+", default=list(VARIANTS), metavar="NAME[=OPTIONS]",
        help=f"what to train; built in: {', '.join(VARIANTS)} (default: all of these)",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=several(integer(0)), default=(0, 1, 2), metavar="X,X", help="of the runs"
    )
    parser.add_argument("--folder", type=Path, default=Path("Snap/ablation"), help="for all output")
    parser.add_argument(
        "--jobs", type=integer(1), default=1, metavar="N",
        help="runs at once; of several, each uses one thread",
    )  # fmt: skip
    options = parser.parse_args(words[:split])
    options.variants = dict(map(read_variant, options.variants))
    options.training = list(words[split + 1 :])
    return options


def read_variant(text: str) -> tuple[str, list[str]]:
    """Return the name of a variant and its words on the command line.

    Raises:
        UserError: the text is neither NAME=OPTIONS nor a built-in name.
    """
    name, given, options = text.partition("=")
    if not re.fullmatch(r"[\w.-]+", name) or not (given or name in VARIANTS):
        raise UserError(
            f"--variants {text}: not a variant\n"
            f"  give NAME=OPTIONS, or one of {', '.join(VARIANTS)}"
        )
    return name, shlex.split(options if given else VARIANTS[name])


def main(words: Sequence[str]) -> None:
    """Read the command line, train what is missing, write the results after each run."""
    options = read_command(words)
    make_folder(options.folder)
    file = options.folder / "results.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    runs = {
        f"{name}_seed{seed}": [options.script, *options.training, *own, "--seed", str(seed)]
        for seed in options.seeds
        for name, own in options.variants.items()
    }
    done = {run for run in runs if results.get(run, {}).get("command") == runs[run]}
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {
            pool.submit(train, options.folder / run, command, options.jobs > 1): run
            for run, command in runs.items()
            if run not in done
        }
        try:
            for future in as_completed(futures):
                run = futures[future]
                results[run] = {"command": runs[run], "scores": future.result()}
                done.add(run)
                with whole_file(file) as opened:
                    opened.write(json.dumps(results, indent=1).encode())
        finally:  # after an error or Ctrl-C, start no other run
            pool.shutdown(cancel_futures=True)
    scores = {
        name: [results[f"{name}_seed{seed}"]["scores"] for seed in options.seeds]
        for name in options.variants
    }
    text = table(scores)
    print(f"\n{text}\n\n{options.folder}/results.md, results.png")
    (options.folder / "results.md").write_text(text + "\n", encoding="utf-8")
    plot(scores).savefig(options.folder / "results.png")


def train(folder: Path, command: list[str], one_thread: bool) -> Scores:
    """Train one network to the end, or continue; the console's output goes to output.txt.

    Raises:
        UserError: the run failed, stopped early or was not scored.
    """
    make_folder(folder)
    output = folder / "output.txt"
    print(f"{folder}: started, see {output}", flush=True)
    words = [sys.executable, str(ROOT / command[0]), *command[1:]]
    words += ["--resume", "--snapshot_dir", str(folder)]
    environment = os.environ | ({"OMP_NUM_THREADS": "1"} if one_thread else {})
    with open(output, "wb") as console:
        status = subprocess.run(words, env=environment, stdout=console, stderr=console).returncode
    if status or "final teacher:" not in output.read_text(encoding="utf-8", errors="replace"):
        raise UserError(
            f"{folder} ended before its end, with status {status}\n"
            f"  {output} says why; the same command continues"
        )
    scores = read_scores((folder / "metrics.jsonl").read_text(encoding="utf-8"))
    print(f"{folder}:", ", ".join(f"{name} {miou:.1f}" for name, miou in scores.items()), flush=True)
    return scores


def read_scores(metrics: str) -> Scores:
    """Read the scores from the content of a run's metrics.jsonl.

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


def summarize(scores: Sequence[Scores]) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation over the seeds, for each name; 0 for a single seed."""
    columns = {name: [each[name] for each in scores] for name in scores[0]}
    return {
        name: (statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
        for name, values in columns.items()
    }


def table(scores: dict[str, list[Scores]]) -> str:
    """Return the target mIoU of each variant as a Markdown table."""
    rows = {
        name: {k: f"{mean:.1f} ± {spread:.1f}" for k, (mean, spread) in summarize(runs).items()}
        | {"seeds": str(len(runs))}
        for name, runs in scores.items()
    }
    return markdown_table("target mIoU, %", rows)


def plot(scores: dict[str, list[Scores]]) -> Figure:
    """Draw mean and standard deviation of each variant's teachers, and each seed as a dot."""
    figure = Figure(figsize=(8, 1.6 + 0.6 * len(scores)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for shift, (what, color) in enumerate(
        {"final teacher": "#2563a8", "best teacher": "#c8641b"}.items()
    ):
        for row, runs in enumerate(scores.values()):
            mean, spread = summarize(runs)[what]
            y = row - 0.13 + 0.26 * shift
            label = what if row == 0 else None
            axes.errorbar(mean, y, xerr=spread, fmt="o", color=color, capsize=4, label=label)
            axes.plot([run[what] for run in runs], [y] * len(runs), "|", color=color, alpha=0.5)
    axes.set_yticks(range(len(scores)), list(scores))
    axes.invert_yaxis()
    axes.set_xlabel("target mIoU, %: mean and standard deviation over the seeds")
    axes.grid(axis="x", color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure
