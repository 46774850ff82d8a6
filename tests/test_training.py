"""What surrounds the step: options, what a script opens, batches, the log and its curves."""

import dataclasses
import itertools
import shutil

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import SEAN_GTA5
import SEAN_Synthia
from dataset.cityscapes_dataset import CITYSCAPES
from dataset.gta5_dataset import GTA5
from dataset.segmentation_dataset import SegmentationDataset
from model.SEAN import network_input
from tests.runs import LOG, metrics, refusal, results, train, trained, words
from training.batches import DomainBatches
from training.distributed import Processes
from training.log import Log, curves
from training.options import TrainingOptions
from training.resume import fixed_values
from training.train_step import train_step
from utils.files import load_tensors, save_tensors

SIZE = (64, 32)
ORIGINAL = {  # option of the original -> its default for GTA-5
    "ignore_label": 255, "input_size": (1024, 512), "input_size_target": (2048, 1024),
    "batch_size": 1, "learning_rate": 1e-5, "momentum": 0.9, "weight_decay": 5e-5, "noise": 0.1,
    "teacher_alpha": 0.99, "attention_threshold": 0.1, "st_weight": 0.3, "val_interval": 500,
    "print_interval": 10, "target_split": "val", "precision": "fp32", "classifier_branches": 2,
}  # fmt: skip


@pytest.mark.parametrize(("script", "threshold"), [(SEAN_GTA5, 0.1), (SEAN_Synthia, 0.3)])
def test_the_experiments_are_the_papers(script, threshold):
    values = dataclasses.asdict(script.EXPERIMENT)
    expected = ORIGINAL | {"attention_threshold": threshold}
    assert {name: values[name] for name in ORIGINAL} == expected
    names = "data_dir_source data_list_source data_dir_target data_list_target num_classes"
    names += " num_workers num_epoch restore_from snapshot_dir"
    assert set(names.split()) <= values.keys()


@pytest.fixture
def data(domains):
    target = SegmentationDataset(CITYSCAPES, domains / "Cityscapes", SIZE, labels="none")
    return SegmentationDataset(GTA5, domains / "GTA5", SIZE), target


def make(data, **changes):
    options = dataclasses.replace(TrainingOptions(), num_workers=0, **changes)
    return DomainBatches(*data, options, torch.device("cpu"), Processes())


def names(batches, first, count):
    return [batch.names for batch in itertools.islice(batches.starting_at(first), count)]


def test_an_epoch_visits_every_source_image_and_repeats_the_target(data):
    batches = make(data)
    assert batches.per_epoch == 8
    visited = names(batches, 0, 16)
    for epoch in (visited[:8], visited[8:]):
        assert {source for source, _ in epoch} == set(data[0].names)
        targets = [target for _, target in epoch]
        assert {targets.count(name) for name in data[1].names} == {2, 3}
    assert visited[8:] != visited[:8]
    assert names(batches, 5, 11) == visited[5:], "from any iteration on"
    assert names(make(data, seed=1), 0, 8) != visited[:8]


def test_batches_hold_network_inputs_and_labels_and_baselines_no_target(data):
    batch = next(make(data, no_shuffle=True, batch_size=2).starting_at(0))
    for i in range(2):
        for given, dataset in ((batch.source, data[0]), (batch.target, data[1])):
            image = torch.from_numpy(dataset[i].image)
            assert torch.equal(given[i], network_input(image[None])[0])
        assert torch.equal(batch.labels[i], torch.from_numpy(data[0][i].label).long())
    for changes in ({"source_only": True}, {"oracle": True}, {"st_weight": 0.0}):
        first = next(make(data, **changes).starting_at(0))
        assert first.target is first.view is None
        assert len(first.names) == 1


def test_a_target_can_be_scored_elsewhere_and_a_list_chooses(domains, tmp_path):
    other = shutil.copytree(domains / "Cityscapes", tmp_path / "other")
    first, *_, last = sorted((other / "leftImg8bit/val/demo").iterdir())
    last.unlink()
    (tmp_path / "list.txt").write_text(f"demo/{first.name}\n")
    listed = {"data_list_target": tmp_path / "list.txt", "max_iters": 1}
    log = trained(domains, tmp_path / "a", **listed, data_dir_val=other)
    assert f"to the val images of {domains / 'Cityscapes'} without their labels" in log
    assert f"scores best on the val images of {other}" in log
    assert "data: 8 source images, 1 target image, 2 scored" in log
    assert "1 target image, 1 scored" in trained(domains, tmp_path / "b", **listed)
    log = trained(domains, tmp_path / "c", **listed, target_split="train", input_size_target="9,9")
    assert "1 target image, 3 scored; label maps of 64x32, not 9x9" in log
    log = trained(domains, tmp_path / "d", "--source_only", max_iters=1)
    assert f"protocol: trains on {domains / 'GTA5'} alone; keeps the teacher" in log


def test_what_a_resumed_run_must_have_in_common(data, tmp_path):
    source, target = data
    options = TrainingOptions()
    first = fixed_values(options, {"processes": 1}, source=source, target=target, scored=None)
    moved = dataclasses.replace(options, data_dir_source="elsewhere", max_hours=1.0, device="cuda")
    assert fixed_values(moved, {"processes": 1}, source=source, target=target) == first
    (tmp_path / "list.txt").write_text("\n".join(reversed(source.names)))
    reordered = SegmentationDataset(GTA5, source.root, SIZE, tmp_path / "list.txt")
    target.table = target.table | {7: 1}
    louder = dataclasses.replace(options, noise=1.0)
    second = fixed_values(louder, {"processes": 2}, source=reordered, target=target)
    different = {name for name in first if first[name] != second[name]}
    content = {"other source images", "other target classes or label ids"}
    assert different == {"--noise", "processes", *content}


def test_log_metrics_and_tensorboard_hold_the_same(tmp_path):
    log = Log(tmp_path, "GTA", 100, 0, [], True, True)
    log.losses(10, 2, 3, 1e-4, [3.0, 2.0, 1.0, 0.5, 0.25, float("inf")])
    log.score(10, "teacher", 0.5, {"road": 0.5, "train": float("nan")})
    log.line("a name \udce9", console=False)
    losses, scores = metrics(tmp_path)
    assert losses == {
        "iteration": 10, "epoch": 2, "loss": 3.0, "cls_loss": 2.0, "st_loss": 1.0,
        "source_miou": 0.5, "kept": 0.25, "gradient": None, "learning_rate": 1e-4,
    }  # fmt: skip
    iou = {"road": 0.5, "train": None}
    assert scores == {"iteration": 10, "network": "teacher", "target_miou": 0.5, "iou": iou}
    lines = (tmp_path / LOG).read_text().splitlines()
    assert lines[0].startswith("epoch 2 batch 3 loss 3 cls_loss 2 st_loss 1 source_miou 0.5")
    assert lines[1:] == [
        "iteration 10 teacher target_miou 0.5000",
        "iteration 10 teacher IoU in %: road 50.0 train nan",
        r"a name \udce9",
    ]
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in shown.Scalars("teacher iou/road")] == [0.5]
    Log(tmp_path / "rank1", "GTA", 100, 0, [], False, False).line("a")
    assert not (tmp_path / "rank1").exists()  # other processes write nothing


def test_curves_show_the_teachers_best_score_and_every_loss():
    value = {"cls_loss": 2.0, "st_loss": 0.0, "kept": 1.0}
    records = [{"iteration": i, **value} for i in range(10, 1000, 10)]
    scores = (500, "student", 0.9), (500, "teacher", 0.31), (990, "teacher", 0.3)
    for score in (*scores, (995, "teacher", None)):
        records.append(dict(zip(("iteration", "network", "target_miou"), score, strict=True)))
    figure = curves(records, "folder $x")
    assert figure.axes[0].get_title(loc="left") == "Target mIoU: best 31.0 % at 500"
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[500, 0.31], [990, 0.3]]
    assert np.allclose(figure.axes[1].lines[1].get_ydata(), 2.0)
    figure.canvas.draw()
    curves([], "an empty run").canvas.draw()


def test_an_option_younger_than_the_checkpoint_had_its_default(domains, tmp_path):
    train(domains, tmp_path, max_hours=0)
    saved = load_tensors(tmp_path / "last.pth")
    del saved["fixed"]["--augment"]
    save_tensors(tmp_path / "last.pth", saved)
    assert "--augment False -> True" in train(domains, tmp_path, "--resume", "--augment").output
    assert "resumed at iteration 1" in trained(domains, tmp_path, "--resume")


def test_compile_without_a_compiler_is_refused_before_the_folder_is_claimed(
    domains, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-compiler"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    message = refusal(capfd, SEAN_GTA5.main, *words(domains, tmp_path / "run", "--compile"))
    assert "--compile: " in message
    assert "g++" in message
    assert not (tmp_path / "run").exists()


def test_lack_of_memory_is_told_and_the_last_whole_iteration_is_saved(
    domains, tmp_path, monkeypatch
):
    steps = itertools.count(1)

    def step(*given):
        if next(steps) == 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")
        return train_step(*given)

    monkeypatch.setattr(SEAN_GTA5, "train_step", step)
    monkeypatch.setenv("WORLD_SIZE", "4")  # without the rest of torchrun's: one process
    ended = train(domains, tmp_path, max_iters=4)
    assert ended.status == 2
    assert "error: out of memory: DefaultCPUAllocator" in ended.output
    assert "resumed at iteration 2" in trained(domains, tmp_path, "--resume", max_iters=4)
    trained(domains, tmp_path / "whole", max_iters=4)
    assert results(tmp_path) == results(tmp_path / "whole")
