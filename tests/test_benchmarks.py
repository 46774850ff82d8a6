"""`python -m benchmarks speed`: both paths do the same work, or it would compare nothing."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import __main__, blocks
from benchmarks.harness import alternate, draw_photograph, markdown_table, write_photographs
from benchmarks.plain import PlainPath
from benchmarks.project import ProjectPath, experiment
from benchmarks.speed import Setting
from utils.options import TrainingOptions
from utils.training.train_step import train_step

SIZES = {"source": (151, 83), "target": (160, 80)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    write_photographs(root, 2, SIZES)
    return root


@pytest.fixture(scope="module")
def options(root: Path) -> TrainingOptions:
    return experiment(
        root, device="cpu", input_size=(64, 32), num_workers=0, no_shuffle=True,
        attention_threshold=0.5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def plain(options: TrainingOptions) -> PlainPath:
    return PlainPath(options)


@pytest.fixture(scope="module")
def project(options: TrainingOptions) -> ProjectPath:
    return ProjectPath(options)


def test_loaders_give_the_same(plain: PlainPath, project: ProjectPath) -> None:
    pairs = list(zip(plain.epoch(), project.epoch(), strict=True))
    assert len(pairs) == 2
    for (source, labels, target), batch in pairs:
        assert batch.target is not None
        assert torch.equal(batch.source, source)
        assert torch.equal(batch.labels.float(), labels)
        # At whole-number scales the project resizes faster, with a few values one level off.
        assert (batch.target - target).abs().max() <= 1.001
        assert (batch.target != target).float().mean() < 1e-3
        assert 1 < len(labels.unique())


def test_scorings_give_the_same(plain: PlainPath, project: ProjectPath) -> None:
    expected = plain.score()
    assert np.count_nonzero(expected) > 10
    assert np.array_equal(project.score(), expected)


def test_steps_give_the_same(options: TrainingOptions) -> None:
    plain, project = PlainPath(options), ProjectPath(options)  # training changes them
    batch = next(project.epoch())
    student, teacher = project.networks.student, project.networks.teacher
    _, plain_teacher, _ = plain.networks
    torch.manual_seed(0)
    assert batch.target is not None
    expected = plain.step([batch.source, batch.labels.float(), batch.target])
    torch.manual_seed(0)
    result = train_step(student, teacher, project.networks.optimizer, batch, options)
    total, segmentation, self_ensembling, source_miou = (value.item() for value in result[:4])
    assert self_ensembling > 0
    assert 0 < result.kept < 1
    assert (total, segmentation, self_ensembling, source_miou) == pytest.approx(expected, rel=1e-4)
    for ours, theirs in zip(teacher.parameters(), plain_teacher.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("path_type", [PlainPath, ProjectPath])
def test_a_block_is_an_epoch_and_a_scoring(path_type: type, options: TrainingOptions) -> None:
    path = path_type(options)
    calls: list[str] = []

    class Counted:
        device = path.device
        epoch = staticmethod(path.epoch)

        def __init__(self, _: TrainingOptions) -> None: ...

        def step(self, batch: object) -> None:
            calls.append("step")

        def score(self) -> None:
            calls.append("score")

    measured = blocks.end_to_end_block(Counted, options)()
    assert calls == ["step", "step", "score"]
    assert 0 < measured["wait"] < measured["time"]


def test_loader_block_times_both_domains(options: TrainingOptions) -> None:
    measured = blocks.loader_block(ProjectPath, options)()
    assert measured["time"] == measured["source"] + measured["target"]
    assert min(measured.values()) > 0


def test_photographs_are_like_photographs(tmp_path: Path) -> None:
    image, label = draw_photograph((1024, 512), seed=0)
    assert image.std() > 30
    file = tmp_path / "image.png"
    Image.fromarray(image).save(file)
    assert 8 < 8 * file.stat().st_size / label.size < 13  # bits a pixel; 9 to 10 at full size
    Image.fromarray(label).save(file)
    assert 0.1 < 8 * file.stat().st_size / label.size < 1
    gray = image[:, :512].mean(2) * np.outer(np.hanning(512), np.hanning(512))
    amplitude = abs(np.fft.rfft2(gray - gray.mean()))
    frequency = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)[None])
    band = (frequency > 0.01) & (frequency < 0.3)
    slope = np.polyfit(np.log(frequency[band]), np.log(amplitude[band]), 1)[0]
    assert -1.7 < slope < -1.0


def test_label_maps_are_stored_as_the_data_sets_store_them(root: Path) -> None:
    for folder, mode in (("GTA5/labels", "P"), ("Cityscapes/gtFine", "L")):
        for file in (root / folder).rglob("*.png"):
            with Image.open(file) as label:
                assert label.mode == mode


def count_blocks(*values: float) -> blocks.Block:
    remaining = iter(values)
    return lambda: {"time": next(remaining), "peak": 5.0}


def test_the_first_block_warms_up_and_the_median_counts() -> None:
    medians = alternate({"side": (count_blocks, (100.0, 3.0, 1.0, 2.0))}, 3)
    assert medians == {"side": {"time": 2.0, "peak": 5.0}}


def test_tables_are_aligned() -> None:
    rows = {"plain": {"it/s": "0.25", "ratio": "1.00"}, "project": {"it/s": "12", "ratio": "48"}}
    assert markdown_table("step", rows).splitlines() == [
        "| step    | it/s | ratio |",
        "| ------- | ---- | ----- |",
        "| plain   | 0.25 | 1.00  |",
        "| project | 12   | 48    |",
    ]


def test_each_part_has_its_own_values_unless_given() -> None:
    setting = Setting(device="cpu", images=3)
    assert setting.of("step") == dataclasses.replace(
        setting, precision="fp32", input_size=(256, 128), batch_size=1, repeats=5
    )
    assert setting.of("loader").input_size == (1024, 512)
    assert Setting(device="cuda").of("scoring").precision == "bf16"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nothing"],
        ["speed", "--parts", "step,nothing"],
        ["speed", "--device", "cpu", "--images", "1", "--batch_size", "2"],
        ["speed", "--device", "cpu", "--parts", "memory", "--iterations", "399"],
        ["survival", "--kills", "x"],
        ["survival", "--iterations", "0"],
        ["ablation", "--script", "no.py"],
        ["ablation", "--variants", "sean,nothing"],
    ],
)
def test_a_wrong_option_ends_in_one_message(
    words: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 2
    errors = capfd.readouterr().err
    assert errors.startswith("error: ")
    assert len(errors.splitlines()) == 2
