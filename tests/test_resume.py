"""Runs that are stopped, killed or damaged, and go on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.SEAN import SEANet
from tests.runs import EXTENSIONS, LOG, ROOT, metrics, results, started, train, trained, words
from utils.files import load_tensors


def newest(folder: Path) -> dict[str, Any]:
    """The newer whole one of the two checkpoints: a kill between two renames leaves one."""
    last = folder / "last.pth"
    return load_tensors(last if last.exists() else folder / "last.previous.pth")


LONG = {"max_iters": 6, "checkpoint_interval": 2, "val_interval": 5}


def test_killed_and_resumed_run_equals_the_unbroken_one(domains: Path, tmp_path: Path) -> None:
    changes = LONG | {"max_iters": 5000, "num_workers": 1}  # long enough to be killed on the way
    with started(words(domains, tmp_path, **changes), (tmp_path / "last.pth").exists) as process:
        second = train(domains, tmp_path, "--resume", **LONG)
        workers = psutil.Process(process.pid).children()
        process.kill()
    assert second.status == 2
    assert f"{tmp_path} is in use by another process" in second.output
    assert all(worker.is_running() for worker in workers)  # they do not hold the lock
    saved = newest(tmp_path)
    reached = saved["progress"]["iteration"]
    whole = LONG | {"max_iters": reached + 3}
    other = {"num_workers": 2}  # the result is the same
    trained(domains, tmp_path, "--resume", **whole | other)
    trained(domains, tmp_path / "whole", **whole)
    assert results(tmp_path) == results(tmp_path / "whole")
    assert metrics(tmp_path) == metrics(tmp_path / "whole")


@pytest.mark.parametrize(
    ("name", "method"), [("SIGTERM", "fork"), ("SIGINT", "spawn"), ("SIGHUP", "fork")]
)
def test_a_signal_saves_and_resume_ends_equal(
    name: str, method: str, domains: Path, tmp_path: Path
) -> None:
    log, number = tmp_path / "run" / LOG, getattr(signal, name)
    changes: dict[str, object] = {"max_iters": 5000, "val_interval": 5000, "num_workers": 1}
    with started(
        words(domains, log.parent, **changes),
        lambda: log.exists() and "weights:" in log.read_text(),
        method=method,
    ) as process:
        os.killpg(process.pid, number)  # as terminals, torchrun, timeout and batch systems do
    assert process.returncode == 128 + number
    reached = int(re.findall(rf"{name}: saved at iteration (\d+)", log.read_text())[0])
    assert not (log.parent / "GTA_TeacherNet.pth").exists()
    changes["max_iters"] = reached + 2
    assert trained(domains, log.parent, "--resume", **changes).count("weights: ") == 2
    trained(domains, tmp_path / "whole", **changes)
    assert results(log.parent) == results(tmp_path / "whole")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_pipe_loses_no_iteration(stream: str, domains: Path, tmp_path: Path) -> None:
    last = tmp_path / "run/last.pth"
    changes = {"max_iters": 5000, "val_interval": 3}
    with started(words(domains, last.parent, **changes), last.exists, stream) as process:
        getattr(process, stream).close()
    assert process.returncode == 128 + signal.SIGPIPE
    saved = load_tensors(last)
    reached = saved["progress"]["iteration"]
    assert len(saved["history"]) == reached < 5000
    assert metrics(last.parent)[-1]["iteration"] == reached


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_console_on_a_full_disk_loses_no_iteration(domains: Path, tmp_path: Path) -> None:
    command = [sys.executable, "SEAN_GTA5.py", *words(domains, tmp_path)]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2
    assert "\nerror: cannot write the output: No space left on device\n  " in ended.stderr
    assert (tmp_path / "last.pth").exists()


def test_damaged_checkpoint_is_recognized_and_the_one_before_used(
    domains: Path, tmp_path: Path
) -> None:
    trained(domains, tmp_path, **LONG)
    unbroken, last = results(tmp_path), tmp_path / "last.pth"
    weight = load_tensors(last)["teacher"]["features.31.weight"]
    content = bytearray(last.read_bytes())
    content[content.index(weight.numpy().tobytes())] ^= 1
    last.write_bytes(content)
    assert "bad checksum" in trained(domains, tmp_path, "--resume", **LONG)
    assert results(tmp_path) == unbroken
    assert [line["iteration"] for line in metrics(tmp_path)] == [2, 4, 5, 5, 6, 6]


def test_a_resumed_run_needs_no_initial_weights(domains: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.pth"
    torch.save(SEANet(19, width=0.05).state_dict(), start)
    changes = {"restore_from": start}
    train(domains, tmp_path / "run", max_hours=0, **changes)
    start.unlink()
    assert "resumed at iteration 1" in trained(domains, tmp_path / "run", "--resume", **changes)
    refused = train(domains, tmp_path / "new", "--resume", **changes)
    assert refused.status == 2
    assert f"no weights file {start}" in refused.output


def test_options_beyond_the_paper_are_resumed_to_the_byte(domains: Path, tmp_path: Path) -> None:
    trained(domains, tmp_path / "whole", *EXTENSIONS)
    stopped = train(domains, tmp_path / "run", *EXTENSIONS, max_hours=0)
    assert "time limit: saved at iteration 1" in stopped.output
    trained(domains, tmp_path / "run", *EXTENSIONS, "--resume")
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    trained(domains, tmp_path / "paper")
    assert results(tmp_path / "paper") != results(tmp_path / "whole")
    longer = train(domains, tmp_path / "run", *EXTENSIONS, "--resume", max_iters=4)
    assert "iterations 3 -> 4" in longer.output


def test_an_unreadable_image_loses_no_iteration(domains: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(domains, tmp_path / "spoilt")
    image = folder / "GTA5/images/00004.png"
    whole = image.read_bytes()
    image.write_bytes(b"")
    refused = train(folder, tmp_path / "a", "--no_shuffle", max_iters=5)
    assert refused.status == 2
    assert f"\nerror: cannot read {image}: it is empty\n  replace the file" in refused.output
    assert "Traceback" not in refused.output
    assert load_tensors(tmp_path / "a/last.pth")["progress"]["iteration"] == 3
    image.write_bytes(whole)
    trained(folder, tmp_path / "a", "--no_shuffle", "--resume", max_iters=5)
    trained(folder, tmp_path / "b", "--no_shuffle", max_iters=5)
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_a_scoring_that_fails_costs_no_iteration(domains: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(domains, tmp_path / "data")
    label = sorted((tmp_path / "data/Cityscapes/gtFine").rglob("*.png"))[-1]
    label.write_bytes(label.read_bytes()[:-40])
    ended = train(tmp_path / "data", folder, max_iters=2)
    assert ended.status == 2
    assert label.name in ended.output
    assert load_tensors(folder / "last.pth")["progress"]["iteration"] == 2
    shutil.copytree(domains, tmp_path / "data", dirs_exist_ok=True)
    trained(tmp_path / "data", folder, "--resume", max_iters=2)
    assert [line["iteration"] for line in metrics(folder) if "iou" in line] == [2]
    assert len(list(folder.glob("*tgt_miu*.pth"))) == 1
    assert (folder / "GTA_TeacherNet.pth").exists()


def test_tensorboard_and_metrics_of_a_resumed_run_have_each_step_once(
    domains: Path, tmp_path: Path
) -> None:
    settings = {"val_interval": 1, "print_interval": 1}
    trained(domains, tmp_path, "--tensorboard", max_iters=1, **settings)
    later = json.dumps(metrics(tmp_path)[0] | {"iteration": 2})
    with open(tmp_path / "metrics.jsonl", "a") as file:  # as a killed process leaves it
        file.write(later + '\n{"iteration": 3, "lo')
    trained(domains, tmp_path, "--tensorboard", "--resume", max_iters=2, **settings)
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
