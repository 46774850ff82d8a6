"""What the two training scripts build and open, from the command line; nothing is trained."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

import SEAN_GTA5
import SEAN_Synthia
from tests.runs import Capture, refusal
from tools.demo import write_demo
from training.options import TrainingOptions
from training.protocol import check_experiment, describe_data, describe_protocol

PHOTOGRAPHS = ("a.JPG", "b.png", "trip/c.jpeg", "trip/day 2/d.webp", "e.bmp", "f.tif")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GTA-5, SYNTHIA and Cityscapes drawn small, and a plain folder of photographs."""
    folder = tmp_path_factory.mktemp("data")
    for source in ("gta5", "synthia"):
        write_demo(folder, source, count_source=5, count_target=3, size=(64, 32))
    for name in PHOTOGRAPHS:
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (90, 50), "gray").save(path)
    (folder / "photos/notes.txt").write_text("not an image")
    return folder


def start(root: Path, *words: object, script: ModuleType = SEAN_GTA5) -> SimpleNamespace:
    """What a script hands to the training loop, with a network that is quickly made."""
    defaults = [
        *("--data_dir_source", root / ("GTA5" if script is SEAN_GTA5 else "SYNTHIA")),
        *("--data_dir_target", root / "Cityscapes", "--snapshot_dir", root / "Snap"),
        *("--restore_from", "none", "--input_size", "64,32", "--num_workers", 0),
        *("--width", 1 / 64),
    ]
    started = SimpleNamespace()

    def train(
        prefix: str, student: Any, teacher: Any, source: Any, target: Any, scored: Any,
        options: TrainingOptions, weights: str,
    ) -> None:  # fmt: skip
        check_experiment(options, student.num_classes, source, target, scored)
        started.__dict__.update(locals())
        started.protocol = describe_protocol(options, source, target, scored)
        started.data = describe_data(options, source, target, scored, len(source))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["program", *map(str, [*defaults, *words])])
        patch.setattr(script, "train", train)
        script.main()
    return started


@pytest.mark.parametrize(
    ("script", "prefix", "classes", "threshold"),
    [(SEAN_GTA5, "GTA", 19, 0.1), (SEAN_Synthia, "Synthia", 16, 0.3)],
)
def test_the_experiments_are_the_papers(
    script: ModuleType, prefix: str, classes: int, threshold: float, root: Path
) -> None:
    started = start(root, script=script)
    assert started.prefix == prefix
    assert started.student.num_classes == classes
    options = started.options
    assert options.attention_threshold == threshold
    assert (options.target_split, options.precision) == ("val", "fp32")
    for dataset in (started.source, started.target, started.scored):
        assert dataset.label_space.num_classes == classes
    assert (started.source.labels, started.target.labels) == ("resized", "none")
    assert started.scored.labels == "own size"
    assert (len(started.source), len(started.scored)) == (5, 3)


def test_the_seed_decides_the_weights_that_the_teacher_copies(root: Path) -> None:
    first, again, other = (start(root, "--seed", seed) for seed in (1, 1, 2))
    networks = (first.student, first.teacher, again.student, other.student)
    states = (network.state_dict().values() for network in networks)
    for ours, teachers, same, different in zip(*states, strict=True):
        assert torch.equal(ours, teachers)
        assert torch.equal(ours, same)
        assert ours.ndim == 1 or not torch.equal(ours, different)


# --- the target and what is scored ------------------------------------------------------------


def test_a_plain_folder_is_a_target_that_is_not_scored(root: Path) -> None:
    photos = root / "photos"
    started = start(root, "--data_dir_target", photos)
    assert set(started.target.names) == set(PHOTOGRAPHS)
    assert started.scored is None
    assert f"not scored: {photos} has no labels" in started.protocol
    assert f"to the images of {photos} without their labels;" in started.protocol
    assert "6 target images, 0 scored" in started.data
    started = start(root, "--data_dir_target", photos, "--data_dir_val", root / "Cityscapes")
    assert len(started.scored) == 3
    assert f"scores best on the val images of {root / 'Cityscapes'}" in started.protocol


@pytest.mark.parametrize("listed", [False, True])
def test_a_target_can_be_scored_elsewhere(listed: bool, root: Path, tmp_path: Path) -> None:
    """A list names the images to adapt to; all of the other folder is scored."""
    other = tmp_path / "other"
    shutil.copytree(root / "Cityscapes", other)
    removed = sorted((other / "leftImg8bit/val").rglob("*.png"))[0]
    removed.unlink()
    (tmp_path / "list.txt").write_text(f"demo/{removed.name}\n")
    words = ["--data_list_target", tmp_path / "list.txt"] if listed else []
    started = start(root, "--data_dir_val", other, *words)
    assert len(started.target) == (1 if listed else 3)
    assert started.scored.image_folder == other / "leftImg8bit/val"
    assert len(started.scored) == 2
    assert f"to the val images of {root / 'Cityscapes'} without" in started.protocol


def test_a_list_of_val_images_is_adapted_to_and_scored(root: Path, tmp_path: Path) -> None:
    name = sorted((root / "Cityscapes/leftImg8bit/val").rglob("*.png"))[0].name
    (tmp_path / "list.txt").write_text(f"demo/{name}\n")
    words = ["--data_list_target", tmp_path / "list.txt"]
    started = start(root, *words)
    assert started.target.names == started.scored.names == [f"demo/{name}"]
    started = start(root, *words, "--target_split", "train")
    assert (len(started.target), len(started.scored)) == (1, 3)


def test_baselines(root: Path) -> None:
    city = root / "Cityscapes"
    assert f"trains on {root / 'GTA5'} alone" in start(root, "--source_only").protocol
    assert f"trains on {root / 'GTA5'} alone" in start(root, "--st_weight", 0).protocol
    oracle = start(root, "--oracle", "--data_dir_source", root / "not there")
    assert f"trains on the val images of {city} and their labels" in oracle.protocol
    assert oracle.source.names == oracle.target.names
    assert oracle.source.labels == "resized"
    assert not oracle.student.use_attention
    assert start(root, "--st_weight", 0).student.use_attention


def test_label_maps_of_another_size_are_told(root: Path) -> None:
    assert "label maps are 64x32, not the 2048x1024" in start(root).data
    assert "label maps" not in start(root, "--input_size_target", "64,32").data


def test_one_image_is_told_in_the_singular(root: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("00001.png\n")
    text = start(root, "--data_list_source", tmp_path / "list.txt").data
    assert text.startswith("1 source image, 3 target images, 3 scored, 1 iteration an epoch")


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["--data_dir_val", "{root}/photos"], ["leftImg8bit/val"]),
        (["--data_dir_target", "{root}/photos", "--snapshot_dir", "{root}/photos/Snap"],
         ["--snapshot_dir"]),
        (["--snapshot_dir", "{root}/GTA5/labels/new"], ["outside {root}/GTA5/labels:"]),
        (["--snapshot_dir", "{root}/Cityscapes/gtFine/val"], ["outside", "gtFine/val:"]),
        (["--oracle", "--source_only"], ["--oracle and --source_only", "baselines"]),
        (["--oracle", "--data_dir_target", "{root}/photos"], ["photos/leftImg8bit/val"]),
        (["--num_classes", 16], ["--num_classes 16: Cityscapes has 19"]),
        (["--ignore_label", 3], ["--ignore_label 3 is the train id of a class"]),
        (["--data_list_source", "{root}/split.mat"], ["{root}/split.mat"]),
    ],
)  # fmt: skip
def test_refusals(words: list[object], fragments: list[str], root: Path, capfd: Capture) -> None:
    given = [str(word).format(root=root) for word in words]
    message = refusal(capfd, lambda: start(root, *given))
    for fragment in fragments:
        assert fragment.format(root=root) in message
