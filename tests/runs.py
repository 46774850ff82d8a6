"""Programs run in this process, short training runs, and what they read and write."""

import contextlib
import io
import itertools
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import SEAN_GTA5
from model.checkpoint import CheckpointInfo, released
from utils.files import save_tensors

ROOT = Path(__file__).parents[1]
LOG = "GTA2Cityscapes_log.txt"
EXTENSIONS = ("--augment", "--color_matching", "--lr_schedule", "poly")
"""Options beyond the paper; each is run in two processes and resumed: add yours."""


def run_main(program, *words):
    """Run a program in this process, which saves the time to start one; return its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["program", *map(str, words)])
        try:
            program()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def run_silently(program, *words):
    """Run a program in this process; return its exit status and all that it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = run_main(program, *words)
    return SimpleNamespace(status=status, output=output.getvalue())


def refusal(capture, program, *words):
    """Run a program that must refuse its input; return its one message, which has a remedy."""
    capture.readouterr()
    assert run_main(program, *words) == 2
    errors = capture.readouterr().err
    assert errors.count("error: ") == 1, errors
    errors = errors[errors.index("error: ") :]  # after the progress bar
    assert "Traceback" not in errors
    assert "\n  " in errors, "no remedy"
    return errors


def contents(folder, *besides):
    """What the files of a folder hold, by their paths in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in besides
    }


def read(path, mode=None):
    """The pixels of an image file, as they are stored or in a mode of Pillow."""
    picture = Image.open(path)
    return np.asarray(picture.convert(mode) if mode else picture)


@contextlib.contextmanager
def full_disk(after):
    """Let no file of this process grow beyond a size, in bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def save_network(path, network, space, size, protocol=""):
    """Write a checkpoint that describes itself."""
    info = CheckpointInfo.of(network, space.names, space.colors, size, protocol)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(path, released(network, info))
    return path


def words(data, snapshots, *flags, **changes):
    """The options of a short run of a narrow network on tiny images."""
    values = {
        "device": "cpu", "restore_from": "none", "data_dir_source": data / "GTA5",
        "data_dir_target": data / "Cityscapes", "input_size": "64,32", "num_workers": 0,
        "input_size_target": "64,32", "max_iters": 3, "snapshot_dir": snapshots, "width": 0.05,
        "learning_rate": 1e-4,
    }  # fmt: skip
    pairs = ((f"--{name}", str(value)) for name, value in (values | changes).items())
    return [*itertools.chain(*pairs), *map(str, flags)]


def scoring_words(checkpoint, data, folder, *more):
    """The options of evaluation.py."""
    words = ["--data_dir", data, "--restore_from", checkpoint, "--snapshot_dir", folder]
    return [*words, "--device", "cpu", "--num_workers", 0, *more]


def train(data, snapshots, *flags, **changes):
    return run_silently(SEAN_GTA5.main, *words(data, snapshots, *flags, **changes))


def trained(data, snapshots, *flags, **changes):
    """Train to the end; return the log."""
    ended = train(data, snapshots, *flags, **changes)
    assert ended.status == 0, ended.output
    return (snapshots / LOG).read_text()


@contextlib.contextmanager
def started(arguments, ready, piped="", method="fork"):
    """Start the script, and wait until it is ready; ``method`` starts its workers."""
    script = [sys.executable, "-c", f"""if True:
        import multiprocessing, SEAN_GTA5
        multiprocessing.set_start_method({method!r})
        SEAN_GTA5.main()""", *arguments]  # fmt: skip
    streams = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
    streams |= {piped: subprocess.PIPE} if piped else {}
    with subprocess.Popen(script, cwd=ROOT, start_new_session=True, **streams) as process:
        deadline = time.monotonic() + 120
        while not ready() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.poll() is None, "it ended before the signal"
        yield process


def results(folder):
    return [(folder / name).read_bytes() for name in ("GTA_TeacherNet.pth", "GTA_loss.npz")]


def metrics(folder):
    """The lines of metrics.jsonl, but for the speed."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("iterations_per_s", None)
    return lines
