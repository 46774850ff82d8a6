"""`python -m benchmarks speed`: both paths do the same work, or it would compare nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks import __main__, speed
from benchmarks.counted import LiveMemory, count_iteration
from benchmarks.harness import Block, alternate, markdown_table
from benchmarks.plain import PlainPath
from benchmarks.project import ProjectPath, experiment
from model.SEAN import SEANet
from tests.runs import Capture, refusal
from tools.demo import write_demo
from training.options import TrainingOptions
from training.train_step import train_step


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_demo(root, "gta5", count_source=2, count_target=0, size=(151, 83))
    write_demo(root / "target", "gta5", count_source=0, count_target=2, size=(160, 80))
    return root


@pytest.fixture(scope="module")
def options(root: Path) -> TrainingOptions:
    return experiment(
        root, data_dir_target=str(root / "target/Cityscapes"), device="cpu", input_size=(64, 32),
        num_workers=0, no_shuffle=True, attention_threshold=0.5,
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
    torch.manual_seed(0)
    assert batch.target is not None
    expected = plain.step([batch.source, batch.labels.float(), batch.target])
    torch.manual_seed(0)
    result = train_step(student, teacher, project.networks.optimizer, batch, options)
    total, segmentation, self_ensembling, source_miou = (value.item() for value in result[:4])
    assert self_ensembling > 0
    assert 0 < result.kept < 1
    assert (total, segmentation, self_ensembling, source_miou) == pytest.approx(expected, rel=1e-4)
    for ours, theirs in zip(teacher.parameters(), plain.teacher.parameters(), strict=True):
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

    measured = speed.end_to_end_block(Counted, options)()
    assert calls == ["step", "step", "score"]
    assert 0 < measured["wait"] < measured["time"]


def test_loader_block_reads_both_domains(options: TrainingOptions) -> None:
    measured = speed.loader_block(ProjectPath, options)()
    assert min(measured.values()) > 0
    assert speed.loader_block(PlainPath, options)().keys() == measured.keys()


@pytest.mark.parametrize("path_type", [PlainPath, ProjectPath])
def test_step_block_knows_the_work_and_the_peak(path_type: type, options: TrainingOptions) -> None:
    measured = speed.step_block(path_type, options)()
    assert min(measured["time"], measured["peak"]) > 0
    assert measured["rate"] > 1e9
    assert (measured["operations"] > 1e9) == (path_type is PlainPath)


def test_an_epoch_repeats_full_size_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def draw(root: Path, source: str, sources: int, targets: int, size: tuple[int, int]) -> None:
        sizes.append(size)
        write_demo(root, source, sources, targets, (64, 32))

    monkeypatch.setattr(speed, "write_demo", draw)
    options = speed.draw_data(speed.SpeedOptions(device="cpu", images=5), tmp_path)
    assert sizes == [(1914, 1052), (2048, 1024)]
    path = ProjectPath(options)
    assert path.batches.iterations == 5
    names = [name for batch in path.scored_loader for name in batch.names]
    assert len(set(names)) == 5
    folder = path.scored_loader.dataset.dataset.image_folder
    assert len({(folder / name).read_bytes() for name in names}) == 2


def test_live_memory_is_that_of_the_tensors_at_once() -> None:
    with FakeTensorMode(), LiveMemory() as memory:
        kept = torch.zeros(1000)  # 4,000 bytes
        view = kept[:10]
        for _ in range(3):
            kept + 1  # freed at once
        del kept
        held = memory.live
        del view
    assert (memory.peak, held, memory.live) == (8000, 4000, 0)


def test_counts_of_an_iteration() -> None:
    operations, memory = count_iteration((64, 32), 1, "fp32")
    double, _ = count_iteration((64, 32), 2, "fp32")
    weights = sum(p.numel() for p in SEANet(19).parameters())
    assert double == 2 * operations
    # Every weight is used in each of the 32 cells at least once by the teacher, and three times for
    # each of the student's two images; two operations each.
    assert operations > 2 * 7 * 32 * 0.9 * weights
    # Student, teacher, gradients and two moments.
    assert memory > 4 * 5 * 0.98 * weights


def test_each_precision_is_compared_with_the_plain_path(options: TrainingOptions) -> None:
    given = speed.SpeedOptions(precision=("fp32", "bf16"))
    sides = speed.paths(speed.step_block, options, given)
    assert [(path.__name__, side.precision) for _, path, side in sides.values()] == [
        ("PlainPath", "fp32"), ("ProjectPath", "fp32"), ("ProjectPath", "bf16"),
    ]  # fmt: skip


def count_blocks(*values: float) -> Block:
    remaining = iter(values)
    return lambda: {"time": next(remaining), "peak": 5.0}


def test_the_first_block_warms_up_and_the_median_counts() -> None:
    medians = alternate({"side": (count_blocks, 100.0, 3.0, 1.0, 2.0)}, 3)
    assert medians == {"side": {"time": 2.0, "peak": 5.0}}


def test_tables_are_aligned() -> None:
    rows = {"plain": {"it/s": "0.25", "ratio": "1.00"}, "project": {"it/s": "12", "ratio": "48"}}
    assert markdown_table("step", rows).splitlines() == [
        "| step    | it/s | ratio |",
        "| ------- | ---- | ----- |",
        "| plain   | 0.25 | 1.00  |",
        "| project | 12   | 48    |",
    ]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nothing"],
        ["speed", "--parts", "step,nothing"],
        ["speed", "--device", "cpu", "--images", "1", "--batch_size", "2"],
        ["speed", "--parts", "memory", "--iterations", "7"],
        ["survival", "--kills", "x"],
        ["survival", "--iterations", "0"],
        ["ablation", "--script", "no.py"],
        ["ablation", "--variants", "sean,nothing"],
    ],
)
def test_a_wrong_option_ends_in_one_message(words: list[str], capfd: Capture) -> None:
    assert len(refusal(capfd, __main__.main, *words).splitlines()) == 2
