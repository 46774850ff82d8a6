"""Runs that are stopped, killed or damaged, and go on."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.SEAN import SEANet
from tests.runs import EXTENSIONS, LOG, ROOT, metrics, results, started, train, trained, words
from utils.files import load_tensors

LONG = {"max_iters": 6, "checkpoint_interval": 2, "val_interval": 5}


def test_killed_and_resumed_run_equals_the_unbroken_one(domains, tmp_path):
    changes = LONG | {"max_iters": 5000, "num_workers": 1}  # long enough to be killed on the way
    with started(words(domains, tmp_path, **changes), (tmp_path / "last.pth").exists) as process:
        second = train(domains, tmp_path, "--resume", **LONG)
        workers = psutil.Process(process.pid).children()
        process.kill()
    assert second.status == 2
    assert f"{tmp_path} is in use by another process" in second.output
    assert all(worker.is_running() for worker in workers)  # they do not hold the lock
    # The newer whole checkpoint of the two: a kill between two renames leaves one.
    last = max(tmp_path.glob("last.p*th"))
    changes = LONG | {"max_iters": load_tensors(last)["progress"]["iteration"] + 3}
    trained(domains, tmp_path, "--resume", **changes, num_workers=2)  # the result is the same
    trained(domains, tmp_path / "whole", **changes)
    assert results(tmp_path) == results(tmp_path / "whole")
    assert metrics(tmp_path) == metrics(tmp_path / "whole")


@pytest.mark.parametrize(("name", "method"), [("SIGTERM", "fork"), ("SIGINT", "spawn")])
def test_a_signal_saves_and_resume_ends_equal(name, method, domains, tmp_path):
    log, number = tmp_path / "run" / LOG, getattr(signal, name)
    changes = {"max_iters": 5000, "val_interval": 5000, "num_workers": 1, "print_interval": 1}
    with started(
        words(domains, log.parent, **changes),
        lambda: log.exists() and "epoch 0 batch" in log.read_text(),
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
def test_a_closed_pipe_loses_no_iteration(stream, domains, tmp_path):
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
def test_a_console_on_a_full_disk_loses_no_iteration(domains, tmp_path):
    command = [sys.executable, "SEAN_GTA5.py", *words(domains, tmp_path)]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2
    assert "\nerror: cannot write the output: No space left on device\n  " in ended.stderr
    assert (tmp_path / "last.pth").exists()


def test_damaged_checkpoint_is_recognized_and_the_one_before_used(domains, tmp_path):
    trained(domains, tmp_path, **LONG)
    unbroken, last = results(tmp_path), tmp_path / "last.pth"
    weight = load_tensors(last)["teacher"]["features.31.weight"]
    content = bytearray(last.read_bytes())
    content[content.index(weight.numpy().tobytes())] ^= 1
    last.write_bytes(content)
    assert "bad checksum" in trained(domains, tmp_path, "--resume", **LONG)
    assert results(tmp_path) == unbroken
    assert [line["iteration"] for line in metrics(tmp_path)] == [2, 4, 5, 5, 6, 6]


def test_options_beyond_the_paper_are_resumed_to_the_byte_without_first_weights(domains, tmp_path):
    start, run, whole = tmp_path / "start.pth", tmp_path / "run", tmp_path / "whole"
    torch.save(SEANet(19, width=0.05).state_dict(), start)
    changes = {"restore_from": start}
    trained(domains, whole, *EXTENSIONS, **changes)
    stopped = train(domains, run, *EXTENSIONS, max_hours=0, **changes)
    assert "time limit: saved at iteration 1" in stopped.output
    start.unlink()
    log = trained(domains, run, *EXTENSIONS, "--resume", **changes)
    assert "resumed at iteration 1" in log
    assert results(run) == results(whole)
    for more, message in (
        (["--resume", "--max_iters", 4], "iterations 3 -> 4"),
        (["--resume", "--noise", 3], "--noise 0.1 -> 3"),
        ([], "holds an earlier run"),
    ):
        refused = train(domains, run, *EXTENSIONS, *more, **changes)
        assert refused.status == 2
        assert message in refused.output


def test_an_unreadable_image_loses_no_iteration(domains, tmp_path):
    data, run, whole = (tmp_path / name for name in ("data", "run", "whole"))
    image = shutil.copytree(domains, data) / "GTA5/images/00004.png"
    image.write_bytes(b"")
    refused = train(data, run, "--no_shuffle", max_iters=5)
    assert refused.status == 2
    assert f"\nerror: cannot read {image}: it is empty\n  replace the file" in refused.output
    assert load_tensors(run / "last.pth")["progress"]["iteration"] == 3
    trained(domains, run, "--no_shuffle", "--resume", max_iters=5)
    trained(domains, whole, "--no_shuffle", max_iters=5)
    assert results(run) == results(whole)


def test_a_scoring_that_fails_costs_no_iteration(domains, tmp_path):
    data, run = shutil.copytree(domains, tmp_path / "data"), tmp_path / "run"
    label = max((data / "Cityscapes/gtFine").rglob("*.png"))
    label.write_bytes(label.read_bytes()[:-40])
    ended = train(data, run, max_iters=2)
    assert ended.status == 2
    assert label.name in ended.output
    assert load_tensors(run / "last.pth")["progress"]["iteration"] == 2
    trained(domains, run, "--resume", max_iters=2)
    assert [line["iteration"] for line in metrics(run) if "iou" in line] == [2]
    assert len(list(run.glob("*tgt_miu*.pth"))) == 1
    assert (run / "GTA_TeacherNet.pth").exists()


def test_tensorboard_and_metrics_of_a_resumed_run_have_each_step_once(domains, tmp_path):
    settings = {"val_interval": 1, "print_interval": 1}
    trained(domains, tmp_path, "--tensorboard", max_iters=1, **settings)
    later = json.dumps(metrics(tmp_path)[0] | {"iteration": 2})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(later + '\n{"iteration": 3, "lo')  # as a killed process leaves it
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
