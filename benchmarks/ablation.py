r"""Train variants of an experiment with several seeds; write their scores, a table and a plot.

    python -m benchmarks ablation --variants source_only sean "wide=--width 2" oracle \
        --gap source_only oracle --classes road,car --seeds 0,1,2 -- --max_iters 1000

The options after ``--`` are those of all runs. A variant is NAME=OPTIONS, with the options in which
it differs, or only the NAME of a built-in one. The same command continues where it stopped: it
repeats no finished run and resumes an interrupted one. --folder gets results.md (mean and standard
deviation of the target mIoU), results.png, results.json, and a folder for each run.
"""

import json
import math
import re
import shlex
import statistics
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks import markdown_table, several
from utils.command_line import Parser, integer
from utils.errors import UserError
from utils.files import lock_folder, whole_file

ROOT = Path(__file__).parents[1]
SCRIPTS = ("SEAN_GTA5.py", "SEAN_Synthia.py")
VARIANTS = {
    "source_only": "--source_only",
    "no_self_ensembling": "--st_weight 0",
    "no_attention": "--no_attention",
    "sean": "",
    "four_branches": "--classifier_branches 4",
    "oracle": "--oracle",
}
FINAL, CHOSEN = "final teacher", "chosen classes"
Scores = dict[str, float]  # of a run, in percent, by column of the table


def variant(text: str) -> tuple[str, str]:
    """Return a variant's name and options."""
    name, given, options = text.partition("=")
    if not re.fullmatch(r"[\w.-]+", name) or not (given or name in VARIANTS):
        raise ValueError
    return name, options if given else VARIANTS[name]


def read_command(words: Sequence[str]) -> Namespace:
    """Read the command line; ``training`` holds the words after ``--``."""
    split = words.index("--") if "--" in words else len(words)
    parser = Parser(__doc__ or "")
    add = parser.add_argument
    add("--script", choices=SCRIPTS, default=SCRIPTS[0], help="the experiment")
    built_in, known = list(VARIANTS.items()), f"built in: {', '.join(VARIANTS)}"
    add("--variants", nargs="+", type=variant, default=built_in, help=known)
    add("--seeds", type=several(integer(0)), default=(0, 1, 2), help="of the runs (default: 0,1,2)")
    add("--classes", type=several(str), default=(), help="whose mean IoU is a column")
    add("--gap", nargs=2, default=(), help="two variants; how much of their gap each one closes")
    add("--folder", type=Path, default=Path("Snap/ablation"), help="for all output")
    options = parser.parse_args(words[:split], Namespace(training=words[split + 1 :]))
    if not set(options.gap) <= dict(options.variants).keys():
        parser.error(f"--gap {' '.join(options.gap)}: not among the variants")
    return options


def main(words: Sequence[str]) -> None:
    """Read the command line, train what is missing, write the results."""
    options = read_command(words)
    scores: dict[str, list[Scores]] = {}
    with lock_folder(options.folder):
        file = options.folder / "results.json"
        results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        for seed in options.seeds:
            for name, own in options.variants:
                run, folder = f"{name}_seed{seed}", options.folder / f"{name}_seed{seed}"
                words = [options.script, *options.training, *shlex.split(own), "--seed", str(seed)]
                command = shlex.join(words)
                if results.get(run, {}).get("command") != command:
                    train(folder, words)
                score = read_scores(folder, options.classes)
                scores.setdefault(name, []).append(score)
                results[run] = {"command": command, "scores": score}
                with whole_file(file) as opened:
                    opened.write(json.dumps(results, indent=1).encode())
        text = table(scores, options.gap)
        (options.folder / "results.md").write_text(text + "\n", encoding="utf-8")
        plot(scores).savefig(options.folder / "results.png")
    print(f"\n{text}\n\nwritten to {options.folder}: results.md, results.png, results.json")


def train(folder: Path, command: Sequence[str]) -> None:
    """Train one network to the end, or continue; raise UserError unless the run is complete."""
    folder.mkdir(exist_ok=True)
    output = folder / "output.txt"
    print(f"{folder}: started, progress in {output}", flush=True)
    words = [sys.executable, str(ROOT / command[0]), *command[1:]]
    words += ["--resume", "--snapshot_dir", str(folder)]
    with open(output, "wb") as console:
        status = subprocess.run(words, stdout=console, stderr=console).returncode
    if status or "final teacher:" not in output.read_text(encoding="utf-8", errors="replace"):
        raise UserError(
            f"{folder}: the run did not finish, its status is {status}\n"
            f"  see the end of {output}; the same command continues"
        )


def read_scores(folder: Path, classes: Sequence[str] = ()) -> Scores:
    """Return the teacher's scores in metrics.jsonl; raise UserError if any is missing."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [r for r in map(json.loads, lines) if r.get("network") == "teacher"]
    if not records:
        remedy = "give a target with labels, or --data_dir_val after --"
        raise UserError(f"{folder}: the teacher was not scored\n  {remedy}")
    best = max(record["target_miou"] for record in records)
    scores = {FINAL: 100 * records[-1]["target_miou"], "best teacher": 100 * best}
    if classes:
        iou = {name: value for name, value in records[-1]["iou"].items() if value is not None}
        if not set(classes) <= iou.keys():
            raise UserError(f"--classes {','.join(classes)}\n  scored are {', '.join(iou)}")
        scores[CHOSEN] = 100 * statistics.mean(iou[name] for name in classes)
    return scores


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation; the latter is 0 for a single value."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def table(scores: dict[str, list[Scores]], gap: Sequence[str] = ()) -> str:
    """Return mean and standard deviation over the seeds of each variant, as a Markdown table.

    The share of a gap, from one variant to another, is that between the runs of the same seed.
    """
    rows: dict[str, dict[str, str]] = {}
    for name, runs in scores.items():
        rows[name] = {"seeds": str(len(runs))}
        for column in runs[0]:
            mean, spread = mean_and_spread([run[column] for run in runs])
            rows[name][column] = f"{mean:.1f} ± {spread:.1f}"
        for column in [c for c in (FINAL, CHOSEN) if gap and c in runs[0]]:
            shares = [
                100 * (run[column] - low[column]) / (high[column] - low[column] or math.nan)
                for run, low, high in zip(runs, scores[gap[0]], scores[gap[1]], strict=True)
            ]
            mean, spread = mean_and_spread(shares)
            rows[name][f"gap, {column}"] = f"{mean:.0f} ± {spread:.0f} %"
    return markdown_table("target mIoU, %", rows)


def plot(scores: dict[str, list[Scores]]) -> Figure:
    """Draw mean and standard deviation of each variant's final teacher."""
    points = [mean_and_spread([run[FINAL] for run in runs]) for runs in scores.values()]
    figure = Figure(figsize=(8, 1.5 + 0.4 * len(scores)), dpi=120, layout="constrained")
    axes = figure.subplots()
    means, spreads = zip(*points, strict=True)
    axes.errorbar(means, list(scores), xerr=spreads, fmt="o", capsize=4)
    axes.invert_yaxis()
    axes.set_xlabel("target mIoU of the final teacher, %: mean and standard deviation")
    axes.grid(axis="x", color="0.92")
    return figure
