"""Runs that are stopped, killed, damaged or shared by processes; that diverge or lack data."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.SEAN import SEANet
from tests.runs import EXTENSIONS, LOG, ROOT, metrics, results, started, train, trained, words
from utils.files import load_tensors

LONG = {"max_iters": 6, "checkpoint_interval": 2, "val_interval": 5}
SCORED = "Cityscapes/leftImg8bit/val/demo/demo_000002_000019_leftImg8bit.png"


def test_killed_and_resumed_run_equals_the_unbroken_one(domains, tmp_path):
    changes = {"max_iters": 5000, "checkpoint_interval": 2, "val_interval": 25}
    given = words(domains, tmp_path, **changes, num_workers=1)
    with started(given, (tmp_path / "last.pth").exists) as process:
        second = train(domains, tmp_path, "--resume", **LONG)
        workers = psutil.Process(process.pid).children()
        process.kill()
    assert second.status == 2
    assert f"{tmp_path} is in use by another process" in second.output
    assert all(worker.is_running() for worker in workers)  # they do not hold the lock
    # The newer whole checkpoint of the two: a kill between two renames leaves one.
    last = max(tmp_path.glob("last.p*th"))
    changes["max_iters"] = load_tensors(last)["progress"]["iteration"] + 3
    trained(domains, tmp_path, "--resume", **changes, num_workers=2)  # the result is the same
    trained(domains, tmp_path / "whole", **changes)
    assert results(tmp_path) == results(tmp_path / "whole")
    assert metrics(tmp_path) == metrics(tmp_path / "whole")


def test_ctrl_c_while_spawned_workers_start_ends_at_once(domains, tmp_path):
    log = tmp_path / "run" / LOG  # is there just before
    given = words(domains, log.parent, max_iters=5000, num_workers=2)
    with started(given, log.exists, method="spawn") as process:
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 128 + signal.SIGINT


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_saves_and_resume_ends_equal(name, domains, tmp_path):
    method = "spawn" if name == "SIGINT" else "fork"
    log, number = tmp_path / "run" / LOG, getattr(signal, name)
    changes = {"max_iters": 5000, "val_interval": 5000, "num_workers": 1, "print_interval": 1}
    with started(
        words(domains, log.parent, **changes),
        lambda: log.exists() and "cls_loss" in log.read_text(),
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
        (["--restore_from", "none"], "holds an earlier run"),
    ):
        refused = train(domains, run, *EXTENSIONS, *more, **changes)
        assert refused.status == 2
        assert message in refused.output


@pytest.mark.parametrize(
    ("file", "size", "problem", "reached"),
    [("GTA5/images/00004.png", 0, "it is empty\n  replace it", 3), (SCORED, -40, "", 5)],
)
def test_an_unreadable_file_loses_no_iteration(file, size, problem, reached, domains, tmp_path):
    data, run, whole = (tmp_path / name for name in ("data", "run", "whole"))
    spoilt = shutil.copytree(domains, data) / file
    spoilt.write_bytes(spoilt.read_bytes()[:size])
    changes = {"data_dir_target": domains / "Cityscapes", "max_iters": 5}
    refused = train(data, run, "--no_shuffle", **changes, data_dir_val=data / "Cityscapes")
    assert refused.status == 2
    assert f"\nerror: cannot read {spoilt}: {problem}" in refused.output
    assert load_tensors(run / "last.pth")["progress"]["iteration"] == reached
    trained(domains, run, "--no_shuffle", "--resume", **changes)
    trained(domains, whole, "--no_shuffle", **changes)
    assert results(run) == results(whole)
    assert [line["iteration"] for line in metrics(run) if "iou" in line] == [5]
    assert len(list(run.glob("*tgt_miu*.pth"))) == 1


def test_tensorboard_and_metrics_of_a_resumed_run_have_each_step_once(domains, tmp_path):
    settings = {"val_interval": 1, "print_interval": 1}
    trained(domains, tmp_path, "--tensorboard", max_iters=1, **settings)
    later = json.dumps(metrics(tmp_path)[0] | {"iteration": 2})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(later + '\n{"iteration": 3, "lo')  # as a killed process leaves it
    trained(domains, tmp_path, "--tensorboard", "--resume", max_iters=2, **settings)
    lines = metrics(tmp_path)
    assert [line["iteration"] for line in lines] == [1, 1, 2, 2]
    assert len(lines[-1]["iou"]) == 19
    assert Image.open(tmp_path / "curves.png").format == "PNG"
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for tag in ("train/loss", "teacher/target_miou"):
        assert [event.step for event in shown.Scalars(tag)] == [1, 2]
    steps = [image.step for tag in shown.Tags()["images"] for image in shown.Images(tag)]
    assert sorted(steps) == [1, 1, 1, 2, 2, 2]


def distributed(*arguments):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launcher, "SEAN_GTA5.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)


@pytest.mark.parametrize("flags", [(), EXTENSIONS], ids=["paper", "beyond"])
def test_two_processes_train_as_one_with_twice_the_batch(flags, domains, tmp_path):
    settings = {"noise": 0, "attention_threshold": 0.5, "learning_rate": 1e-5}
    one, two = tmp_path / "one", tmp_path / "two"
    trained(domains, one, *flags, batch_size=2, **settings)
    ended = distributed(*words(domains, two, *flags, **settings))
    assert ended.returncode == 0, ended.stderr
    expected, history = (np.load(run / "GTA_loss.npz")["loss_hist"][:, :3] for run in (one, two))
    np.testing.assert_allclose(history, expected, rtol=1e-5, atol=1e-7)
    expected, teacher = (dict(torch.load(run / "GTA_TeacherNet.pth")) for run in (one, two))
    torch.testing.assert_close(teacher, expected, rtol=1e-5, atol=1e-5)
    expected, lines = metrics(one), metrics(two)
    assert lines[0]["loss"] == pytest.approx(expected[0]["loss"], rel=1e-5)
    assert lines[1] == expected[1]  # the scores
    assert (two / LOG).read_text().count("weights: ") == 1, "one process reports"


def test_a_failing_rank_ends_the_job(domains, tmp_path):
    ended = distributed(*words(domains, tmp_path / "run", data_dir_source=tmp_path / "no"))
    assert ended.returncode != 0
    assert "no/images" in ended.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 1e30, "print_interval": 2}, r"at iteration 2\b.*images \d+\.png"),
        ({"learning_rate": 1e39, "checkpoint_interval": 1}, "weights .* after iteration 1"),
    ],
)
def test_divergence_ends_with_names_and_nothing_is_saved(changes, message, domains, tmp_path):
    ended = train(domains, tmp_path, max_iters=8, **changes)
    assert ended.status == 3
    assert re.search(f"error: .*{message}", ended.output, re.S)
    assert not list(tmp_path.glob("*.pth"))


def test_oracle_learns_from_the_targets_labels_and_both_networks_are_scored(domains, tmp_path):
    changes = {"data_dir_source": tmp_path / "not there", "score": "both"}
    log = trained(domains, tmp_path / "run", "--oracle", max_iters=1, **changes)
    assert f"trains on the val images of {domains / 'Cityscapes'} and their labels" in log
    _, student, teacher = metrics(tmp_path / "run")
    assert (student["network"], teacher["network"]) == ("student", "teacher")
    assert student["iou"] != teacher["iou"]
    history = np.load(tmp_path / "run/GTA_loss.npz")["loss_hist"]
    assert history[0, 0] == history[0, 1] > 0 == history[0, 2]


def test_a_target_without_labels_is_adapted_to_and_not_scored(domains, tmp_path):
    photos, folder = tmp_path / "photos", tmp_path / "run"
    (photos / "trip").mkdir(parents=True)
    for name in ("a.JPG", "trip/b.png"):
        Image.new("RGB", (90, 50), "gray").save(photos / name)
    settings = {"data_dir_target": photos, "val_interval": 1, "print_interval": 1, "max_iters": 1}
    log = trained(domains, folder, "--tensorboard", **settings)
    assert log.count(f"not scored: {photos} has no labels") == 1
    assert "target_miou" not in log
    assert {path.name for path in folder.iterdir()} == {
        *("last.pth", "last.previous.pth", "GTA_TeacherNet.pth", "GTA_loss.npz", "tensorboard"),
        *(LOG, "metrics.jsonl", "curves.png", ".lock"),
    }
    assert [line["iteration"] for line in metrics(folder)] == [1]
