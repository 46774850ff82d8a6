"""Runs that are shared between processes, diverge, or have no source or no labels."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests.runs import EXTENSIONS, LOG, RESULTS, ROOT, metrics, train, trained, words

DISTRIBUTED = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.mark.parametrize("flags", [(), EXTENSIONS], ids=["paper", "beyond"])
def test_two_processes_train_as_one_with_twice_the_batch(flags, domains, tmp_path):
    settings = {"noise": 0, "attention_threshold": 0.5, "learning_rate": 1e-5}
    trained(domains, tmp_path / "one", *flags, batch_size=2, **settings)
    arguments = words(domains, tmp_path / "two", *flags, **settings)
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


def test_a_failing_rank_ends_the_job(domains, tmp_path):
    arguments = words(domains, tmp_path / "run", data_dir_source=tmp_path / "no")
    result = subprocess.run(
        [sys.executable, *DISTRIBUTED, "SEAN_GTA5.py", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert result.returncode != 0
    assert "no/images" in result.stderr


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
    scored = re.findall(r"iteration 1 (\w+) target_miou (\S+)", log)
    assert [name for name, _ in scored] == ["student", "teacher"]
    iou = [line["iou"] for line in metrics(tmp_path / "run") if "iou" in line]
    assert iou[0] != iou[1]
    history = np.load(tmp_path / "run/GTA_loss.npz")["loss_hist"]
    assert history[0, 0] == history[0, 1] > 0 == history[0, 2]


def test_a_target_without_labels_is_adapted_to_and_not_scored(domains, tmp_path):
    photos, folder = tmp_path / "photos", tmp_path / "run"
    (photos / "trip").mkdir(parents=True)
    for name in ("a.JPG", "trip/b.png"):
        Image.new("RGB", (90, 50), "gray").save(photos / name)
    settings = {"data_dir_target": photos, "val_interval": 1, "print_interval": 1, "max_iters": 1}
    unscored = train(domains, folder, "--tensorboard", **settings)
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
