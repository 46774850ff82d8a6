"""evaluation.py: variants of the network, other splits, missing labels, mistakes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import evaluation
from dataset.labels import CLASSES_16, LabelSpace
from model.SEAN import SEANet
from tests.runs import Capture, refusal, run_main, save_network, scoring_words
from tests.test_evaluation import SIZE, read, run, stems
from tests.test_own_images import SPACE

PICTURES = ("--save_panels", "--save_attention", "--save_confidence", "--report")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small networks, which say what they are."""
    folder = tmp_path_factory.mktemp("small\n\033")  # messages keep to their lines
    torch.manual_seed(0)
    own = LabelSpace(CLASSES_16.names[::-1], CLASSES_16.colors)
    for name, space, variant in (
        ("plain", CLASSES_16, {}),
        ("ablation", CLASSES_16, {"use_attention": False, "classifier_branches": 1}),
        ("four", CLASSES_16, {"classifier_branches": 4}),
        ("reversed", own, {}),
        ("three", SPACE, {}),
    ):
        network = SEANet(space.num_classes, width=1 / 16, **variant)
        save_network(folder / f"{name}.pth", network, space, SIZE)
    return folder


def refused(capsys: Capture, checkpoint: Path, data: Path, folder: Path, *more: object) -> str:
    """The message of a mistake."""
    return refusal(capsys, evaluation.main, *scoring_words(checkpoint, data, folder, *more))


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("plain", ", fp32, scored"),
        ("ablation", ", fp32, without attention, classifier branches: 1, scored"),
        ("four", ", fp32, classifier branches: 4, scored"),
    ],
)
def test_protocol_names_the_variant(
    name: str, named: str, small: Path, cityscapes: Path, tmp_path: Path
) -> None:
    """It is read from the checkpoint, and another variant scores differently."""
    run(small / f"{name}.pth", cityscapes, tmp_path)
    assert named in (tmp_path / "Evaluation.txt").read_text().splitlines()[0]


# --- other splits, no labels ------------------------------------------------------------------


@pytest.fixture
def unlabelled(cityscapes: Path, tmp_path: Path) -> Path:
    """A test split of two images without label maps; one is of another size."""
    folder = tmp_path / "Cityscapes/leftImg8bit/test/demo"
    shutil.copytree(cityscapes / "leftImg8bit/val/demo", folder)
    _, second, third = sorted(folder.iterdir())
    Image.open(second).resize((100, 60)).save(second)
    third.unlink()
    return tmp_path / "Cityscapes"


@pytest.mark.parametrize("void", [False, True])
def test_without_labels_it_predicts_and_says_so(
    void: bool, small: Path, unlabelled: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Cityscapes publishes label maps of its test split that name no class."""
    label_folder, folder = unlabelled / "gtFine/test/demo", tmp_path / "maps"
    if void:
        label_folder.mkdir(parents=True)
        for stem in stems(unlabelled, "test"):
            name = stem.replace("_leftImg8bit", "_gtFine_labelIds.png")
            size = Image.open(unlabelled / f"leftImg8bit/test/demo/{stem}.png").size
            Image.new("L", size, 3).save(label_folder / name)
    folder.mkdir()
    earlier = ("scores.json", "scores.csv", "Evaluation.txt")
    for name in earlier:
        (folder / name).write_text("of an earlier run")
    (folder / ".written.json").write_text(json.dumps(earlier))
    more = ("--split", "test", "--save_label_ids", "--batch_size", 2)
    run(small / "plain.pth", unlabelled, folder, *more, *PICTURES)
    text, page = (folder / "Evaluation.txt").read_text(), (folder / "report.html").read_text()
    reason = "hold no pixel of a class" if void else "gtFine/test are missing"
    assert re.search(f"nothing was scored: .*{reason}", text)
    assert text in capsys.readouterr().out
    assert len(text.splitlines()) == 1
    assert not list(folder.glob("scores.*"))
    assert "<table" not in page
    assert "ground truth" not in page
    shapes = [read(folder / f"label_ids/{s}.png").shape for s in stems(unlabelled, "test")]
    assert shapes == [(64, 128), (60, 100)]  # the images' own sizes


def test_another_split_is_scored(small: Path, cityscapes: Path, tmp_path: Path) -> None:
    run(small / "plain.pth", cityscapes, tmp_path, "--split", "train")
    protocol = (tmp_path / "Evaluation.txt").read_text().splitlines()[0]
    assert f"3 images of {cityscapes / 'leftImg8bit/train'} (split train)" in protocol


# --- mistakes ---------------------------------------------------------------------------------


def test_folders_that_cannot_be_scored_are_refused(
    small: Path, unlabelled: Path, tmp_path: Path, capsys: Capture
) -> None:
    stem = stems(unlabelled, "test")[0].replace("_leftImg8bit", "_gtFine_labelIds")
    (unlabelled / "gtFine/test/demo").mkdir(parents=True)
    Image.new("L", (128, 64), 7).save(unlabelled / f"gtFine/test/demo/{stem}.png")
    for root, split, fragment in (
        (unlabelled, "test", "1 of 2 images has no label map"),
        (unlabelled, "val", "evaluation.py --images"),
        (unlabelled / "leftImg8bit/test", "val", "give --images"),
    ):
        more = (small / "plain.pth", root, tmp_path / "maps", "--split", split)
        assert fragment in refused(capsys, *more)


@pytest.mark.parametrize(
    ("name", "more", "fragment"),
    [
        ("plain", ["--images", "x" * 300], "no image, folder or video xxx"),
        ("three", [], "is a checkpoint for 3 classes; Cityscapes is labelled for 19 or 16"),
        ("ablation", ["--save_attention"], "leave out --save_attention"),
        ("plain", ["--images", "Figure", "--data_list", "x"], "takes no --data_list (it names"),
        ("no", [], "no.pth\n  train first"),
        ("plain", ["--no_attention"], "--no_attention contradicts"),
        ("plain", ["--input_size", "128,64"], "trained with 64,32"),
        ("plain", ["--classifier_branches", 4], "--classifier_branches contradicts"),
        ("plain", ["--num-classes", 19], "trained with 16 classes"),
        ("plain", ["--ignore-label", 15], "--ignore_label 15 is the train id of a class"),
        ("reversed", [], "is a checkpoint for 16 classes; Cityscapes is labelled for 19 or 16"),
    ],
)
def test_what_contradicts_the_checkpoint_is_refused(
    name: str, more: list[object], fragment: str,
    small: Path, cityscapes: Path, tmp_path: Path, capsys: Capture,
) -> None:  # fmt: skip
    """Scores with the wrong variant, input size or classes would be wrong in silence."""
    message = refused(capsys, small / f"{name}.pth", cityscapes, tmp_path / "maps", *more)
    assert fragment in message
    assert len(message.splitlines()) == 2
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize("more", [(), ("--compare", "plain.pth"), ("--images", "a.png")])
def test_weights_that_overflow_are_refused(
    more: tuple[str, ...], small: Path, cityscapes: Path, tmp_path: Path, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each is finite, and their sums are not; with --compare, A's or B's."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 32), "red").save("a.png")
    state = torch.load(small / "plain.pth")
    whole, large = tmp_path / "plain.pth", tmp_path / "large.pth"
    torch.save(state, whole)
    for name in state:
        state[name] *= 1e12 if name.endswith("weight") else 1
    torch.save(state, large)
    shown = "picture 1" if "--images" in more else r"demo/demo_000000_\w+\.png"
    networks = [(large, more)] + [(whole, ("--compare", large))] * ("--compare" in more)
    for checkpoint, options in networks:
        words = scoring_words(checkpoint, cityscapes, tmp_path / "maps", *options)
        assert run_main(evaluation.main, *words) == 2
        last = "\n".join(capsys.readouterr().err.splitlines()[-2:])  # below the bar
        assert re.match(rf"error: the network's outputs are not finite for {shown}\n  ", last)


# --- own images -------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [SPACE, CLASSES_16], ids=["3", "16"])
def test_own_images_need_the_checkpoint_alone(
    space: LabelSpace, tmp_path: Path, capsys: Capture
) -> None:
    """Classes, colors, variant and input size are in it."""
    network = SEANet(space.num_classes, use_attention=False, width=1 / 16)
    with torch.no_grad():
        for parameter in network.classifier.parameters():
            parameter.zero_()
        network.classifier.conv2d_list[0].bias[-1] = 1
    photos, maps = tmp_path / "photos", tmp_path / "maps"
    checkpoint = save_network(tmp_path / "net.pth", network, space, SIZE)
    photos.mkdir()
    Image.new("RGB", (37, 23)).save(photos / "a.jpg")
    run(checkpoint, tmp_path / "no data", maps, "--images", photos)
    assert {path.name for path in maps.iterdir() if path.name[0] != "."} == {
        "a.png", "a_color.png", "a_overlay.png", "legend.png"
    }  # fmt: skip
    assert read(maps / "a.png").shape == (23, 37)
    assert (read(maps / "a.png") == space.num_classes - 1).all()
    assert (read(maps / "a_color.png") == space.colors[-1]).all()
    out = capsys.readouterr().out
    assert "nothing was scored" in out
    assert "mIoU" not in out
