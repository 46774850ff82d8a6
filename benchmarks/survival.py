"""Kill a run at random moments, resume it, and compare the result with an unbroken run's.

    python -m benchmarks survival --kills 50

Every process is ended by SIGKILL at a moment drawn evenly from 60 % of the time that a whole run
takes. Up to ten of them in a row make one run, so that kills fall on its start, its middle and its
end; a last process completes it.
"""

from __future__ import annotations

import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tools.demo import write_demo
from utils.command_line import integer, option, read_options
from utils.errors import UserError

SCRIPT = Path(__file__).parents[1] / "SEAN_GTA5.py"
RESULTS = ("GTA_TeacherNet.pth", "GTA_loss.npz")
KILLS_PER_RUN = 10


@dataclass(frozen=True)
class SurvivalOptions:
    """Options of `survival`."""

    kills: int = option(50, "kills that must hit a running process", integer(1))
    iterations: int = option(8, "of each run", integer(1))
    seed: int = option(0, "of the moments", integer(0))


def main(arguments: Sequence[str]) -> None:
    """Read the command line, kill and resume; exit with 1 if results differ."""
    options = read_options(SurvivalOptions(), __doc__ or "", arguments)
    with tempfile.TemporaryDirectory() as folder:
        if not survive(options, Path(folder)):
            sys.exit(1)


def survive(options: SurvivalOptions, folder: Path) -> bool:
    """Return whether all runs end with the unbroken run's teacher and history, byte by byte."""
    write_demo(folder / "data", "gta5", count_source=8, count_target=3, size=(64, 32))
    start = time.perf_counter()
    run_whole(command(folder / "data", folder / "unbroken", options.iterations))
    duration = time.perf_counter() - start
    print(f"the unbroken run takes {duration:.1f} s", flush=True)
    expected = [(folder / "unbroken" / name).read_bytes() for name in RESULTS]
    rng, hits, runs, equal = random.Random(options.seed), 0, 0, 0
    while hits < options.kills:
        snapshots = folder / f"run{runs}"
        count = min(KILLS_PER_RUN, options.kills - hits)
        moments = [rng.uniform(0, 0.6 * duration) for _ in range(count)]
        hits += run_killed(command(folder / "data", snapshots, options.iterations), moments)
        runs += 1
        equal += [(snapshots / name).read_bytes() for name in RESULTS] == expected
        shutil.rmtree(snapshots)
        print(f"{hits} kills in {runs} runs, {equal} with equal results", flush=True)
    return runs == equal


def command(
    data: Path, snapshots: Path, iterations: int, checkpoint: int = 2, scoring: int = 5
) -> list[str]:
    """Return the command line of a run on tiny images; the last two are intervals."""
    return [
        *(sys.executable, str(SCRIPT), "--device", "cpu", "--restore_from", "none", "--resume"),
        *("--data_dir_source", str(data / "GTA5"), "--data_dir_target", str(data / "Cityscapes")),
        *("--input_size", "64,32", "--input_size_target", "64,32", "--num_workers", "1"),
        *("--checkpoint_interval", str(checkpoint), "--val_interval", str(scoring)),
        *("--max_iters", str(iterations), "--num_epoch", str(iterations)),
        *("--learning_rate", "1e-4", "--snapshot_dir", str(snapshots)),
    ]


def run_whole(words: list[str]) -> None:
    """Let a run end; a status other than 0 is an error, whose message holds what it printed."""
    ended = subprocess.run(words, capture_output=True, text=True)
    if ended.returncode:
        raise UserError(
            f"the run ended with status {ended.returncode}: {' '.join(words)}\n{ended.stderr}"
        )


def run_killed(words: list[str], moments: list[float]) -> int:
    """Start a run once for each moment and kill it then; let it end; return how many were hit."""
    hits = 0
    for moment in moments:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(moment)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            hits += 1
    run_whole(words)
    return hits


def measure_memory(iterations: int) -> None:
    """Train on tiny images, scored every 100 iterations, and print the run's resident memory.

    Exits with 1 if the last quarter of the run takes 5 % more than the second.
    """
    readings = []
    with tempfile.TemporaryDirectory() as folder:
        write_demo(Path(folder), "gta5", count_source=8, count_target=3, size=(64, 32))
        words = command(Path(folder), Path(folder, "run"), iterations, 500, 100)
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                readings.append(psutil.Process(process.pid).memory_info().rss / 2**20)
                time.sleep(0.1)
    if process.returncode:
        raise UserError(f"the run ended with status {process.returncode}\n  see above")
    length = len(readings) // 4
    quarters = [statistics.median(readings[i * length : (i + 1) * length]) for i in range(4)]
    growth = quarters[3] / quarters[1] - 1
    print("resident memory in each quarter of the run, MiB:", *(f"{q:.0f}" for q in quarters))
    print(f"growth from the second to the last: {growth:.2%}")
    if growth >= 0.05:
        sys.exit(1)
