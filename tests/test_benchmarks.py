"""Both paths of `benchmarks speed` do the same work; what `benchmarks ablation` runs and counts."""

import io
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import SEAN_GTA5
from benchmarks import __main__, ablation, speed
from benchmarks.paths import PlainPath, ProjectPath
from tests.runs import run_main, run_silently, words
from training.options import TrainingOptions
from utils.errors import UserError


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        sizes = [(151, 83) if "GTA5" in pattern else (128, 64) for pattern in speed.FILES]
        patch.setattr(speed, "FILES", dict(zip(speed.FILES, sizes, strict=True)))
        speed.draw(root, 2)
    return TrainingOptions(
        data_dir_source=str(root / "GTA5"), data_dir_target=str(root / "Cityscapes"), device="cpu",
        input_size=(64, 32), num_workers=0, attention_threshold=0.5, width=0.2,
    )  # fmt: skip


@pytest.fixture
def in_process(monkeypatch):
    """Run the training script in this process, which saves the time to start one."""

    def run(command, stdout, **_):
        ended = run_silently(SEAN_GTA5.main, *command[2:])
        stdout.write(ended.output.encode())
        return SimpleNamespace(returncode=ended.status)

    for module in (speed, ablation):
        monkeypatch.setattr(module, "subprocess", SimpleNamespace(run=run, DEVNULL=io.BytesIO()))


def test_loaders_give_the_same(options):
    pairs = list(zip(PlainPath(options).batches(), ProjectPath(options).batches(), strict=True))
    assert len(pairs) == 2
    for (source, labels, target), batch in pairs:
        assert torch.equal(batch.source, source)
        assert torch.equal(batch.labels.float(), labels)
        # At whole-number scales the project resizes faster, with a few values one level off.
        assert (batch.target - target).abs().max() <= 1.001
        assert (batch.target != target).float().mean() < 1e-3
        assert len(labels.unique()) > 1


def test_scorings_give_the_same(options):
    expected = PlainPath(options).score()
    assert np.count_nonzero(expected) > 10
    assert np.array_equal(ProjectPath(options).score(), expected)


def test_steps_give_the_same(options):
    plain, project = PlainPath(options), ProjectPath(options)
    batch = next(project.batches())
    torch.manual_seed(0)
    expected = plain.step([batch.source, batch.labels.float(), batch.target])
    torch.manual_seed(0)
    result = project.step(batch)
    assert expected[2] > 0
    assert 0 < result.kept < 1
    assert [value.item() for value in result[:4]] == pytest.approx(expected, rel=1e-4)
    teachers = [list(path.teacher.parameters()) for path in (project, plain)]
    torch.testing.assert_close(*teachers, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("in_process")
def test_the_script_trains_from_files(options):
    changes = {"restore_from": "none", "width": 0.05, "print_interval": 2, "val_interval": 6}
    assert 0 < speed.script_block(TrainingOptions(**(vars(options) | changes)))() < 60


def test_a_measurement_ends_with_a_table_of_medians(monkeypatch, capsys):
    times = iter((100.0, 3.0, 1.0, 2.0))  # the first block warms up
    assert speed.alternate({"side": lambda: next(times)}, 3) == {"side": 2.0}
    monkeypatch.setattr(speed, "draw", lambda *_: None)
    for name, seconds in (("PlainPath", 1.0), ("ProjectPath", 0.5)):
        monkeypatch.setattr(speed, name, lambda _, seconds=seconds: seconds)
    monkeypatch.setattr(speed, "path_block", lambda seconds, _: lambda: seconds)
    assert run_main(__main__.main, "speed", "--parts", "step", "--precision", "fp32,bf16") == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "| plain         | 8        | 1.00  |",
        "| project, fp32 | 16       | 2.00  |",
        "| project, bf16 | 16       | 2.00  |",
    ]


def test_scores_are_the_last_and_the_best(tmp_path):
    def read(*mious, classes=(), **iou):
        records = [{"network": "teacher", "target_miou": miou, "iou": iou} for miou in mious]
        lines = [json.dumps(record) for record in [{"iteration": 10, "loss": 2.0}, *records]]
        (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
        return ablation.read_scores(tmp_path, classes)

    iou = {"road": 0.5, "car": 0.1, "sky": 0.9, "bus": None}
    expected = {"final teacher": 14.0, "best teacher": 15.0}
    assert read(0.15, 0.14, **iou) == pytest.approx(expected)
    expected["chosen classes"] = 30.0
    assert read(0.15, 0.14, **iou, classes=("road", "car")) == pytest.approx(expected)
    with pytest.raises(UserError, match="road, car, sky"):
        read(0.15, 0.14, **iou, classes=("road", "bus"))
    with pytest.raises(UserError, match="--data_dir_val"):
        read()


def test_table_gives_mean_sample_deviation_and_share_of_the_gap():
    def runs(*values):
        names = ("final teacher", "best teacher", "chosen classes")
        return [dict(zip(names, (v, v + 1, 2 * v), strict=True)) for v in values]

    scores = {"low": runs(10, 20), "mine": runs(14, 28), "high": runs(20, 30)}
    text = ablation.table(scores, ("low", "high"))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert cells[0][4:] == ["chosen classes", "gap, final teacher", "gap, chosen classes"]
    # Shares of 40 and 80 %: mean 60, deviation 20 * sqrt(2).
    shares = ["60 ± 28 %"] * 2
    assert cells[3] == ["mine", "2", "21.0 ± 9.9", "22.0 ± 9.9", "42.0 ± 19.8", *shares]
    assert [row[-1] for row in cells[2::2]] == ["0 ± 0 %", "100 ± 0 %"]
    assert "nan" in ablation.table({"low": runs(10), "high": runs(10)}, ("low", "high"))


@pytest.mark.usefixtures("in_process")
def test_runs_are_trained_resumed_and_kept(domains, tmp_path, capsys):
    folder = tmp_path / "runs"
    given = ["--variants", "source_only=--source_only --noise '0'", "oracle"]
    given += ["--seeds", "0", "--folder", str(folder)]
    shared = ["--", *words(domains, folder, max_iters=2)]
    with pytest.raises(UserError, match="status is 0"):
        ablation.main([*given, *shared, "--max_hours", "0"])  # saves and stops after an iteration
    ablation.main([*given, *shared])
    output = folder / "source_only_seed0/output.txt"
    assert "resumed at iteration 1" in output.read_text()
    log = json.loads((folder / "results.json").read_text())
    assert list(log) == ["source_only_seed0", "oracle_seed0"]
    assert "--oracle --seed 0" in log["oracle_seed0"]["command"]
    with Image.open(folder / "results.png") as plot:
        assert plot.width > 600

    os.utime(output, (0, 0))
    capsys.readouterr()
    ablation.main([*given, "--classes", "road", "--gap", "source_only", "oracle", *shared])
    assert output.stat().st_mtime == 0
    text = capsys.readouterr().out
    assert "started" not in text
    assert (folder / "results.md").read_text() in text
    assert "gap, chosen classes" in text
