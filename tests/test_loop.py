"""Runs that are stopped, killed, damaged, shared between processes, or diverge."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import SEAN_GTA5
from dataset.demo import write_demo
from model.SEAN import SEANet
from tests.parity import ROOT
from utils.files import load_tensors
from utils.training.run_files import RunFiles

RESULTS = ("GTA_TeacherNet.pth", "GTA_loss.npz")
LOG = "GTA2Cityscapes_log.txt"
MOST = 100_000_000  # bytes to read
LONG = {"max_iters": 6, "checkpoint_interval": 2, "val_interval": 5}
DISTRIBUTED = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


class Ended(NamedTuple):
    status: object
    output: str


def words(data: Path, snapshots: Path, *flags: str, **changes: object) -> list[str]:
    """The options of a short run of a narrow network on tiny images."""
    values: dict[str, object] = {
        "device": "cpu", "restore_from": "none", "data_dir_source": data / "GTA5",
        "data_dir_target": data / "Cityscapes", "input_size": "64,32", "num_workers": 0,
        "input_size_target": "64,32", "max_iters": 3, "snapshot_dir": snapshots, "width": 0.05,
        "learning_rate": 1e-4,
    }  # fmt: skip
    named = [
        str(word) for name, value in (values | changes).items() for word in (f"--{name}", value)
    ]
    return [*named, *flags]


def train(data: Path, snapshots: Path, *flags: str, **changes: object) -> Ended:
    """Run the script in this process, which saves the time to start one."""
    output, status = io.StringIO(), 0
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as redirected:
        patch.setattr(sys, "argv", ["SEAN_GTA5.py", *words(data, snapshots, *flags, **changes)])
        redirected.enter_context(contextlib.redirect_stdout(output))
        redirected.enter_context(contextlib.redirect_stderr(output))
        try:
            SEAN_GTA5.main()
        except SystemExit as ended:
            status = ended.code
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return Ended(status, output.getvalue())


def trained(data: Path, snapshots: Path, *flags: str, **changes: object) -> str:
    """Run the script to its end; return its log."""
    ended = train(data, snapshots, *flags, **changes)
    assert ended.status == 0, ended.output
    return (snapshots / LOG).read_text()


@contextlib.contextmanager
def started(
    arguments: list[str], ready: Callable[[], bool], piped: str = ""
) -> Iterator[subprocess.Popen]:
    """Start the script as a process, and wait until it is ready; ``piped`` is a stream of it."""
    script = [sys.executable, "SEAN_GTA5.py", *arguments]
    streams: dict[str, Any] = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
    streams |= {piped: subprocess.PIPE} if piped else {}
    with subprocess.Popen(script, cwd=ROOT, start_new_session=True, **streams) as process:
        deadline = time.monotonic() + 120
        while not ready() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.poll() is None, "it ended before the signal"
        yield process


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_demo(folder, "gta5", count_source=8, count_target=3, size=(64, 32))
    return folder


def results(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in RESULTS]


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, but for the speed."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("iterations_per_s", None)
    return lines


@pytest.fixture(scope="module")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    snapshots = tmp_path_factory.mktemp("unbroken") / "run"
    trained(data, snapshots, **LONG)
    return snapshots


def test_killed_and_resumed_run_equals_the_unbroken_one(
    data: Path, unbroken: Path, tmp_path: Path
) -> None:
    changes = LONG | {"max_iters": 5000, "num_workers": 1}  # long enough to be killed on the way
    with started(words(data, tmp_path, **changes), (tmp_path / "last.pth").exists) as process:
        second = train(data, tmp_path, "--resume", **LONG)
        workers = psutil.Process(process.pid).children()
        process.kill()
    assert second.status == 2
    assert f"{tmp_path} is in use by process {process.pid}" in second.output
    assert all(worker.is_running() for worker in workers)  # they do not hold the lock
    saved, _ = RunFiles(tmp_path, "GTA").load_last()
    assert saved is not None
    reached = saved["progress"]["iteration"]
    whole = LONG | {"max_iters": reached + 3}
    trained(data, tmp_path, "--resume", **whole)  # with another worker count
    trained(data, tmp_path / "whole", **whole)
    assert results(tmp_path) == results(tmp_path / "whole")
    assert metrics(tmp_path) == metrics(tmp_path / "whole")
    assert [line["iteration"] for line in metrics(unbroken)] == [2, 4, 5, 5, 6, 6]


def test_sigterm_saves_and_resume_ends_equal(data: Path, tmp_path: Path) -> None:
    log = tmp_path / "run" / LOG
    changes: dict[str, object] = {"max_iters": 5000, "val_interval": 5000}
    with started(
        words(data, log.parent, **changes), lambda: log.exists() and "weights:" in log.read_text()
    ) as process:
        os.killpg(process.pid, signal.SIGTERM)  # as torchrun, timeout and batch systems do
    assert process.returncode == 143
    reached = int(re.findall(r"SIGTERM: saved at iteration (\d+)", log.read_text())[0])
    assert not (log.parent / "GTA_TeacherNet.pth").exists()
    changes["max_iters"] = reached + 2
    assert trained(data, log.parent, "--resume", **changes).count("weights: ") == 2
    trained(data, tmp_path / "whole", **changes)
    assert results(log.parent) == results(tmp_path / "whole")


def test_damaged_checkpoint_is_recognized_and_the_one_before_used(
    data: Path, unbroken: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(unbroken, tmp_path / "copy")
    weight = load_tensors(folder / "last.pth", MOST)["teacher"]["features.31.weight"]
    content = bytearray((folder / "last.pth").read_bytes())
    content[content.index(weight.numpy().tobytes())] ^= 1
    (folder / "last.pth").write_bytes(content)
    assert "bad checksum" in trained(data, folder, "--resume", **LONG)
    assert results(folder) == results(unbroken)


def test_a_resumed_run_needs_no_initial_weights(data: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.pth"
    torch.save(SEANet(19, width=0.05).state_dict(), start)
    changes = {"restore_from": start}
    train(data, tmp_path / "run", max_hours=0, **changes)
    start.unlink()
    assert "resumed at iteration 1" in trained(data, tmp_path / "run", "--resume", **changes)
    refused = train(data, tmp_path / "new", "--resume", **changes)
    assert refused.status == 2
    assert f"no weights file {start}" in refused.output


def test_changed_options_are_refused_by_name(data: Path, unbroken: Path) -> None:
    refused = train(data, unbroken, "--resume", **LONG, noise=0.5)
    assert refused.status == 2
    assert "--noise 0.1 -> 0.5" in refused.output
    assert "--restore_from" in refused.output


BEYOND_THE_PAPER = ("--preset", "strong", "--strong_view", "--flip", "--lr_schedule", "poly")


def test_options_beyond_the_paper_are_resumed_to_the_byte(data: Path, tmp_path: Path) -> None:
    trained(data, tmp_path / "whole", *BEYOND_THE_PAPER)
    stopped = train(data, tmp_path / "run", *BEYOND_THE_PAPER, max_hours=0)
    assert "time limit: saved at iteration 1" in stopped.output
    trained(data, tmp_path / "run", *BEYOND_THE_PAPER, "--resume")
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    trained(data, tmp_path / "paper")
    assert results(tmp_path / "paper") != results(tmp_path / "whole")
    longer = train(data, tmp_path / "run", *BEYOND_THE_PAPER, "--resume", max_iters=4)
    assert "iterations 3 -> 4" in longer.output


@pytest.mark.parametrize("flags", [(), BEYOND_THE_PAPER], ids=["paper", "beyond"])
def test_two_processes_train_as_one_with_twice_the_batch(
    flags: tuple[str, ...], data: Path, tmp_path: Path
) -> None:
    settings = {"noise": 0, "attention_threshold": 0.5, "learning_rate": 1e-5}
    trained(data, tmp_path / "one", *flags, batch_size=2, **settings)
    arguments = words(data, tmp_path / "two", *flags, **settings)
    two = subprocess.run(
        [sys.executable, *DISTRIBUTED, "SEAN_GTA5.py", *arguments],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert two.returncode == 0, two.stderr
    history = [np.load(tmp_path / n / "GTA_loss.npz")["loss_hist"] for n in ("one", "two")]
    np.testing.assert_allclose(history[1][:, :3], history[0][:, :3], rtol=1e-5, atol=1e-7)
    teachers = [torch.load(tmp_path / n / "GTA_TeacherNet.pth") for n in ("one", "two")]
    for name, value in teachers[0].items():
        torch.testing.assert_close(teachers[1][name], value, rtol=1e-5, atol=1e-5)
    logs = [(tmp_path / n / "GTA2Cityscapes_log.txt").read_text() for n in ("one", "two")]
    scores = [re.findall(r"target_miou \S+|IoU in %.*", log) for log in logs]
    assert scores[0] == scores[1]
    assert logs[1].count("weights: ") == 1, "one process reports"
    lines = [metrics(tmp_path / n) for n in ("one", "two")]
    assert [line["iteration"] for line in lines[1]] == [3, 3]
    assert lines[1][0]["loss"] == pytest.approx(lines[0][0]["loss"], rel=1e-5)
    assert lines[1][1] == lines[0][1]


def test_a_failing_rank_ends_the_job(data: Path, tmp_path: Path) -> None:
    arguments = words(data, tmp_path / "run", data_dir_source=tmp_path / "no")
    result = subprocess.run(
        [sys.executable, *DISTRIBUTED, "SEAN_GTA5.py", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert result.returncode != 0
    assert "no/images" in result.stderr


def test_divergence_ends_with_names_and_keeps_the_files(data: Path, tmp_path: Path) -> None:
    ended = train(data, tmp_path, learning_rate=1e30, max_iters=8, print_interval=2)
    assert ended.status == 3
    message = ended.output[ended.output.index("error: ") :]
    assert "not finite at iteration 2" in message
    assert re.search(r"images \d+\.png", message)
    assert not (tmp_path / "GTA_TeacherNet.pth").exists()


def test_weights_that_are_not_finite_are_not_saved(data: Path, tmp_path: Path) -> None:
    ended = train(data, tmp_path, learning_rate=1e39, max_iters=2, checkpoint_interval=1)
    assert ended.status == 3
    assert "weights are not finite after iteration 1" in ended.output
    assert not (tmp_path / "last.pth").exists()


def test_an_unreadable_image_loses_no_iteration(data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(data, tmp_path / "spoilt")
    image = folder / "GTA5/images/00004.png"
    whole = image.read_bytes()
    image.write_bytes(b"")
    refused = train(folder, tmp_path / "a", "--no_shuffle", max_iters=5)
    assert refused.status == 2
    assert f"error: cannot read {image}: it is empty\n  replace the file" in refused.output
    assert "Traceback" not in refused.output
    assert load_tensors(tmp_path / "a/last.pth", MOST)["progress"]["iteration"] == 3
    image.write_bytes(whole)
    trained(folder, tmp_path / "a", "--no_shuffle", "--resume", max_iters=5)
    trained(folder, tmp_path / "b", "--no_shuffle", max_iters=5)
    assert results(tmp_path / "a") == results(tmp_path / "b")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_pipe_loses_no_iteration(stream: str, data: Path, tmp_path: Path) -> None:
    last = tmp_path / "run/last.pth"
    changes = {"max_iters": 5000, "val_interval": 3}
    with started(words(data, last.parent, **changes), last.exists, stream) as process:
        getattr(process, stream).close()
    assert process.returncode == 128 + signal.SIGPIPE
    saved = load_tensors(last, MOST)
    reached = saved["progress"]["iteration"]
    assert len(saved["history"]) == reached < 5000
    assert metrics(last.parent)[-1]["iteration"] == reached


def test_other_images_are_refused_when_a_run_goes_on(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    trained(tmp_path / "data", tmp_path / "run")
    for number in range(3, 8):
        (tmp_path / f"data/GTA5/images/0000{number}.png").unlink()
    refused = train(tmp_path / "data", tmp_path / "run", "--resume", max_iters=6)
    assert refused.status == 2
    assert "other source images" in refused.output
    assert "other target" not in refused.output


def test_a_refused_demo_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "Snap/demo/GTA/GTA_TeacherNet.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"an earlier demo's")
    monkeypatch.chdir(tmp_path)
    wrong = ["--demo", "--num_classes", "5", "--width", "0.05"]
    monkeypatch.setattr(sys, "argv", ["SEAN_GTA5.py", *wrong])
    with pytest.raises(SystemExit, match="2"):
        SEAN_GTA5.main()
    assert kept.exists()


def test_oracle_learns_from_the_targets_labels_and_both_networks_are_scored(
    data: Path, tmp_path: Path
) -> None:
    changes = {"data_dir_source": tmp_path / "not there", "score": "both"}
    log = trained(data, tmp_path / "run", "--oracle", max_iters=1, **changes)
    assert f"trains on the val images of {data / 'Cityscapes'} and their labels" in log
    scored = re.findall(r"iteration 1 (\w+) target_miou (\S+)", log)
    assert [name for name, _ in scored] == ["student", "teacher"]
    iou = [line["iou"] for line in metrics(tmp_path / "run") if "iou" in line]
    assert iou[0] != iou[1]
    history = np.load(tmp_path / "run/GTA_loss.npz")["loss_hist"]
    assert history[0, 0] == history[0, 1] > 0 == history[0, 2]


def test_a_target_without_labels_is_adapted_to_and_not_scored(data: Path, tmp_path: Path) -> None:
    photos, folder = tmp_path / "photos", tmp_path / "run"
    (photos / "trip").mkdir(parents=True)
    for name in ("a.JPG", "trip/b.png"):
        Image.new("RGB", (90, 50), "gray").save(photos / name)
    settings = {"data_dir_target": photos, "val_interval": 1, "print_interval": 1, "max_iters": 1}
    unscored = train(data, folder, "--tensorboard", **settings)
    assert unscored.status == 0, unscored.output
    log = (folder / LOG).read_text()
    assert log.count(f"not scored: {photos} has no labels") == 1
    for text in (log, unscored.output):
        assert "target_miou" not in text
        assert "mIoU -1" not in text
    assert {path.name for path in folder.iterdir()} == {
        *(LOG, *RESULTS, "last.pth", "last.previous.pth", "metrics.jsonl", "curves.png"),
        *("tensorboard", ".lock"),
    }
    assert [line["iteration"] for line in metrics(folder)] == [1]


def test_tensorboard_and_metrics_of_a_resumed_run_have_each_step_once(
    data: Path, tmp_path: Path
) -> None:
    settings = {"val_interval": 1, "print_interval": 1}
    trained(data, tmp_path, "--tensorboard", max_iters=1, **settings)
    later = json.dumps(metrics(tmp_path)[0] | {"iteration": 2})
    with open(tmp_path / "metrics.jsonl", "a") as file:  # as a killed process leaves it
        file.write(later + '\n{"iteration": 3, "lo')
    trained(data, tmp_path, "--tensorboard", "--resume", max_iters=2, **settings)
    lines = metrics(tmp_path)
    assert [line["iteration"] for line in lines] == [1, 1, 2, 2]
    assert set(lines[-1]) == {"iteration", "network", "target_miou", "iou"}
    assert lines[-1]["network"] == "teacher"
    assert len(lines[-1]["iou"]) == 19
    assert Image.open(tmp_path / "curves.png").format == "PNG"
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for tag in ("train/loss", "teacher/target_miou"):
        assert [event.step for event in shown.Scalars(tag)] == [1, 2]
    steps = [image.step for tag in shown.Tags()["images"] for image in shown.Images(tag)]
    assert sorted(steps) == [1, 1, 1, 2, 2, 2]


def test_a_scoring_that_fails_costs_no_iteration(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(data, tmp_path / "data")
    label = sorted((tmp_path / "data/Cityscapes/gtFine").rglob("*.png"))[-1]
    label.write_bytes(label.read_bytes()[:-40])
    ended = train(tmp_path / "data", folder, max_iters=2)
    assert ended.status == 2
    assert label.name in ended.output
    assert load_tensors(folder / "last.pth", MOST)["progress"]["iteration"] == 2
    shutil.copytree(data, tmp_path / "data", dirs_exist_ok=True)
    trained(tmp_path / "data", folder, "--resume", max_iters=2)
    assert [line["iteration"] for line in metrics(folder) if "iou" in line] == [2]
    assert len(list(folder.glob("*tgt_miu*.pth"))) == 1
    assert (folder / "GTA_TeacherNet.pth").exists()
