"""The plain path and the project do the same work: else the benchmarks compare nothing."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.photographs import draw_photograph, write_photographs
from benchmarks.plain import PlainTraining, plain_scores, source_dataset, target_dataset
from benchmarks.scoring import project_scores
from benchmarks.setting import Setting, open_trainer, training_config
from benchmarks.timing import Side, alternate
from dataset.loaders import on_device
from utils.training.train_step import train_step

CPU = torch.device("cpu")
SETTING = Setting(device="cpu", input_size=(64, 32), images=2)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs")
    return write_photographs(root, 2, 2, source_size=(151, 83), target_size=(160, 80))


@pytest.fixture(scope="module")
def config(photographs):
    return training_config(SETTING, photographs, num_workers=0, attention_threshold=0.5)


@pytest.fixture(scope="module")
def trainer(config):
    return open_trainer(config)


def test_loaders_give_the_same(photographs, trainer):
    plain = (
        source_dataset(photographs.source, SETTING.input_size),
        target_dataset(photographs.target, SETTING.input_size, "own size"),
    )
    ours = (trainer.data.source_loader, trainer.data.scored_loader)
    for dataset, loader in zip(plain, ours, strict=True):
        for (image, label), batch in zip(dataset, loader, strict=True):
            images, labels = on_device(batch, CPU)
            assert torch.equal(images[0], image)
            assert torch.equal(labels[0].float(), label)
            assert 1 < len(label.unique())


def test_steps_give_the_same(photographs, config, trainer):
    plain = PlainTraining(config, CPU)
    source = source_dataset(photographs.source, SETTING.input_size)
    target = target_dataset(photographs.target, SETTING.input_size, "none")
    batches = next(trainer.data.epoch(0, 0))
    torch.manual_seed(0)
    expected = plain.step(source[0][0][None], source[0][1][None], target[0][0][None])
    trained = trainer.networks
    torch.manual_seed(0)
    result = train_step(
        trained.student, trained.teacher, trained.optimizer, batches, config,
        trainer.processes,
    )  # fmt: skip
    assert expected.self_ensembling > 0
    for name in ("total", "segmentation", "self_ensembling", "source_miou"):
        assert getattr(result, name).item() == pytest.approx(getattr(expected, name), rel=1e-4)
    assert 0 < result.kept < 1
    for ours, theirs in zip(
        trainer.networks.plain_teacher.parameters(), plain.teacher.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_scorings_give_the_same(photographs, config, trainer):
    dataset = target_dataset(photographs.target, SETTING.input_size, "own size")
    batches = [(image[None], label[None]) for image, label in dataset]
    expected = plain_scores(trainer.networks.plain_teacher, batches, CPU)
    assert np.count_nonzero(expected) > 10
    assert np.array_equal(project_scores(trainer), expected)


def test_photographs_are_like_photographs(tmp_path):
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


def test_gta5_labels_are_palette_pictures(photographs):
    with Image.open(photographs.source[0][1]) as label:
        assert label.mode == "P"
    with Image.open(photographs.target[0][1]) as label:
        assert label.mode == "L"


def count_blocks():
    blocks = iter([100.0, 3.0, 1.0, 2.0])
    return lambda: {"time": next(blocks), "peak": 5.0}


def test_the_first_block_warms_up_and_the_median_counts():
    assert alternate({"side": Side(count_blocks)}, 3) == {"side": {"time": 2.0, "peak": 5.0}}
