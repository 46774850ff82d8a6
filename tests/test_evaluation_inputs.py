"""evaluation.py: variants of the network, other splits, missing labels, mistakes, the demo."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from dataset.demo import write_demo
from dataset.labels import CLASSES_16, LabelSpace
from model.checkpoint import CheckpointInfo, released
from model.SEAN import SEANet
from tests.test_evaluation import SIZE, read, run, stems
from utils.files import save_tensors

PICTURES = ("--save_panels", "--save_attention", "--save_confidence", "--report")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images and their labels, of 128x64."""
    root = tmp_path_factory.mktemp("data")
    write_demo(root, "gta5", count_source=0, count_target=3, size=(128, 64))
    return root / "Cityscapes"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small networks, which say what they are."""
    folder = tmp_path_factory.mktemp("small")
    torch.manual_seed(0)
    own = LabelSpace(CLASSES_16.names[::-1], CLASSES_16.colors)
    for name, space, variant in (
        ("plain", CLASSES_16, {}),
        ("ablation", CLASSES_16, {"use_attention": False, "classifier_branches": 1}),
        ("four", CLASSES_16, {"classifier_branches": 4}),
        ("reversed", own, {}),
    ):
        network = SEANet(16, width=1 / 16, **variant)
        info = CheckpointInfo.of(network, space.names, space.colors, SIZE, "")
        save_tensors(folder / f"{name}.pth", released(network, info))
    return folder


def refused(capsys: Capture, checkpoint: Path, data: Path, folder: Path, *more: object) -> str:
    """The message of a mistake."""
    with pytest.raises(SystemExit) as ended:
        run(checkpoint, data, folder, *more)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "\n  " in message
    return message


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("plain", ", fp32, scored"),
        ("ablation", ", fp32, without attention, 1 classifier branch, scored"),
        ("four", ", fp32, 4 classifier branches, scored"),
    ],
)
def test_protocol_names_the_variant(
    name: str, named: str, small: Path, data: Path, tmp_path: Path
) -> None:
    """It is read from the checkpoint, and another variant scores differently."""
    run(small / f"{name}.pth", data, tmp_path)
    assert named in (tmp_path / "Evaluation.txt").read_text().splitlines()[0]


# --- other splits, no labels ------------------------------------------------------------------


@pytest.fixture
def unlabelled(data: Path, tmp_path: Path) -> Path:
    """A test split of two images without label maps; one is of another size."""
    folder = tmp_path / "Cityscapes/leftImg8bit/test/demo"
    shutil.copytree(data / "leftImg8bit/val/demo", folder)
    _, second, third = sorted(folder.iterdir())
    Image.open(second).resize((100, 60)).save(second)
    third.unlink()
    return tmp_path / "Cityscapes"


def check_unscored(folder: Path, reason: str, output: str) -> None:
    text = (folder / "Evaluation.txt").read_text()
    assert "nothing was scored" in text
    assert reason in text
    assert text in output
    assert len(text.splitlines()) == 1
    assert not list(folder.glob("scores.*"))
    assert "<table" not in (folder / "report.html").read_text()


def test_without_labels_it_predicts_and_says_so(
    small: Path, unlabelled: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "maps"
    folder.mkdir()
    (folder / "scores.json").write_text("of an earlier run")
    more = ("--split", "test", "--save_label_ids", "--batch_size", 2)
    run(small / "plain.pth", unlabelled, folder, *more, *PICTURES)
    check_unscored(folder, "gtFine/test are missing", capsys.readouterr().out)
    shapes = [read(folder / f"label_ids/{s}.png").shape for s in stems(unlabelled, "test")]
    assert shapes == [(64, 128), (60, 100)]  # the images' own sizes


def test_labels_that_name_no_class_score_nothing(
    small: Path, unlabelled: Path, tmp_path: Path, capsys: Capture
) -> None:
    """As Cityscapes publishes those of its test split."""
    void = unlabelled / "gtFine/test/demo"
    void.mkdir(parents=True)
    for stem in stems(unlabelled, "test"):
        name = stem.replace("_leftImg8bit", "_gtFine_labelIds.png")
        Image.new("L", (128, 64), 3).save(void / name)
    folder = tmp_path / "maps"
    run(small / "plain.pth", unlabelled, folder, "--split", "test", "--report")
    check_unscored(folder, "hold no pixel of a class", capsys.readouterr().out)
    assert "ground truth" not in (folder / "report.html").read_text()


def test_split_train_is_other_images(small: Path, data: Path, tmp_path: Path) -> None:
    run(small / "plain.pth", data, tmp_path, "--split", "train")
    protocol = (tmp_path / "Evaluation.txt").read_text().splitlines()[0]
    assert f"3 images of {data / 'leftImg8bit/train'} (split train)" in protocol
    assert "scored at the label maps' own size" in protocol


def test_more_images_at_once_score_the_same(small: Path, data: Path, tmp_path: Path) -> None:
    texts = []
    for size in (1, 2):
        run(small / "plain.pth", data, tmp_path / str(size), "--batch_size", size)
        texts.append((tmp_path / f"{size}/scores.csv").read_text())
    assert texts[0] == texts[1]


# --- mistakes ---------------------------------------------------------------------------------


def test_some_labels_missing_is_a_mistake(
    small: Path, unlabelled: Path, tmp_path: Path, capsys: Capture
) -> None:
    stem = stems(unlabelled, "test")[0].replace("_leftImg8bit", "_gtFine_labelIds")
    (unlabelled / "gtFine/test/demo").mkdir(parents=True)
    Image.new("L", (128, 64), 7).save(unlabelled / f"gtFine/test/demo/{stem}.png")
    message = refused(capsys, small / "plain.pth", unlabelled, tmp_path / "m", "--split", "test")
    assert "1 of 2 images have no label map" in message


def test_a_plain_folder_is_for_own_images(
    small: Path, unlabelled: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = unlabelled / "leftImg8bit/test"
    assert "--images" in refused(capsys, small / "plain.pth", folder, tmp_path / "maps")


def test_split_without_images_names_it(
    small: Path, data: Path, tmp_path: Path, capsys: Capture
) -> None:
    message = refused(capsys, small / "plain.pth", data, tmp_path, "--split", "test")
    assert re.search(r"leftImg8bit/test\n  expected: .*gtFine/test", message)


@pytest.mark.parametrize(
    ("name", "more", "fragment"),
    [
        ("ablation", ["--save_attention"], "leave out --save_attention"),
        ("plain", ["--images", "pyproject.toml"], "cannot read pyproject.toml as a video"),
        ("plain", ["--images", "Figure", "--report"], "--images Figure takes no --report"),
        ("plain", ["--no_attention"], "--no_attention contradicts"),
        ("plain", ["--input_size", "128,64"], "trained with 64,32"),
        ("plain", ["--classifier_branches", 4], "--classifier_branches contradicts"),
        ("plain", ["--num-classes", 19], "trained with 16 classes"),
        ("plain", ["--ignore-label", 15], "--ignore-label 15 is the train id of a class"),
        ("reversed", [], "is a checkpoint for 16 classes; Cityscapes is labelled for 19 or 16"),
    ],
)
def test_what_contradicts_the_checkpoint_is_refused(
    name: str, more: list[object], fragment: str,
    small: Path, data: Path, tmp_path: Path, capsys: Capture,
) -> None:  # fmt: skip
    """Scores with the wrong variant, input size or classes would be wrong in silence."""
    assert fragment in refused(capsys, small / f"{name}.pth", data, tmp_path / "maps", *more)
    assert not (tmp_path / "maps").exists()


# --- own images -------------------------------------------------------------------------------

OWN = LabelSpace(("blue", "green", "red"), ((10, 20, 200), (0, 255, 100), (255, 128, 0)))


@pytest.mark.parametrize("space", [OWN, CLASSES_16], ids=["3", "16"])
def test_own_images_need_the_checkpoint_alone(
    space: LabelSpace, tmp_path: Path, capsys: Capture
) -> None:
    """Classes, colors, variant and input size are in it."""
    network = SEANet(space.num_classes, use_attention=False, width=1 / 16)
    with torch.no_grad():
        for parameter in network.classifier.parameters():
            parameter.zero_()
        network.classifier.conv2d_list[0].bias[-1] = 1
    info = CheckpointInfo.of(network, space.names, space.colors, SIZE, "")
    checkpoint, photos, maps = tmp_path / "net.pth", tmp_path / "photos", tmp_path / "maps"
    save_tensors(checkpoint, released(network, info))
    photos.mkdir()
    Image.new("RGB", (37, 23)).save(photos / "a.jpg")
    run(checkpoint, tmp_path / "no data", maps, "--images", photos)
    assert {path.name for path in maps.iterdir()} == {
        "a.png", "a_color.png", "a_overlay.png", "legend.png"
    }  # fmt: skip
    assert read(maps / "a.png").shape == (23, 37)
    assert (read(maps / "a.png") == space.num_classes - 1).all()
    assert (read(maps / "a_color.png") == space.colors[-1]).all()
    out = capsys.readouterr().out
    assert "nothing was scored" in out
    assert "mIoU" not in out


def test_own_images_of_an_unknown_class_count_are_refused(tmp_path: Path, capsys: Capture) -> None:
    torch.save(SEANet(3).state_dict(), tmp_path / "net.pth")
    Image.new("RGB", (37, 23)).save(tmp_path / "a.jpg")
    more = ("--images", tmp_path / "a.jpg")
    message = refused(capsys, tmp_path / "net.pth", tmp_path, tmp_path / "maps", *more)
    assert "is a checkpoint for 3 classes; Cityscapes is labelled for 19 or 16" in message


# --- the demo ---------------------------------------------------------------------------------


def test_demo_ends_with_a_comparison(
    small: Path, data: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(small / "plain.pth", data, tmp_path / "maps", "--demo")
    table = capsys.readouterr().out.partition("demo, target mIoU in %\n")[2].splitlines()
    miou = json.loads((tmp_path / "maps/scores.json").read_text())["miou"]
    assert [line[:18].strip() for line in table[:2]] == ["untrained", "SEAN's teacher"]
    assert float(table[1].split()[-1]) == pytest.approx(100 * miou, abs=0.05)
    assert "report.html" in table[2]
    assert (tmp_path / "maps/report.html").exists()
