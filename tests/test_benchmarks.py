"""`python -m benchmarks speed`: both paths do the same work, or it would compare nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import __main__, speed
from benchmarks.paths import PlainPath, ProjectPath
from tests.runs import Capture, refusal, run_main
from training.options import TrainingOptions


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> TrainingOptions:
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        sizes = [(151, 83) if "GTA5" in pattern else (128, 64) for pattern in speed.FILES]
        patch.setattr(speed, "FILES", dict(zip(speed.FILES, sizes, strict=True)))
        speed.draw(root, 2)
    return TrainingOptions(
        data_dir_source=str(root / "GTA5"), data_dir_target=str(root / "Cityscapes"), device="cpu",
        input_size=(64, 32), num_workers=0, attention_threshold=0.5, width=0.2,
    )  # fmt: skip


def test_loaders_give_the_same(options: TrainingOptions) -> None:
    pairs = list(zip(PlainPath(options).batches(), ProjectPath(options).batches(), strict=True))
    assert len(pairs) == 2
    for (source, labels, target), batch in pairs:
        assert torch.equal(batch.source, source)
        assert torch.equal(batch.labels.float(), labels)
        # At whole-number scales the project resizes faster, with a few values one level off.
        assert (batch.target - target).abs().max() <= 1.001
        assert (batch.target != target).float().mean() < 1e-3
        assert len(labels.unique()) > 1


def test_scorings_give_the_same(options: TrainingOptions) -> None:
    expected = PlainPath(options).score()
    assert np.count_nonzero(expected) > 10
    assert np.array_equal(ProjectPath(options).score(), expected)


def test_steps_give_the_same(options: TrainingOptions) -> None:
    plain, project = PlainPath(options), ProjectPath(options)
    batch = next(project.batches())
    torch.manual_seed(0)
    expected = plain.step([batch.source, batch.labels.float(), batch.target])
    torch.manual_seed(0)
    result = project.step(batch)
    assert expected[2] > 0
    assert 0 < result.kept < 1
    assert [value.item() for value in result[:4]] == pytest.approx(expected, rel=1e-4)
    pairs = zip(project.teacher.parameters(), plain.teacher.parameters(), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("part", "calls"),
    [("loader", []), ("step", ["step"] * 2), ("scoring", ["score"]), ("files", ["step"] * 2)],
)
def test_a_block_is_an_epoch_or_a_scoring(
    part: str, calls: list[str], options: TrainingOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(ProjectPath, "step", lambda *_: done.append("step"))
    monkeypatch.setattr(ProjectPath, "score", lambda *_: done.append("score"))
    assert speed.path_block(ProjectPath(options), part)() > 0
    assert done == calls


def test_the_script_trains_from_files(options: TrainingOptions) -> None:
    intervals = {"print_interval": 2, "val_interval": 6}
    run = TrainingOptions(**(vars(options) | {"restore_from": "none", "width": 0.05} | intervals))
    assert 0 < speed.script_block(run)() < 60


def test_the_first_block_warms_up_and_the_median_counts() -> None:
    times = iter((100.0, 3.0, 1.0, 2.0))
    assert speed.alternate({"side": lambda: next(times)}, 3) == {"side": 2.0}


def test_a_measurement_ends_with_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = {"PlainPath": 1.0, "ProjectPath": 0.5}
    monkeypatch.setattr(speed, "draw", lambda *_: None)
    for name, seconds in blocks.items():
        monkeypatch.setattr(speed, name, lambda _, seconds=seconds: seconds)
    monkeypatch.setattr(speed, "path_block", lambda seconds, _: lambda: seconds)
    assert run_main(__main__.main, "speed", "--parts", "step", "--precision", "fp32,bf16") == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "| plain         | 8        | 1.00  |",
        "| project, fp32 | 16       | 2.00  |",
        "| project, bf16 | 16       | 2.00  |",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["nothing"],
        ["speed", "--parts", "step,nothing"],
        ["ablation", "--script", "no.py"],
        ["ablation", "--variants", "nothing"],
        ["ablation", "--variants", "../x=--oracle"],
        ["ablation", "--gap", "sean", "nothing"],
    ],
)
def test_a_wrong_option_ends_in_one_message(words: list[str], capfd: Capture) -> None:
    assert len(refusal(capfd, __main__.main, *words).splitlines()) == 2
