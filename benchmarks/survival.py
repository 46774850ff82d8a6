"""Kill a run at random moments, resume it, and compare the result with an unbroken run's.

    python -m benchmarks.survival --kills 50

Every process is ended by SIGKILL at a moment drawn evenly from 60 % of the time that the whole run
takes; up to ten processes in a row make one run, each going on where the last one was killed, so
that kills fall on its start, its middle and its end; a last process brings it to its end.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dataset.demo import write_demo
from utils.command_line import Parser, integer
from utils.training.log import fail

SCRIPT = Path(__file__).parents[1] / "SEAN_GTA5.py"
RESULTS = ("GTA_TeacherNet.pth", "GTA_loss.npz")
KILLS_A_RUN = 10


def command(data: Path, snapshots: Path, iterations: int) -> list[str]:
    """The short run: tiny images, a checkpoint every second iteration."""
    return [
        *(sys.executable, str(SCRIPT), "--device", "cpu", "--restore_from", "none", "--resume"),
        *("--data_dir_source", str(data / "GTA5"), "--data_dir_target", str(data / "Cityscapes")),
        *("--input_size", "64,32", "--input_size_target", "64,32", "--num_workers", "1"),
        *("--max_iters", str(iterations), "--checkpoint_interval", "2", "--val_interval", "5"),
        *("--learning_rate", "1e-4", "--snapshot_dir", str(snapshots)),
    ]


def run_whole(words: list[str]) -> None:
    """Let a run come to its end.

    Raises:
        SystemExit: it ended with another status than 0; what it said is printed.
    """
    ended = subprocess.run(words, capture_output=True, text=True)
    if ended.returncode:
        fail(f"the run ended with status {ended.returncode}: {' '.join(words)}\n{ended.stderr}")


def run_killed(words: list[str], moments: list[float]) -> int:
    """Start a run once for each moment and kill it then, unless it ends before; let it end.

    Returns:
        How many kills hit a process that was still running.
    """
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


def survive(kills: int, iterations: int, seed: int, folder: Path) -> tuple[int, int, int]:
    """Kill and resume until enough kills have hit.

    Returns:
        Kills that hit, runs, and runs whose teacher and history equal the unbroken run's.
    """
    write_demo(folder / "data", "gta5", count_source=8, count_target=3, size=(64, 32))
    unbroken = folder / "unbroken"
    start = time.perf_counter()
    run_whole(command(folder / "data", unbroken, iterations))
    duration = time.perf_counter() - start
    print(f"the unbroken run takes {duration:.1f} s", flush=True)
    expected = [(unbroken / name).read_bytes() for name in RESULTS]
    rng, hits, runs, equal = random.Random(seed), 0, 0, 0
    while hits < kills:
        snapshots = folder / f"run{runs}"
        moments = [rng.uniform(0, 0.6 * duration) for _ in range(min(KILLS_A_RUN, kills - hits))]
        hits += run_killed(command(folder / "data", snapshots, iterations), moments)
        runs += 1
        equal += [(snapshots / name).read_bytes() for name in RESULTS] == expected
        shutil.rmtree(snapshots)
        print(f"{hits} kills in {runs} runs, {equal} ended equal to the byte", flush=True)
    return hits, runs, equal


def main() -> None:
    """Read the command line; exits with 1 if a run ended otherwise."""
    parser = Parser(__doc__ or "")
    parser.add_argument("--kills", type=integer(1), default=50)
    parser.add_argument("--iterations", type=integer(1), default=8)
    parser.add_argument("--seed", type=integer(0), default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _, runs, equal = survive(options.kills, options.iterations, options.seed, Path(folder))
    sys.exit(runs != equal)


if __name__ == "__main__":
    main()
