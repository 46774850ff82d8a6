"""Runs that are stopped, killed, damaged, shared between processes, or diverge."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.survival import command, run_killed
from dataset.demo import write_demo
from tests.parity import ROOT, run
from utils.files import load_tensors

RESULTS = ("GTA_TeacherNet.pth", "GTA_loss.npz")
ITERATIONS = 6


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
    subprocess.run(command(data, snapshots, ITERATIONS), check=True, cwd=ROOT, capture_output=True)
    return snapshots


def test_killed_and_resumed_run_equals_the_unbroken_one(
    data: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = command(data, tmp_path / "run", ITERATIONS)
    hits = 0
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run/last.pth").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    if process.poll() is None:
        process.kill()
        hits += 1
    process.wait()
    assert hits == 1
    run_killed([*words, "--num_workers", "0"], [])  # as well with another worker count
    assert results(tmp_path / "run") == results(unbroken)
    assert metrics(tmp_path / "run") == metrics(unbroken)
    assert [line["iteration"] for line in metrics(unbroken)] == [2, 4, 5, 5, 6, 6]


def test_sigterm_saves_and_resume_ends_equal(data: Path, unbroken: Path, tmp_path: Path) -> None:
    words = command(data, tmp_path / "run", ITERATIONS)
    words[words.index("--checkpoint_interval") + 1] = "500"
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 120
    log = tmp_path / "run/GTA2Cityscapes_log.txt"
    while time.monotonic() < deadline and not (log.exists() and "weights:" in log.read_text()):
        time.sleep(0.02)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGTERM)  # as torchrun, timeout and batch systems do
    process.communicate(timeout=120)
    assert process.returncode == 143
    assert "SIGTERM: saved at iteration" in log.read_text()
    assert not (tmp_path / "run/GTA_TeacherNet.pth").exists()
    subprocess.run(words, check=True, cwd=ROOT, capture_output=True)
    assert results(tmp_path / "run") == results(unbroken)
    assert log.read_text().count("weights: ") == 2


def copy_of(run_folder: Path, tmp_path: Path) -> Path:
    """A copy by hard links, so that nothing done to it by renaming reaches the original."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in run_folder.iterdir():
        os.link(file, folder / file.name)
    return folder


def test_damaged_checkpoint_is_recognized_and_the_one_before_used(
    data: Path, unbroken: Path, tmp_path: Path
) -> None:
    folder = copy_of(unbroken, tmp_path)
    content = bytearray((folder / "last.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "last.pth").unlink()
    (folder / "last.pth").write_bytes(bytes(content))
    result = subprocess.run(
        command(data, folder, ITERATIONS), check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert "bad checksum" in result.stdout + result.stderr
    assert results(folder) == results(unbroken)


def test_changed_options_are_refused_by_name(data: Path, unbroken: Path, tmp_path: Path) -> None:
    folder = copy_of(unbroken, tmp_path)
    words = [*command(data, folder, ITERATIONS), "--noise", "0.5"]
    refused = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--noise 0.1 -> 0.5" in refused.stderr
    assert "--restore_from" in refused.stderr


def options(data: Path, snapshots: Path, **changes: object) -> list[object]:
    values: dict[str, object] = {
        "device": "cpu", "restore_from": "none", "data_dir_source": data / "GTA5",
        "data_dir_target": data / "Cityscapes", "input_size": "64,32", "num_workers": 0,
        "input_size_target": "64,32", "max_iters": 3, "snapshot_dir": snapshots,
    }  # fmt: skip
    return [word for key, value in (values | changes).items() for word in (f"--{key}", value)]


def test_two_processes_train_as_one_with_twice_the_batch(data: Path, tmp_path: Path) -> None:
    settings = {"noise": 0, "attention_threshold": 0.5, "learning_rate": 1e-5}
    one = run("SEAN_GTA5.py", *options(data, tmp_path / "one", batch_size=2, **settings))
    assert one.returncode == 0, one.stderr
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words = map(str, options(data, tmp_path / "two", batch_size=1, **settings))
    two = subprocess.run(
        [*launcher, "--nproc_per_node", "2", "SEAN_GTA5.py", *words],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
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
    words = map(str, options(data, tmp_path / "run", data_dir_source=tmp_path / "no"))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    start = time.monotonic()
    result = subprocess.run(
        [*launcher, "--nproc_per_node", "2", "SEAN_GTA5.py", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert result.returncode != 0
    assert "no/images" in result.stderr
    assert time.monotonic() - start < 150


def test_divergence_ends_with_names_and_keeps_the_files(data: Path, tmp_path: Path) -> None:
    result = run(
        "SEAN_GTA5.py",
        *options(data, tmp_path, learning_rate=1e30, max_iters=8, print_interval=2),
    )
    assert result.returncode == 3
    message = result.stderr[result.stderr.index("error: ") :]
    assert "not finite at iteration 2" in message
    assert re.search(r"images \d+\.png", message)
    assert not (tmp_path / "GTA_TeacherNet.pth").exists()


def test_weights_that_are_not_finite_are_not_saved(data: Path, tmp_path: Path) -> None:
    settings = {"learning_rate": 1e39, "max_iters": 2, "checkpoint_interval": 1}
    result = run("SEAN_GTA5.py", *options(data, tmp_path, **settings))
    assert result.returncode == 3
    assert "weights are not finite after iteration 1" in result.stderr
    assert not (tmp_path / "last.pth").exists()


def test_an_unreadable_image_loses_no_iteration(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(data, folder)
    image = folder / "GTA5/images/00004.png"
    whole = image.read_bytes()
    image.write_bytes(b"")
    words = [*options(folder, tmp_path / "a", max_iters=5), "--no_shuffle"]
    refused = run("SEAN_GTA5.py", *words)
    assert refused.returncode == 2
    assert f"error: cannot read {image}: it is empty\n  replace the file" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert load_tensors(tmp_path / "a/last.pth")["progress"]["iteration"] == 3
    image.write_bytes(whole)
    resumed = run("SEAN_GTA5.py", *words, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    words[words.index(tmp_path / "a")] = tmp_path / "b"
    unbroken = run("SEAN_GTA5.py", *words)
    assert unbroken.returncode == 0, unbroken.stderr
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_other_images_are_refused_when_a_run_goes_on(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    run_folder = tmp_path / "run"
    first = run("SEAN_GTA5.py", *options(tmp_path / "data", run_folder, max_iters=5))
    assert first.returncode == 0, first.stderr
    for number in range(3, 8):
        (tmp_path / f"data/GTA5/images/0000{number}.png").unlink()
    words = options(tmp_path / "data", run_folder, max_iters=6)
    refused = run("SEAN_GTA5.py", *words, "--resume")
    assert refused.returncode == 2
    assert "other source images" in refused.stderr
    assert "target" not in refused.stderr


def test_a_refused_demo_leaves_the_earlier_one(tmp_path: Path) -> None:
    kept = tmp_path / "Snap/demo/GTA/GTA_TeacherNet.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"an earlier demo's")
    words = [sys.executable, str(ROOT / "SEAN_GTA5.py"), "--demo", "--num_classes", "5"]
    result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2, result.stderr
    assert kept.exists()


def test_oracle_learns_from_the_targets_labels_and_both_networks_are_scored(
    data: Path, tmp_path: Path
) -> None:
    words = [*command(data, tmp_path / "run", 1), "--oracle", "--score", "both"]
    words[words.index("--data_dir_source") + 1] = str(tmp_path / "not there")
    subprocess.run(words, check=True, cwd=ROOT, capture_output=True)
    log = next((tmp_path / "run").glob("*_log.txt")).read_text()
    assert f"trains on the val images of {data / 'Cityscapes'} and their labels" in log
    scored = re.findall(r"iteration 1 (\w+) target_miou (\S+)", log)
    assert [name for name, _ in scored] == ["student", "teacher"]
    assert scored[0][1] != scored[1][1]
    history = np.load(tmp_path / "run/GTA_loss.npz")["loss_hist"]
    assert history[0, 0] == history[0, 1] > 0 == history[0, 2]


def test_a_target_without_labels_is_adapted_to_and_not_scored(data: Path, tmp_path: Path) -> None:
    photos, run_folder = tmp_path / "photos", tmp_path / "run"
    (photos / "trip").mkdir(parents=True)
    for name in ("a.JPG", "trip/b.png"):
        Image.new("RGB", (90, 50), "gray").save(photos / name)
    settings = {"data_dir_target": photos, "val_interval": 1, "print_interval": 1}
    words = [*options(data, run_folder, max_iters=1, **settings), "--tensorboard"]
    unscored = run("SEAN_GTA5.py", *words)
    assert unscored.returncode == 0, unscored.stderr
    log = (run_folder / "GTA2Cityscapes_log.txt").read_text()
    assert log.count(f"not scored: {photos} has no labels") == 1
    for text in (log, unscored.stdout, unscored.stderr):
        assert "target_miou" not in text
        assert "mIoU -1" not in text
    assert {path.name for path in run_folder.iterdir()} == {
        *("GTA2Cityscapes_log.txt", "GTA_TeacherNet.pth", "GTA_loss.npz", "last.pth"),
        *("last.previous.pth", "metrics.jsonl", "curves.png", "tensorboard"),
    }
    assert [line["iteration"] for line in metrics(run_folder)] == [1]


def test_tensorboard_and_metrics_of_a_resumed_run_have_each_step_once(
    data: Path, tmp_path: Path
) -> None:
    run_folder = tmp_path / "run"
    settings = {"val_interval": 1, "print_interval": 1}
    first = run(
        "SEAN_GTA5.py", *options(data, run_folder, max_iters=1, **settings), "--tensorboard"
    )
    assert first.returncode == 0, first.stderr
    with open(run_folder / "metrics.jsonl", "a") as file:  # as a killed process leaves it
        file.write('{"iteration": 2, "loss": 9}\n{"iteration": 3, "lo')
    words = [*options(data, run_folder, max_iters=2, **settings), "--tensorboard", "--resume"]
    second = run("SEAN_GTA5.py", *words)
    assert second.returncode == 0, second.stderr
    lines = metrics(run_folder)
    assert [line["iteration"] for line in lines] == [1, 1, 2, 2]
    assert set(lines[-1]) == {"iteration", "network", "target_miou", "iou"}
    assert lines[-1]["network"] == "teacher"
    assert len(lines[-1]["iou"]) == 19
    assert Image.open(run_folder / "curves.png").format == "PNG"
    shown = EventAccumulator(str(run_folder / "tensorboard")).Reload()
    for tag in ("train/loss", "teacher/target_miou"):
        assert [event.step for event in shown.Scalars(tag)] == [1, 2]
    steps = [image.step for tag in shown.Tags()["images"] for image in shown.Images(tag)]
    assert sorted(steps) == [1, 1, 1, 2, 2, 2]


def test_a_scoring_that_fails_costs_no_iteration(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    label = sorted((tmp_path / "data/Cityscapes/gtFine").rglob("*.png"))[-1]
    label.write_bytes(label.read_bytes()[:-40])
    words = [*command(tmp_path / "data", tmp_path / "run", 2), "--checkpoint_interval", "500"]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert label.name in result.stderr
    assert load_tensors(tmp_path / "run/last.pth")["progress"]["iteration"] == 2
    shutil.copytree(data, tmp_path / "data", dirs_exist_ok=True)
    mended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert mended.returncode == 0, mended.stderr
    scored = [line for line in metrics(tmp_path / "run") if "target_miou" in line]
    assert [line["iteration"] for line in scored] == [2]
    assert len(list((tmp_path / "run").glob("*tgt_miu*.pth"))) == 1
    assert (tmp_path / "run/GTA_TeacherNet.pth").exists()
